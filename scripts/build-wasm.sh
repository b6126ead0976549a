#!/usr/bin/env bash
# Builds the agent for the page into pkg/: cargo, wasm-bindgen, wasm-opt; prints its size and fails over the limit.
# Quick when nothing changed: the last two steps run only on a new binary.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

LIMIT_GZIP_BYTES=1500000
PROFILE="wasm-release"
wasm="${WEBNIBBLE_WASM_TARGET_DIR:-$REPO/target/wasm}/$WASM_TARGET/$PROFILE/webnibble_agent.wasm"
pkg="$REPO/pkg"

(cd "$REPO" && scripts/wasm-cargo.sh build -p webnibble-agent --lib --profile "$PROFILE")
[ -f "$wasm" ] || die "cargo made no $wasm: webnibble-agent's [lib] needs crate-type = [\"cdylib\", \"rlib\"]"

# What pkg/ is made of: the binary, the two tools, and the way they are called.
key=$(cat "$wasm" "$REPO/www/package-lock.json" "$REPO/scripts/build-wasm.sh" <(wasm-bindgen --version) | sha256sum)
if [ "$key" != "$(cat "$pkg/built-from" 2>/dev/null)" ]; then
    # Into a folder beside pkg/ first: a host that serves pkg/ meanwhile never sees half of it.
    work=$(mktemp -d "$REPO/target/pkg.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    chmod 755 "$work"
    # The target_features section tells wasm-opt what the browser may be asked for (SIMD, bulk memory).
    wasm-bindgen "$wasm" --target web --out-dir "$work" --out-name webnibble_agent
    # Nothing lies in the first KiB of memory (the end of the stack): so addresses may be folded into loads.
    "$REPO/www/node_modules/.bin/wasm-opt" -O3 --low-memory-unused --strip-debug --strip-producers \
        "$work/webnibble_agent_bg.wasm" -o "$work/opt.wasm"
    mv "$work/opt.wasm" "$work/webnibble_agent_bg.wasm"
    printf '%s\n' "$key" >"$work/built-from"
    rm -rf "$pkg"
    mv "$work" "$pkg"
    trap - EXIT
fi

raw=$(stat -c %s "$pkg/webnibble_agent_bg.wasm")
gzip=$(gzip -9 -c "$pkg/webnibble_agent_bg.wasm" | wc -c)
say "wasm: $raw bytes, $gzip bytes gzip (limit $LIMIT_GZIP_BYTES)"
[ "$gzip" -le "$LIMIT_GZIP_BYTES" ] || die "the agent is over its size limit"
