#!/usr/bin/env bash
# Fuzzes every target of fuzz/ for FUZZ_SECONDS (600) each, one after the other, beginning with what lies in fuzz/seeds/;
# `scripts/fuzz.sh TARGET…` those alone. An input that breaks a promise ends its target, and is named.
# Needs a compiler that takes unstable flags: nightly, where rustup has one, else the stable one that is told to.
set -uo pipefail
. "$(dirname "$0")/lib.sh"
cd "$REPO/fuzz" || exit 1

# Largest input in bytes, memory of the process in MB, and seconds for one input.
LIMITS=(-max_len=16384 -rss_limit_mb=1024 -timeout=10)

have cargo-fuzz || cargo install cargo-fuzz --version 0.13.2 --locked || die "cargo-fuzz cannot be installed"
if rustup run nightly rustc --version >/dev/null 2>&1; then
    export RUSTUP_TOOLCHAIN=nightly
else
    export RUSTC_BOOTSTRAP=1
fi
sanitizer=${FUZZ_SANITIZER:-address}
all=("$@")
[ ${#all[@]} -gt 0 ] || mapfile -t all < <(cargo fuzz list)

failed=()
for target in "${all[@]}"; do
    mkdir -p "corpus/$target"
    say "--- $target"
    cargo fuzz run --sanitizer "$sanitizer" "$target" "corpus/$target" "seeds/$target" -- \
        -max_total_time="${FUZZ_SECONDS:-600}" "${LIMITS[@]}" -print_final_stats=1 || failed+=("$target")
done
[ ${#failed[@]} = 0 ] || die "faults were found in: ${failed[*]}; the inputs lie in fuzz/artifacts/"
say "fuzz: ${#all[@]} targets, no fault"
