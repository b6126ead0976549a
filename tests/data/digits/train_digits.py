"""Trains a small ViT on scikit-learn's handwritten digits, and writes it in Hugging Face layout beside a test set.

usage: train_digits.py [OUT_DIR]        needs: torch, transformers, scikit-learn, numpy, safetensors, pillow

OUT_DIR (default: this folder) gets config.json, preprocessor_config.json, model.safetensors (f16) and test.png: the digits that
no training saw, 8 x 8 pixels each, 20 in a row, in the order of labels.txt. Two of them are files of their own, three.png and
seven.png. Each digit is resized as preprocessor_config.json
says before the model sees it, by Pillow here and by webnibble there.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from transformers import ViTConfig, ViTForImageClassification

SIDE, TEST, IN_A_ROW, EPOCHS = 16, 360, 20, 120
PROCESSOR = {
    "do_normalize": True, "do_rescale": True, "do_resize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
    "image_processor_type": "ViTImageProcessor", "resample": 2, "rescale_factor": 1 / 255,
    "size": {"height": SIDE, "width": SIDE},
}


def levels(images):
    """Digits of 17 levels as 8-bit gray."""
    return np.round(images * 255 / 16).astype(np.uint8)


def tensor(images):
    """What the processor makes of digits."""
    resized = [np.asarray(Image.fromarray(image).convert("RGB").resize((SIDE, SIDE), 2)) for image in images]
    values = (np.stack(resized).astype(np.float64) / 255).astype(np.float32)
    return torch.from_numpy(((values - 0.5) / 0.5).transpose(0, 3, 1, 2).copy())


def shifted(x):
    """Digits moved by up to two pixels of the resized image."""
    down, right = np.random.randint(-2, 3, 2)
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2), value=-1.0)
    return padded[:, :, 2 + down:2 + down + SIDE, 2 + right:2 + right + SIDE]


def accuracy(model, x, labels):
    with torch.no_grad():
        return (model(pixel_values=x).logits.argmax(-1) == labels).float().mean().item()


def train(model, x, labels):
    steps = EPOCHS * (len(x) // 64 + 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for epoch in range(EPOCHS):
        model.train()
        for batch in torch.randperm(len(x)).split(64):
            loss = torch.nn.functional.cross_entropy(model(pixel_values=shifted(x[batch])).logits, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if epoch % 20 == 19:
            print(f"epoch {epoch + 1}: loss {loss.item():.4f}", flush=True)
    return model.eval()


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent)
    torch.manual_seed(1)
    np.random.seed(1)
    digits = load_digits()
    split = train_test_split(levels(digits.images), digits.target, test_size=TEST, random_state=1, stratify=digits.target)
    seen, unseen, seen_labels, unseen_labels = split
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    config = ViTConfig(
        hidden_size=48, num_hidden_layers=4, num_attention_heads=4, intermediate_size=96, image_size=SIDE, patch_size=4,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        id2label=dict(enumerate(names)), label2id={name: label for label, name in enumerate(names)},
    )
    model = train(ViTForImageClassification(config), tensor(seen), torch.from_numpy(seen_labels))
    # What is written is what is measured.
    model = model.half().float()
    x, labels = tensor(unseen), torch.from_numpy(unseen_labels)
    print(f"accuracy on {TEST} unseen digits: {accuracy(model, x, labels):.4f}")
    # The names of its tensors are those of Hugging Face's checkpoints then, whatever the class calls them.
    model.half().save_pretrained(out)
    (out / "preprocessor_config.json").write_text(json.dumps(PROCESSOR, indent=2) + "\n")
    rows = unseen.reshape(-1, IN_A_ROW, 8, 8).transpose(0, 2, 1, 3).reshape(-1, IN_A_ROW * 8)
    Image.fromarray(rows).save(out / "test.png", optimize=True)
    for label in (3, 7):
        Image.fromarray(unseen[unseen_labels == label][0]).save(out / f"{names[label]}.png", optimize=True)
    (out / "labels.txt").write_text("".join(str(label) for label in unseen_labels) + "\n")


main()
