#!/usr/bin/env bash
# cargo for wasm32-unknown-unknown: `scripts/wasm-cargo.sh build -p webnibble-agent`.
#
# Runs whichever toolchain has the target (see `wasm_toolchain` in lib.sh) with `--target` set, in `target/wasm`, so
# that a wasm build and a native one never wait for each other's lock or throw each other's work away.
# rustc's flags for the target stand in `.cargo/config.toml`; WEBNIBBLE_WASM_VARIANT=relaxed or threads adds those of
# `.cargo/relaxed.toml` or `.cargo/threads.toml`, and builds in a folder of its own.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

wasm_environment "${WEBNIBBLE_WASM_VARIANT:-baseline}"
exec cargo "${wasm_flags[@]}" "$@"
