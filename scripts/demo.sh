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

part set-up scripts/setup.sh native wasm model chromium
part "binary for the page" build_page
part "command line" cargo build --release -p webnibble-cli
part model scripts/fetch-models.sh
part demo cargo run --quiet --release -p webnibble-cli -- demo "$@"
say
say "$parts; $SECONDS s in all"
[ -d pkg/baseline ] || say "The page has the binary for Chromium and Firefox; \`make wasm\` builds those of other browsers."
