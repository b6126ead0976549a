#!/usr/bin/env bash
# Runs a crate's wasm-bindgen tests in a real headless Chromium with a WebGPU adapter (SwiftShader's, in software):
#   scripts/wasm-test.sh [--webnn | --firefox] CRATE [arguments for cargo test]
# With --webnn in one that has a WebNN backend (scripts/fetch-webnn-browser.sh); with --firefox in Firefox, whose software
# adapter has shader-f16, which Chromium's has not.
# Test files say `wasm_bindgen_test_configure!(run_in_dedicated_worker)` or `run_in_browser`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
case ${1:-} in
--webnn | --firefox)
    export WEBNIBBLE_TEST_BROWSER=${1#--}
    shift
    ;;
esac
[ $# -ge 1 ] || {
    echo "usage: scripts/wasm-test.sh [--webnn | --firefox] CRATE [arguments for cargo test]" >&2
    exit 2
}
crate=$1
shift
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$here/wasm-test-runner.sh"
exec "$here/wasm-cargo.sh" test -p "$crate" "$@"
