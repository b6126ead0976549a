#!/usr/bin/env python3
"""Writes pieces.gguf, the vocabulary of a small SentencePiece BPE model, and pieces.json, texts with the ids that SentencePiece gives.

    pip install gguf==0.19.0 sentencepiece==0.2.0 && python tests/data/gguf/make_pieces.py
"""

import io
import json
from pathlib import Path

import sentencepiece
from gguf import GGUFWriter, TokenType

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]

TEXTS = [
    "The capital of France is Paris.",
    "webnibble quantizes a model, and the browser runs it.",
    "  two spaces  and more ",
    "Zürich, naïve café; 日本語 🙂",
    "x = 3.14159 * (y[10] - 2**7)\n\tdone",
    "mississippi banana aaaaaaa",
    "Licensed under the Apache License",
]

trained = io.BytesIO()
# A text that stays as it is.
lines = (REPOSITORY / "LICENSE-APACHE").read_text().splitlines()
sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(lines),
    model_writer=trained,
    model_type="bpe",
    vocab_size=700,
    byte_fallback=True,
    # As LLaMA's: texts stay as they are.
    normalization_rule_name="identity",
    remove_extra_whitespaces=False,
    num_threads=1,
    minloglevel=2,
)
model = sentencepiece.SentencePieceProcessor(model_proto=trained.getvalue())


def kind(piece: int) -> TokenType:
    if model.is_unknown(piece):
        return TokenType.UNKNOWN
    if model.is_control(piece):
        return TokenType.CONTROL
    return TokenType.BYTE if model.is_byte(piece) else TokenType.NORMAL


pieces = range(model.get_piece_size())
writer = GGUFWriter(HERE / "pieces.gguf", "llama")
writer.add_tokenizer_model("llama")
writer.add_token_list([model.id_to_piece(piece) for piece in pieces])
writer.add_token_scores([model.get_score(piece) for piece in pieces])
writer.add_token_types([kind(piece) for piece in pieces])
writer.add_bos_token_id(model.bos_id())
writer.add_eos_token_id(model.eos_id())
writer.add_unk_token_id(model.unk_id())
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
cases = [{"text": text, "ids": [model.bos_id(), *model.encode(text)]} for text in TEXTS]
lines = ",\n".join(f"  {json.dumps(case, ensure_ascii=False)}" for case in cases)
(HERE / "pieces.json").write_text(f"[\n{lines}\n]\n")
