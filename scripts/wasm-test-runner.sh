#!/usr/bin/env bash
# Runs one test binary for wasm32 in a headless browser with WebGPU; cargo calls it (see scripts/wasm-test.sh).
# The browser's configuration is written afresh for each run: where Chromium is differs by machine, and each run gets
# a profile of its own that goes with it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

work=$(mktemp -d)
trap 'rm -rf "$work" || true' EXIT

# Writes the configuration of Chromium and names its driver. The browser with WebNN is a headless shell, for which
# drivers have another name, and older than the driver may be.
with_chromium() {
    local browser_name=chrome headless=--headless=new driver_args=
    if [ "$1" = webnn ]; then
        CHROMIUM=$("$REPO/scripts/fetch-webnn-browser.sh")
        browser_name=chrome-headless-shell driver_args=--disable-build-check headless=--headless
    fi
    CHROMIUM="${CHROMIUM:-$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)}"
    CHROMEDRIVER="${CHROMEDRIVER:-$(command -v chromedriver || true)}"
    if [ -z "$CHROMIUM" ] || [ -z "$CHROMEDRIVER" ]; then die "chromium or chromedriver is missing; run 'make setup'"; fi

    # Flags that give the browser its WebGPU adapter, one a word; docs/gpu.md has those for a real GPU.
    local adapter_args="${WEBNIBBLE_TEST_ADAPTER_ARGS:---use-webgpu-adapter=swiftshader}" extra_args
    # shellcheck disable=SC2086 # one argument a word
    extra_args=$(printf '      "%s",\n' $adapter_args)

    # --no-sandbox: Chromium's sandbox refuses root, which is who runs in a container.
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
}

# Writes the configuration of Firefox and names its driver, which makes a profile of its own.
with_firefox() {
    FIREFOX="${FIREFOX:-$(command -v firefox || command -v firefox-esr || true)}"
    GECKODRIVER="${GECKODRIVER:-$(command -v geckodriver || true)}"
    if [ -z "$FIREFOX" ] || [ -z "$GECKODRIVER" ]; then die "firefox or geckodriver is missing; run 'make setup'"; fi
    cat >"$work/webdriver.json" <<JSON
{
  "moz:firefoxOptions": {
    "binary": "$FIREFOX",
    "args": ["-headless"],
    "prefs": {
      "dom.webgpu.enabled": true,
      "dom.webgpu.workers.enabled": true,
      "gfx.webgpu.ignore-blocklist": true
    }
  }
}
JSON
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
# One figure for the whole binary; a software adapter on a busy machine needs its time.
export WASM_BINDGEN_TEST_TIMEOUT="${WASM_BINDGEN_TEST_TIMEOUT:-900}"
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
