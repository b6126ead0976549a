#!/usr/bin/env bash
# Makes a Python environment with onnx and onnxruntime, which check exported files, and prints its interpreter.
# Kept outside the repository in ${WEBNIBBLE_TOOLS:-~/.cache/webnibble/tools}; with it there, only prints.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

ONNX=onnx==1.23.2
ONNXRUNTIME=onnxruntime==1.31.1
NUMPY=numpy==2.4.6

tools="${WEBNIBBLE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/webnibble/tools}"
folder="$tools/onnx-${ONNX#*==}-${ONNXRUNTIME#*==}"

# The mark is written last: an environment that was made half is made again.
if [ ! -f "$folder/made" ]; then
    mkdir -p "$tools"
    say "making a Python environment with $ONNX and $ONNXRUNTIME" >&2
    python3 -m venv --clear "$folder" >&2
    "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$ONNX" "$ONNXRUNTIME" "$NUMPY" >&2
    touch "$folder/made"
fi
printf '%s\n' "$folder/bin/python"
