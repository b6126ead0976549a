#!/usr/bin/env bash
# Runs all tests and closes with one line that sums them: `N passed, N failed, N skipped`, after why those were skipped.
# A runner that fails does not stop the next one; the exit status tells whether any did.
# `scripts/test.sh native`, `doc`, `wasm` or `e2e` runs only that part.
# Browser tests of WebGPU and WebNN print `ran on webgpu: ADAPTER` or `ran on webnn: CONTEXT` once they compared what it
# computed: a part that is there for one of them fails where no test did.
# With WEBNIBBLE_NO_SKIPS=1, for machines that have it all, a test that is skipped counts as failed unless
# scripts/allowed-skips.txt has it, and so does a part that cannot run at all.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO" || exit 1

passed=0 failed=0 skipped=0 status=0 reasons=""
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

# Adds up the closing lines of cargo test, wasm-bindgen-test and nextest in a log. A test that cannot run prints
# `skipped: REASON` and passes as far as its runner knows.
count() {
    local plain="$logs/plain" sums
    sed 's/\x1b\[[0-9;]*m//g' "$1" >"$plain"
    sums=$(awk '
        function before(word,   i) { for (i = 2; i <= NF; i++) if ($i ~ "^" word) return $(i - 1) + 0; return 0 }
        # Nextest shows the closing lines of its tests within its own.
        /^test result:/ { p += before("passed"); f += before("failed"); s += before("ignored") }
        /^ *Summary \[/ { p += before("passed"); f += before("failed") + before("timed"); s += before("skipped") }
        END { print p + 0, f + 0, s + 0 }' "$plain")
    read -r p f s <<<"$sums"
    # `PART: TEST: REASON`; a test is named before what it prints.
    reasons=$(awk -v part="${1##*/}" '
        /^ *Invoking test: / || /^ *PASS \[/ { test = $NF }
        sub(/^ *skipped: /, "") { print part ": " test ": " $0 }' "$plain")
    said=$(grep -c . <<<"$reasons")
    passed=$((passed + p - said)) failed=$((failed + f)) skipped=$((skipped + s + said))
    [ -z "$reasons" ] || printf '%s\n' "$reasons" >>"$logs/skipped"
}

# Those of $reasons that scripts/allowed-skips.txt does not have: what this machine need not be without.
forbidden() {
    local skip allowed
    while IFS= read -r skip; do
        while IFS= read -r allowed; do
            # shellcheck disable=SC2053 # a line of the list is a pattern
            [[ $skip == $allowed ]] && continue 2
        done < <(grep -v '^#' scripts/allowed-skips.txt)
        [ -z "$skip" ] || printf '%s\n' "$skip"
    done <<<"$reasons"
}

# Shows what tests print, why they were skipped above all, less what each harness says around it. Always the whole
# workspace: for fewer packages cargo would choose other features of what they depend on, and build that again.
# shellcheck disable=SC2317 # called by part
nextest() {
    cargo nextest run --workspace --no-tests=pass --success-output immediate "$@" 2>&1 |
        sed -uE '/^ +(stdout ───|running 1 test|test .* \.\.\. ok|test result: ok\..*|)$|^$/d'
}

# part NAME COMMAND...
# A name with a platform, `wasm-firefox:webgpu`, wants at least one test of the part to have run on it.
part() {
    local name=${1%:*} platform="" began=$SECONDS code=0
    [[ $1 != *:* ]] || platform=${1#*:}
    shift
    say "--- $name"
    "$@" 2>&1 | tee "$logs/$name" || code=$?
    count "$logs/$name"
    if [ "$code" != 0 ]; then
        status=1
        # A build that broke, or a browser that never started, is a failure too, though no test says so.
        [ "$f" -gt 0 ] || failed=$((failed + 1))
    elif [ -n "$platform" ] && ! grep -q "^ *ran on $platform: " "$logs/plain"; then
        say "--- $name: no test ran on $platform"
        status=1 failed=$((failed + 1))
    elif [ "${WEBNIBBLE_NO_SKIPS:-}" = 1 ] && count=$(forbidden | tee /dev/stderr | grep -c .); then
        say "--- $name: $count skipped that are not in scripts/allowed-skips.txt, and WEBNIBBLE_NO_SKIPS forbids it"
        status=1 failed=$((failed + count)) skipped=$((skipped - count))
    fi
    say "--- $name: $((SECONDS - began)) s"
}

# missing NAME REASON: a part that cannot run here. It is one skip, or one failure where none is allowed.
missing() {
    say "--- $1: $2"
    printf '%s: %s\n' "$1" "$2" >>"$logs/skipped"
    if [ "${WEBNIBBLE_NO_SKIPS:-}" = 1 ]; then
        status=1 failed=$((failed + 1))
    else
        skipped=$((skipped + 1))
    fi
}

only=${1:-}
wanted() { [ -z "$only" ] || [ "$only" = "$1" ]; }

export WEBNIBBLE_MODELS
WEBNIBBLE_MODELS=$(dirname "$(scripts/fetch-models.sh)") || die "the tests' model cannot be fetched"
# Tests that need a browser with WebNN skip, and say so, where none can be had.
export WEBNIBBLE_WEBNN_BROWSER
WEBNIBBLE_WEBNN_BROWSER=$(scripts/fetch-webnn-browser.sh) || say "no browser with WebNN"

if wanted native; then
    scripts/fetch-onnx-tools.sh >/dev/null || say "no onnx tools: exported files are not checked by onnxruntime"
    scripts/fetch-models.sh smollm2 >/dev/null || say "no SmolLM2: GGUF files are tested without a real one"
    part native nextest -E 'not package(webnibble-tests)'
fi
if wanted doc; then
    part doc cargo test --workspace --doc --quiet
fi
if wanted wasm; then
    part wasm-chromium:webgpu scripts/wasm-test.sh --no-fail-fast --lib --tests -- --nocapture
    if [ -n "$WEBNIBBLE_WEBNN_BROWSER" ]; then
        part wasm-webnn:webnn scripts/wasm-test.sh --webnn --lib webnn -- --nocapture
    else
        missing wasm-webnn "no browser with WebNN (scripts/fetch-webnn-browser.sh)"
    fi
    # Its software adapter has shader-f16, 128 MiB bindings and no subgroups, and another compiler reads the kernels.
    if have geckodriver && { have firefox || have firefox-esr; }; then
        # Less what is the same with every adapter.
        part wasm-firefox:webgpu scripts/wasm-test.sh --firefox --lib webgpu -- --nocapture --skip every_tiling \
            --skip portable_kernels --skip workgroup_size --skip plane_of --skip adapter_that
    else
        missing wasm-firefox "no Firefox and geckodriver (make setup): no kernel with f16 is run"
    fi
    # The other binaries differ in the CPU executor: products with relaxed SIMD, which the one with threads has too, and threads.
    WEBNIBBLE_WASM_VARIANT=threads part wasm-relaxed scripts/wasm-test.sh --no-fail-fast --test wasm -- --nocapture
    WEBNIBBLE_WASM_VARIANT=threads part wasm-threads scripts/wasm-test.sh --no-fail-fast --lib threads -- --nocapture
fi
if wanted e2e; then
    scripts/fetch-models.sh smollm2 >/dev/null || say "no SmolLM2: no real text is generated"
    scripts/fetch-selenium-grid.sh >/dev/null || say "no Selenium Grid: pools are tested without one"
    scripts/fetch-bundlers.sh >/dev/null || say "no bundlers: no page is built by Vite and webpack"
    part e2e nextest -E 'package(webnibble-tests)'
fi

if [ -s "$logs/skipped" ]; then
    say "skipped, and why:"
    cat "$logs/skipped"
fi
say "$passed passed, $failed failed, $skipped skipped"
exit "$status"
