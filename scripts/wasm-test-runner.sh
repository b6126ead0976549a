#!/usr/bin/env bash
# Runs one test binary for wasm32 in headless Chromium with WebGPU; cargo calls it (see scripts/wasm-test.sh).
# The browser's configuration is written afresh for each run: where Chromium is differs by machine, and each run gets
# a profile of its own that goes with it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# The browser with WebNN is a headless shell, for which drivers have another name, and older than the driver may be.
browser_name=chrome
driver_args=
headless=--headless=new
timeout_s=900
if [ "${WEBNIBBLE_TEST_BROWSER:-}" = webnn ]; then
    CHROMIUM=$("$REPO/scripts/fetch-webnn-browser.sh")
    browser_name=chrome-headless-shell
    driver_args=--disable-build-check
    headless=--headless
fi

CHROMIUM="${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}"
CHROMEDRIVER="${CHROMEDRIVER:-$(command -v chromedriver || true)}"
if [ -z "$CHROMIUM" ] || [ -z "$CHROMEDRIVER" ]; then die "chromium or chromedriver is missing; run 'make setup'"; fi

# Flags that give the browser its WebGPU adapter, one a word; docs/gpu.md has those for a real GPU.
adapter_args="${WEBNIBBLE_TEST_ADAPTER_ARGS:---use-webgpu-adapter=swiftshader}"

# shellcheck disable=SC2086 # one argument a word
extra_args=$(printf '      "%s",\n' $adapter_args)

work=$(mktemp -d)
trap 'rm -rf "$work" || true' EXIT
# --no-sandbox: Chromium's sandbox refuses root, which is who runs in a container. The runner adds headless by itself.
cat >"$work/webdriver.json" <<JSON
{
  "browserName": "$browser_name",
  "goog:chromeOptions": {
    "binary": "$CHROMIUM",
    "args": [
      "$headless",
      "--user-data-dir=$work/profile",
      "--no-sandbox",
      "--disable-dev-shm-usage",
      "--disable-background-networking",
      "--disable-quic",
      "--no-first-run",
      "--enable-features=WebMachineLearningNeuralNetwork",
$extra_args
      "--enable-unsafe-webgpu"
    ]
  }
}
JSON

if [ -n "$driver_args" ]; then
    printf '#!/bin/sh\nexec "%s" %s "$@"\n' "$CHROMEDRIVER" "$driver_args" >"$work/chromedriver"
    chmod 755 "$work/chromedriver"
    CHROMEDRIVER="$work/chromedriver"
fi
export CHROMEDRIVER
export WASM_BINDGEN_TEST_WEBDRIVER_JSON="$work/webdriver.json"
# One figure for the whole binary; a software adapter on a busy machine needs its time.
export WASM_BINDGEN_TEST_TIMEOUT="${WASM_BINDGEN_TEST_TIMEOUT:-$timeout_s}"
export WASM_BINDGEN_TEST_DRIVER_TIMEOUT="${WASM_BINDGEN_TEST_DRIVER_TIMEOUT:-30}"

# Without this a page may wait minutes for one of its modules.
wasm-bindgen-test-runner "$@" &
runner=$!
# It would outlive this script, which waits for it, when that is stopped.
trap 'kill "$runner" 2>/dev/null || true; rm -rf "$work" || true' EXIT
python3 "$REPO/scripts/poke-test-server.py" "$runner" &
code=0
wait "$runner" || code=$?
exit "$code"
