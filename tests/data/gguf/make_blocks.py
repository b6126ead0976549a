#!/usr/bin/env python3
"""Writes blocks.gguf: a tensor of each block type that webnibble reads, and its values in f32 as the package `gguf` gives them.

    pip install gguf==0.19.0 && python tests/data/gguf/make_blocks.py

`q4_0` is a tensor of type Q4_0, `expected.q4_0` its values as F32, and so on. Types that the package can write are made of
seeded normal numbers; K types, which it only reads, of seeded random bytes with scales that are small numbers.
"""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFWriter
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize

WRITTEN = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]
# Bytes at which a block's half-precision scales lie.
SCALES = {"Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
VALUES = 256

random = np.random.default_rng(20)


def k_blocks(kind: Type) -> np.ndarray:
    """Two blocks of any bits, but for the scales."""
    _, size = GGML_QUANT_SIZES[kind]
    blocks = random.integers(0, 256, (2, size), dtype=np.uint8)
    for at in SCALES[kind.name]:
        blocks[:, at : at + 2] = random.normal(0, 0.01, (2, 1)).astype(np.float16).view(np.uint8)
    return blocks


writer = GGUFWriter(Path(__file__).parent / "blocks.gguf", "none")
for name in [*WRITTEN, *SCALES]:
    kind = Type[name]
    bits = quantize(random.normal(0, 0.3, (1, VALUES)).astype(np.float32), kind) if name in WRITTEN else k_blocks(kind)
    writer.add_tensor(name.lower(), bits, raw_dtype=kind)
    writer.add_tensor(f"expected.{name.lower()}", dequantize(bits, kind).astype(np.float32))
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
