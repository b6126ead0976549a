#!/usr/bin/env bash
# cargo for wasm32-unknown-unknown: `scripts/wasm-cargo.sh build -p webnibble-agent`.
#
# Runs whichever toolchain has the target (see `wasm_toolchain` in lib.sh) with `--target` set, in `target/wasm`, so
# that a wasm build and a native one never wait for each other's lock or throw each other's work away.
# rustc's flags for the target stand in `.cargo/config.toml`; WEBNIBBLE_WASM_VARIANT=relaxed or threads adds those of
# `.cargo/relaxed.toml` or `.cargo/threads.toml`, and builds in a folder of its own.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

variant=${WEBNIBBLE_WASM_VARIANT:-baseline}
flags=()
case $variant in
baseline) bin=$(wasm_toolchain) ;;
relaxed) bin=$(wasm_toolchain) flags=(--config "$REPO/.cargo/relaxed.toml") ;;
threads)
    bin=$(wasm_threads_toolchain) flags=(--config "$REPO/.cargo/threads.toml")
    # The std that ships is built for one thread: another is built from its source, which a stable cargo does not offer.
    export RUSTC_BOOTSTRAP=1
    ;;
*) die "WEBNIBBLE_WASM_VARIANT should be baseline, relaxed or threads, found $variant" ;;
esac
[ -n "$bin" ] || die "no compiler here has a std for $WASM_TARGET ($variant); run 'make setup'"

# First on PATH: cargo finds rustc, rustdoc and its subcommands (cargo-clippy) there.
export PATH="$bin:$PATH"
export CARGO_BUILD_TARGET="$WASM_TARGET"
CARGO_TARGET_DIR=$(wasm_target_dir "$variant")
export CARGO_TARGET_DIR
# A caller's flags would replace those of .cargo/config.toml, without which web-sys has no WebGPU.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC RUSTDOC
# Debian's compiler has no linker of its own for wasm32: name the one that setup installs for its LLVM.
if [ "$bin" = /usr/bin ]; then
    llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    if have "wasm-ld-$llvm"; then
        export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="wasm-ld-$llvm"
    fi
fi
exec "$bin/cargo" "${flags[@]}" "$@"
