#!/usr/bin/env bash
# `make demo`: installs and builds what the demo uses and no more, runs it, and says how long each part took.
# Arguments go to `webnibble demo`.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO"

parts=""
# part NAME COMMAND...
part() {
    local name=$1 began=$SECONDS
    shift
    "$@"
    parts="$parts${parts:+, }$name $((SECONDS - began)) s"
}

# Chromium takes the binary with threads; `make wasm` builds those of other browsers too.
build_page() {
    if [ -d pkg/baseline ]; then scripts/build-wasm.sh; else scripts/build-wasm.sh threads; fi
}
build_native() { cargo build --release -p webnibble-cli; }

# Side by side, since the end of each has work for one core alone. Of xargs, whose children end with Ctrl-C as this script does.
build() { printf '%s\n' page native | xargs -n 1 -P 2 "$REPO/scripts/demo.sh" --build; }

fetch_models() {
    scripts/fetch-models.sh
    text_model=$(scripts/fetch-models.sh smollm2)
}

if [ "${1:-}" = --build ]; then
    "build_$2"
    exit
fi
part set-up scripts/setup.sh native wasm model chromium
part "page and command line" build
part models fetch_models
part demo cargo run --quiet --release -p webnibble-cli -- demo --image-model tests/data/digits \
    --image tests/data/digits/three.png --text-model "$text_model" "$@"
say
say "$parts; $SECONDS s in all"
[ -d pkg/baseline ] || say "The page has the binary for Chromium and Firefox; \`make wasm\` builds those of other browsers."
