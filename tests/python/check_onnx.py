#!/usr/bin/env python3
"""Checks ONNX files against the answers that our own executor gives with the same weights.

usage: check_onnx.py CASES.json    needs: onnx, onnxruntime, numpy (scripts/fetch-onnx-tools.sh)

CASES.json is a list of {"file", "inputs": {name: {"shape", "dtype", "data"}}, "output", "shape", "expected"}. Prints one JSON line a
case: the file, the cosine of the two answers, and the operators. Fails when the checker refuses a file.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime as ort


FLOAT = np.float32


def answer(case: dict) -> np.ndarray:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    # By default onnxruntime quantizes activations where it fuses DequantizeLinear with a product: not what is compared.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "0")
    session = ort.InferenceSession(case["file"], options, providers=["CPUExecutionProvider"])
    feed = {
        name: np.array(tensor["data"], dtype=FLOAT if tensor["dtype"] == "f32" else np.int64).reshape(tensor["shape"])
        for name, tensor in case["inputs"].items()
    }
    return session.run([case["output"]], feed)[0]


def check(case: dict) -> dict:
    model = onnx.load(case["file"])
    onnx.checker.check_model(model, full_check=True)
    found = answer(case)
    expected = np.array(case["expected"], dtype=np.float32).reshape(case["shape"])
    if found.shape != expected.shape:
        sys.exit(f"{case['file']}: expected shape {expected.shape}, found {found.shape}")
    a, b = found.ravel().astype(np.float64), expected.ravel().astype(np.float64)
    cosine = float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
    operators = sorted({node.op_type for node in model.graph.node})
    return {"file": case["file"], "cosine": cosine, "operators": operators}


def main() -> None:
    with open(sys.argv[1], encoding="utf-8") as file:
        for case in json.load(file):
            print(json.dumps(check(case)))


if __name__ == "__main__":
    main()
