#!/usr/bin/env bash
# cargo for wasm32-unknown-unknown: `scripts/wasm-cargo.sh build -p webnibble-agent`.
#
# Runs whichever toolchain has the target (see `wasm_toolchain` in lib.sh) with `--target` set, in `target/wasm`, so
# that a wasm build and a native one never wait for each other's lock or throw each other's work away.
# rustc's flags for the target stand in `.cargo/config.toml`.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

bin=$(wasm_toolchain)
[ -n "$bin" ] || die "no compiler here has a std for $WASM_TARGET; run 'make setup'"

# First on PATH: cargo finds rustc, rustdoc and its subcommands (cargo-clippy) there.
export PATH="$bin:$PATH"
export CARGO_BUILD_TARGET="$WASM_TARGET"
export CARGO_TARGET_DIR="${WEBNIBBLE_WASM_TARGET_DIR:-$REPO/target/wasm}"
# A caller's flags would replace those of .cargo/config.toml, without which web-sys has no WebGPU.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC RUSTDOC
# Debian's compiler has no linker of its own for wasm32: name the one that setup installs for its LLVM.
if [ "$bin" = /usr/bin ]; then
    llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    if have "wasm-ld-$llvm"; then
        export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="wasm-ld-$llvm"
    fi
fi
exec "$bin/cargo" "$@"
