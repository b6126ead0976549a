#!/usr/bin/env bash
# Formatting, lints for native and wasm with warnings denied, licences, circles of files, and the shell scripts.
# Runs all of them before it fails, so that one round shows everything there is to mend.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO" || exit 1

failures=()
check() {
    local name=$1 began=$SECONDS
    shift
    say "--- $name"
    "$@" || failures+=("$name")
    say "--- $name: $((SECONDS - began)) s"
}

check rustfmt cargo fmt --all --check
check clippy-native cargo clippy --workspace --all-targets --quiet -- -D warnings
# Only the crates that run in the page; what they need of the others is checked with them.
check clippy-wasm scripts/wasm-cargo.sh clippy -p webnibble-common -p webnibble-models -p webnibble-kernels \
    -p webnibble-agent --lib --quiet -- -D warnings
# What only the binary with threads has.
check clippy-wasm-threads env WEBNIBBLE_WASM_VARIANT=threads scripts/wasm-cargo.sh clippy -p webnibble-agent --lib --quiet \
    -- -D warnings
check licences scripts/check-licenses.py
# Files of a crate that depend on each other in a circle; it tries itself on small trees first.
check circles scripts/check-circles.py
if have cargo-deny; then
    # Its database of advisories needs a host that not every machine reaches; the other checks are offline.
    check cargo-deny cargo deny --offline check licenses bans sources
fi
if have shellcheck; then
    check shellcheck shellcheck -x -P scripts scripts/*.sh .ci/run
else
    say "shellcheck is not installed: shell scripts not checked"
fi

[ ${#failures[@]} = 0 ] || die "failed: ${failures[*]}"
say "lint: all clean"
