#!/usr/bin/env bash
# Runs a crate's wasm-bindgen tests in a real headless Chromium with a WebGPU adapter (SwiftShader's, in software):
#   scripts/wasm-test.sh [--webnn] CRATE [arguments for cargo test]
# With --webnn in one that has a WebNN backend (scripts/fetch-webnn-browser.sh).
# Test files say `wasm_bindgen_test_configure!(run_in_dedicated_worker)` or `run_in_browser`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ "${1:-}" = --webnn ]; then
    export WEBNIBBLE_TEST_BROWSER=webnn
    shift
fi
[ $# -ge 1 ] || {
    echo "usage: scripts/wasm-test.sh [--webnn] CRATE [arguments for cargo test]" >&2
    exit 2
}
crate=$1
shift
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$here/wasm-test-runner.sh"
exec "$here/wasm-cargo.sh" test -p "$crate" "$@"
