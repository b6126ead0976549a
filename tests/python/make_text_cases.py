#!/usr/bin/env python3
"""Writes the table of texts that `crates/host/tests/reference_stack.rs` runs over: small model folders, and what
transformers and sentence-transformers make of texts with them.

usage: make_text_cases.py OUT.json    needs: torch==2.15.0 transformers==5.24.0 sentence-transformers==6.2.0

`base` holds the files that every folder has; a case names those that it has otherwise, or not at all (null). A case with
`sentence` is loaded by sentence-transformers, else by transformers' AutoTokenizer. For each text there are the ids that are
kept (`ids`, without padding) and how many there would be without the limit (`of`); a case that the reference cannot load has
its exception. `prompts` runs a case once for each prompt name; `embeddings` are there where weights matter: those are drawn
by `weight`, which the test has in Rust too.
"""

import json
import math
import os
import sys
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import sentence_transformers
import tokenizers
import torch
import transformers
from safetensors.numpy import save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer, BertConfig, BertModel

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = "the a cat dog sat on mat café cafe naive query : . , ! [ ] < > The Cat CAT Café 猫 犬 ##s ##t ##e".split()
VOCAB = SPECIAL + WORDS + [c for c in "abcdefghijklmnopqrstuvwxyzQUERYMSKPnt" if c not in WORDS]
VOCAB = list(dict.fromkeys(VOCAB + ["##" + c for c in "abcdefghijklmnopqrstuvwxyz"] + ["[CLS2]", "<s>", "</s>"]))
IDS = {token: index for index, token in enumerate(VOCAB)}
MANY = " ".join(["the cat sat on the mat ."] * 8)
TEXTS = [
    "The cat sat on the mat.",
    "the CAT, the Dogs",
    "Café naïve 猫犬",
    "[MASK] the [SEP] cat [sep]",
    "  The   cat\t ",
    "the<ent>cat [QUERY] dog<ENT> <Ent>s",
    "zebra ÉTÉ",
    MANY,
]


def special(index, token, **more):
    flags = dict(single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
    return {"id": index, "content": token, **flags, **more}


def template(first="[CLS]", last="[SEP]"):
    def piece(token):
        return {"SpecialToken": {"id": token, "type_id": 0}}

    single = [piece(first), {"Sequence": {"id": "A", "type_id": 0}}, piece(last)]
    pair = single + [{"Sequence": {"id": "B", "type_id": 1}}, piece(last)]
    tokens = {token: {"id": token, "ids": [IDS[token]], "tokens": [token]} for token in (first, last)}
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


def normalizer(lower=True, accents=None, chinese=True):
    return dict(type="BertNormalizer", clean_text=True, handle_chinese_chars=chinese, strip_accents=accents, lowercase=lower)


def word_piece(**more):
    model = dict(type="WordPiece", unk_token="[UNK]", continuing_subword_prefix="##", max_input_chars_per_word=100, vocab=IDS)
    return {**model, **more}


def tokenizer(added=(), **more):
    whole = dict(
        version="1.0",
        truncation=None,
        padding=None,
        added_tokens=[special(IDS[token], token) for token in SPECIAL] + list(added),
        normalizer=normalizer(),
        pre_tokenizer={"type": "BertPreTokenizer"},
        post_processor=template(),
        decoder=dict(type="WordPiece", prefix="##", cleanup=True),
        model=word_piece(),
    )
    return {**whole, **more}


NAMED = dict(cls_token="[CLS]", sep_token="[SEP]", pad_token="[PAD]", unk_token="[UNK]", mask_token="[MASK]")


def settings(**more):
    whole = dict(do_lower_case=True, model_max_length=24, tokenizer_class="BertTokenizer", **NAMED)
    return {name: value for name, value in {**whole, **more}.items() if value != "absent"}


CONFIG = dict(
    architectures=["BertModel"], model_type="bert", vocab_size=len(VOCAB), hidden_size=32, num_hidden_layers=2,
    num_attention_heads=4, intermediate_size=48, max_position_embeddings=32, type_vocab_size=2, hidden_act="gelu",
    layer_norm_eps=1e-12, pad_token_id=0,
)
MODULES = [
    dict(idx=0, name="0", path="", type="sentence_transformers.models.Transformer"),
    dict(idx=1, name="1", path="1_Pooling", type="sentence_transformers.models.Pooling"),
    dict(idx=2, name="2", path="2_Normalize", type="sentence_transformers.models.Normalize"),
]


def pooling(mode="mean", **more):
    modes = dict(cls_token="cls", mean_tokens="mean", max_tokens="max")
    flags = {f"pooling_mode_{name}": value == mode for name, value in modes.items()}
    return dict(word_embedding_dimension=32, **flags, **more)


BASE = {
    "config.json": CONFIG,
    "tokenizer.json": tokenizer(),
    "tokenizer_config.json": settings(),
    "vocab.txt": "".join(token + "\n" for token in VOCAB),
}
SENTENCE = {
    "modules.json": MODULES,
    "1_Pooling/config.json": pooling(),
    "sentence_bert_config.json": dict(max_seq_length=16, do_lower_case=False),
}
PROMPTS = dict(query="query: ", passage="The cat [SEP] ", nothing=None, spaces="  ")
FAST = "PreTrainedTokenizerFast"
CASED = tokenizer(normalizer=normalizer(lower=False))
LOWERED = dict(type="Sequence", normalizers=[dict(type="NFD"), dict(type="Lowercase")])
ENT = special(len(VOCAB), "<ent>", special=False, normalized=True)
QUERY = special(len(VOCAB) + 1, "[QUERY]", special=False, normalized=False)
DECODER = {
    str(token["id"]): {name: value for name, value in token.items() if name != "id"}
    for token in [special(IDS[token], token) for token in SPECIAL] + [special(len(VOCAB), "<ent>")]
}


def configured(**more):
    return {"tokenizer_config.json": settings(**more)}


def fast(**more):
    return configured(tokenizer_class=FAST, **more)


NO_FILE = {"tokenizer.json": None}
PLAIN = {
    "as_it_is": {},
    "config_is_cased": configured(do_lower_case=False),
    "file_is_cased": {"tokenizer.json": CASED},
    "file_is_cased_and_nothing_configured": {"tokenizer.json": CASED, "tokenizer_config.json": None},
    "file_is_cased_without_a_say": {"tokenizer.json": CASED, **configured(do_lower_case="absent")},
    "accents_stay": configured(strip_accents=False),
    "accents_go_though_cased": configured(strip_accents=True, do_lower_case=False),
    "chinese_as_words": configured(tokenize_chinese_chars=False),
    "fast_class": configured(tokenizer_class="BertTokenizerFast", do_lower_case=False),
    "no_class": configured(tokenizer_class="absent", do_lower_case=False),
    "generic_class_keeps_the_file": fast(do_lower_case=False),
    "generic_class_cased": {"tokenizer.json": CASED, **fast()},
    "backend_class": configured(tokenizer_class="TokenizersBackend", do_lower_case=False),
    "unknown_class": configured(tokenizer_class="HouseMadeTokenizer", do_lower_case=False),
    "distilbert": configured(tokenizer_class="DistilBertTokenizer", do_lower_case=False),
    "electra": configured(tokenizer_class="ElectraTokenizer", do_lower_case=False),
    "class_in_config": {
        "config.json": {**CONFIG, "tokenizer_class": FAST}, **configured(tokenizer_class="absent", do_lower_case=False),
    },
    "vocab_alone": {**NO_FILE, "tokenizer_config.json": None},
    "vocab_and_config": {**NO_FILE, **configured(do_lower_case=False)},
    "vocab_with_spaces": {**NO_FILE, "vocab.txt": "".join(token + " \r\n" for token in VOCAB)},
    "vocab_of_a_generic_class": {**NO_FILE, **fast()},
    "nothing_at_all": {**NO_FILE, "vocab.txt": None},
    "other_cls": configured(cls_token="[CLS2]"),
    "other_unk": configured(unk_token="[MASK]"),
    "cls_outside_the_vocabulary": configured(cls_token="[NEW]"),
    "special_map": {"special_tokens_map.json": dict(NAMED, cls_token="[CLS2]")},
    "special_map_of_tokens": {
        "special_tokens_map.json": {
            **NAMED, "cls_token": dict(content="[CLS2]", lstrip=False, normalized=True, rstrip=False, single_word=False),
        },
    },
    "special_map_with_more": {"special_tokens_map.json": dict(NAMED, additional_special_tokens=["<ent>"])},
    "special_map_with_extra": {"special_tokens_map.json": dict(NAMED, extra_special_tokens=["<ent>"])},
    "typed_tokens": configured(
        mask_token=dict(__type="AddedToken", content="[MASK]", lstrip=True, normalized=False, rstrip=True, single_word=False),
    ),
    "added_alone": {**NO_FILE, "added_tokens.json": {"<ent>": len(VOCAB)}},
    "added_beside": {"added_tokens.json": {"<ent>": len(VOCAB)}},
    "added_special": {**NO_FILE, "added_tokens.json": {"<ent>": len(VOCAB)}, **configured(additional_special_tokens=["<ent>"])},
    "added_in_the_file": {"tokenizer.json": tokenizer([ENT, QUERY])},
    "added_in_the_file_generic": {"tokenizer.json": tokenizer([ENT, QUERY]), **fast()},
    "added_with_a_gap": {"tokenizer.json": tokenizer([{**ENT, "id": len(VOCAB) + 3}])},
    "added_with_a_gap_generic": {"tokenizer.json": tokenizer([{**ENT, "id": len(VOCAB) + 3}]), **fast()},
    "added_decoder": configured(added_tokens_decoder=DECODER),
    "added_decoder_hides_the_file": {"tokenizer.json": tokenizer([QUERY]), **configured(added_tokens_decoder=DECODER)},
    "added_decoder_generic": fast(added_tokens_decoder=DECODER),
    "additional_special": configured(additional_special_tokens=["<ent>"]),
    "additional_special_generic": fast(additional_special_tokens=["<ent>"]),
    "extra_special": configured(extra_special_tokens=["<ent>"]),
    "extra_special_named": configured(extra_special_tokens={"ent_token": "<ent>"}),
    "model_specific": configured(ent_token="<ent>"),
    "split_special": configured(split_special_tokens=True),
    "sequence_normalizer": {"tokenizer.json": tokenizer(normalizer=LOWERED), **configured(do_lower_case=False)},
    "sequence_normalizer_generic": {"tokenizer.json": tokenizer(normalizer=LOWERED), **fast()},
    "no_normalizer": {"tokenizer.json": tokenizer(normalizer=None)},
    "whitespace_words": {"tokenizer.json": tokenizer(pre_tokenizer={"type": "WhitespaceSplit"})},
    "whitespace_words_generic": {"tokenizer.json": tokenizer(pre_tokenizer={"type": "WhitespaceSplit"}), **fast()},
    "no_template": {"tokenizer.json": tokenizer(post_processor=None)},
    "no_template_generic": {"tokenizer.json": tokenizer(post_processor=None), **fast()},
    "other_template": {"tokenizer.json": tokenizer(post_processor=template("<s>", "</s>"))},
    "other_template_generic": {"tokenizer.json": tokenizer(post_processor=template("<s>", "</s>")), **fast()},
    "short_words": {"tokenizer.json": tokenizer(model=word_piece(max_input_chars_per_word=4))},
    "short_words_generic": {"tokenizer.json": tokenizer(model=word_piece(max_input_chars_per_word=4)), **fast()},
    "padding_and_truncation": {
        "tokenizer.json": tokenizer(
            truncation=dict(direction="Right", max_length=6, strategy="LongestFirst", stride=0),
            padding=dict(strategy={"Fixed": 32}, direction="Right", pad_to_multiple_of=8, pad_id=0, pad_type_id=0, pad_token="[PAD]"),
        ),
    },
    "cut_at_the_left": configured(truncation_side="left"),
    "cut_at_the_left_by_the_file": {
        "tokenizer.json": tokenizer(truncation=dict(direction="Left", max_length=6, strategy="LongestFirst", stride=0)),
    },
    "no_limit": configured(model_max_length="absent"),
    "huge_limit": configured(model_max_length=1000000000000000019884624838656),
    "old_limit": configured(model_max_length="absent", max_len=12),
}
ST = {
    "limit_of_the_sentence": {},
    "limit_over_the_tokenizer": {"sentence_bert_config.json": dict(max_seq_length=28, do_lower_case=False)},
    "limit_of_the_tokenizer": {"sentence_bert_config.json": dict(max_seq_length=None, do_lower_case=False)},
    "no_limit_file": {"sentence_bert_config.json": None},
    "limit_of_positions": {"sentence_bert_config.json": None, **configured(model_max_length="absent")},
    "limit_of_roberta": {"sentence_bert_config.json": None, "sentence_roberta_config.json": dict(max_seq_length=10)},
    "arguments_of_the_tokenizer": {
        "sentence_bert_config.json": dict(max_seq_length=16, tokenizer_args=dict(model_max_length=9, do_lower_case=False)),
    },
    "lowercased": {**configured(do_lower_case=False), "sentence_bert_config.json": dict(max_seq_length=16, do_lower_case=True)},
    "lowercased_twice": {"sentence_bert_config.json": dict(max_seq_length=16, do_lower_case=True)},
    "lowercased_sequence": {
        "tokenizer.json": tokenizer(normalizer=LOWERED), **fast(), "sentence_bert_config.json": dict(max_seq_length=16, do_lower_case=True),
    },
    "lowercased_without_normalizer": {
        "tokenizer.json": tokenizer(normalizer=None), **fast(), "sentence_bert_config.json": dict(max_seq_length=16, do_lower_case=True),
    },
}


def prompted(default=None, pooling_config=None, **files):
    config = dict(prompts=PROMPTS, default_prompt_name=default)
    found = {"config_sentence_transformers.json": config, **files}
    return {**found, "1_Pooling/config.json": pooling_config} if pooling_config else found


PROMPTED = {
    "prompt_by_default": (prompted("query"), [None, "passage", "nothing", "query"]),
    "no_default_prompt": (prompted(), [None, "query", "spaces"]),
    "default_prompt_is_missing": (prompted("no such prompt"), [None]),
    "prompt_is_not_pooled": (prompted("query", pooling(include_prompt=False)), [None, "passage", "nothing", "spaces"]),
    "prompt_is_not_pooled_max": (prompted("query", pooling("max", include_prompt=False)), [None]),
    "prompt_is_pooled": (prompted("query", pooling(include_prompt=True)), [None]),
}


def weight(name, shape):
    """Values of a tensor, from its name: the same here and in Rust."""
    seed = sum(name.encode()) % 97
    values = np.sin((np.arange(math.prod(shape), dtype=np.float64) + 17 * seed) * 0.37)
    scale = 0.3 if "embeddings" in name and "LayerNorm" not in name else 0.2
    base = 1.0 if name.endswith("LayerNorm.weight") else 0.0
    return (base + scale * values).astype(np.float32).reshape(shape)


def write(folder, files):
    for name, content in files.items():
        if content is None:
            continue
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(content if isinstance(content, str) else json.dumps(content))


def weights(folder):
    model = BertModel(BertConfig(**{name: value for name, value in CONFIG.items() if name not in ("architectures", "model_type")}))
    tensors = {name: weight(name, tuple(tensor.shape)) for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    save_file(tensors, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})


def rows(features):
    """Ids without padding, checked to be what the attention mask keeps."""
    ids, mask = features["input_ids"], features["attention_mask"]
    found = []
    for row, kept in zip(ids.tolist(), mask.tolist()):
        count = sum(kept)
        assert sorted(kept, reverse=True) == kept, "padding is expected at the right"
        found.append(row[:count])
    return found


def longest(limit):
    return limit if limit < 10**6 else None


def plain(folder):
    found = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    limit = longest(found.model_max_length)
    cut = dict(truncation=True) if limit else {}
    ids = [rows(found([text], return_tensors="pt", **cut))[0] for text in TEXTS]
    of = [len(row) for row in found(TEXTS)["input_ids"]]
    return dict(limit=limit, ids=ids, of=of)


def sentence(folder, prompt_names):
    model = SentenceTransformer(folder, device="cpu", local_files_only=True)
    answers = []
    for name in prompt_names:
        prompt = model._resolve_prompt(None, name)
        features = [model.preprocess([text], prompt=prompt) for text in TEXTS]
        ids = [rows(one)[0] for one in features]
        of = [len(row) for row in model.tokenizer([(prompt or "") + text for text in TEXTS])["input_ids"]]
        answers.append(dict(prompt_name=name, ids=ids, of=of))
        usable = [text for text, row in zip(TEXTS, ids) if max(row) < len(VOCAB)]
        if len(usable) == len(TEXTS):
            embeddings = model.encode([TEXTS[0], TEXTS[7]], prompt_name=name)
            answers[-1]["embeddings"] = [[round(float(value), 5) for value in row] for row in embeddings]
    return dict(limit=longest(model.max_seq_length), runs=answers)


def case(name, files, prompt_names=None):
    changed = {**(SENTENCE if prompt_names else {}), **files}
    with tempfile.TemporaryDirectory() as folder:
        write(folder, {**BASE, **changed})
        weights(folder)
        try:
            found = sentence(folder, prompt_names) if prompt_names else plain(folder)
        except Exception as error:  # whatever the reference says is what is written down
            found = dict(error=f"{type(error).__name__}: {str(error).splitlines()[0]}"[:160].replace(folder, "FOLDER"))
    print(name, found.get("error") or found["limit"], file=sys.stderr)
    return dict(name=name, sentence=bool(prompt_names), files=changed, **found)


def main():
    cases = [case(name, files) for name, files in PLAIN.items()]
    cases += [case(name, files, [None]) for name, files in ST.items()]
    cases += [case(name, files, prompts) for name, (files, prompts) in PROMPTED.items()]
    made_with = {
        "transformers": transformers.__version__, "sentence-transformers": sentence_transformers.__version__,
        "tokenizers": tokenizers.__version__, "torch": torch.__version__.split("+")[0],
    }
    table = dict(made_with=made_with, texts=TEXTS, base=BASE, cases=cases)
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(table, file, ensure_ascii=False, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    main()
