#!/usr/bin/env bash
# Runs one test binary for wasm32 in a headless browser with WebGPU; cargo calls it (see scripts/wasm-test.sh).
# The browser's configuration is written afresh for each run: where Chromium is differs by machine, and each run gets
# a profile of its own that goes with it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work" || true' EXIT

# configure CAPABILITIES OPTIONS BINARY [ARGUMENT...]: writes the browser's configuration, which is that of
# crates/agent/webdriver.json for its OPTIONS with the program and more arguments.
configure() {
    python3 - "$REPO/crates/agent/webdriver.json" "$@" >"$work/webdriver.json" <<'PYTHON'
import json, os, sys
path, capabilities, name, binary, *arguments = sys.argv[1:]
options = json.load(open(path, encoding="utf-8"))[name]
options["binary"] = binary
replaced = {argument.partition("=")[0] for argument in arguments}
if os.environ.get("WEBNIBBLE_TEST_ADAPTER_ARGS"):
    replaced.add("--use-webgpu-adapter")
kept = [argument for argument in options.get("args", []) if argument.partition("=")[0] not in replaced]
options["args"] = kept + arguments
json.dump({**json.loads(capabilities), name: options}, sys.stdout)
PYTHON
}

# Configures Chromium and names its driver. The browser with WebNN is a headless shell, for which drivers have another name,
# and older than the driver may be.
with_chromium() {
    local browser_name=chrome headless=--headless=new driver_args=
    if [ "$1" = webnn ]; then
        CHROMIUM=$("$REPO/scripts/fetch-webnn-browser.sh")
        browser_name=chrome-headless-shell driver_args=--disable-build-check headless=--headless
    fi
    CHROMIUM="${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}"
    CHROMEDRIVER="${CHROMEDRIVER:-$(command -v chromedriver || true)}"
    if [ -z "$CHROMIUM" ] || [ -z "$CHROMEDRIVER" ]; then die "chromium or chromedriver is missing; run 'make setup'"; fi

    # WEBNIBBLE_TEST_ADAPTER_ARGS: flags that give the browser another WebGPU adapter than SwiftShader; docs/gpu.md has those
    # for a real GPU.
    # shellcheck disable=SC2086 # one argument a word
    configure "{\"browserName\": \"$browser_name\"}" goog:chromeOptions "$CHROMIUM" "$headless" \
        "--user-data-dir=$work/profile" ${WEBNIBBLE_TEST_ADAPTER_ARGS:-}
    if [ -n "$driver_args" ]; then
        printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$CHROMEDRIVER" "$driver_args" >"$work/chromedriver"
        chmod 755 "$work/chromedriver"
        CHROMEDRIVER="$work/chromedriver"
    fi
    export CHROMEDRIVER
}

# Configures Firefox and names its driver, which makes a profile of its own.
with_firefox() {
    FIREFOX="${FIREFOX:-$(command -v firefox || command -v firefox-esr || true)}"
    GECKODRIVER="${GECKODRIVER:-$(command -v geckodriver || true)}"
    if [ -z "$FIREFOX" ] || [ -z "$GECKODRIVER" ]; then die "firefox or geckodriver is missing; run 'make setup'"; fi
    configure '{}' moz:firefoxOptions "$FIREFOX" -headless
    # The runner takes the first driver that is named.
    unset CHROMEDRIVER
    export GECKODRIVER
}

browser=${WEBNIBBLE_TEST_BROWSER:-chromium}
case $browser in
chromium | webnn) with_chromium "$browser" ;;
firefox) with_firefox ;;
*) die "WEBNIBBLE_TEST_BROWSER should be chromium, webnn or firefox, found $browser" ;;
esac
export WASM_BINDGEN_TEST_WEBDRIVER_JSON="$work/webdriver.json"

# Without this a page may wait minutes for one of its modules.
wasm-bindgen-test-runner "$@" &
runner=$!
# It would outlive this script, which waits for it, when that is stopped.
trap 'kill "$runner" 2>/dev/null || true; rm -rf "$work" || true' EXIT
python3 "$REPO/scripts/poke-test-server.py" "$runner" &
code=0
wait "$runner" || code=$?
exit "$code"
