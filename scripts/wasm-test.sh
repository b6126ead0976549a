#!/usr/bin/env bash
# Runs the wasm-bindgen tests of all crates in a real headless Chromium with a WebGPU adapter (SwiftShader's, in software):
#   scripts/wasm-test.sh [--webnn | --firefox] [arguments for cargo test]
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
# Crates with such tests are those whose sources say so. Always all of them: for fewer cargo would choose other features of
# what they depend on, and build that again.
crates=$(cd "$here/.." && grep -rlE 'wasm_bindgen_test_configure!' --include='*.rs' crates |
    sed 's|^crates/\([^/]*\)/.*|-p webnibble-\1|' | sort -u)
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER="$here/wasm-test-runner.sh"
# shellcheck disable=SC2086 # one argument a word
exec "$here/wasm-cargo.sh" test $crates "$@"
