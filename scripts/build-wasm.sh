#!/usr/bin/env bash
# Builds the agent for the page into pkg/: wasm-pack, wasm-opt and esbuild for each variant, and the loader that chooses
# among them in the page. Prints sizes and fails over the limit. Quick when nothing changed: the last two steps run only
# on a new binary. `scripts/build-wasm.sh relaxed` builds only that variant, and leaves the others as they are.
#
#   baseline   fixed-width SIMD, one thread: every browser that has WebGPU
#   relaxed    relaxed SIMD, whose fused multiply-add the matrix products use
#   threads    relaxed SIMD and a shared memory, for pages that are cross-origin isolated
set -euo pipefail
. "$(dirname "$0")/lib.sh"

LIMIT_GZIP_BYTES=1500000
PROFILE="wasm-release"
pkg="$REPO/pkg"
loader="$REPO/crates/agent/loader"
npm_bin="$REPO/www/node_modules/.bin"
[ $# -gt 0 ] || set -- baseline relaxed threads

# one_script FOLDER: makes one file of what wasm-bindgen put there, and of the guard around the binary. Bundlers hand it
# out as it is, which is not to be had from a script with others beside it.
one_script() {
    # What wasm-bindgen names twice is one and the same; comments in `import()` are for bundlers, so nothing is minified.
    "$npm_bin/esbuild" "$loader/variant.js" --bundle --format=esm --log-level=warning \
        --log-override:duplicate-object-key=silent --alias:wasm-bindgen-output="$1/webnibble_agent.js" \
        --define:WebAssembly.instantiate=instantiateGuarded --inject:"$loader/guard.js" --outfile="$1/one.js"
    mv "$1/one.js" "$1/webnibble_agent.js"
    rm -r "$1/snippets"
}

# wasm_pack VARIANT FOLDER: has wasm-pack build a variant, and puts the binary and its bindings there.
wasm_pack() (
    wasm_environment "$1"
    # wasm-pack's own wasm-opt would be downloaded; its package.json and .gitignore are for a package of one binary.
    wasm-pack --quiet build "$REPO/crates/agent" --target web --profile "$PROFILE" --mode no-install --no-opt --no-pack \
        --no-gitignore --out-dir "$2" --out-name webnibble_agent -- "${wasm_flags[@]}"
)

# build VARIANT: pkg/VARIANT.
build() {
    local variant=$1 key work raw gzip
    # Into a folder beside pkg/ first: a host that serves pkg/ meanwhile never sees half of it.
    work=$(mktemp -d "$REPO/target/pkg.XXXXXX")
    # shellcheck disable=SC2064 # the folder's name of now is meant
    trap "rm -rf '$work'" EXIT
    chmod 755 "$work"
    wasm_pack "$variant" "$work"

    # What pkg/ is made of: the binary with its bindings, the tools, and the way they are called.
    key=$(cat "$work"/webnibble_agent{_bg.wasm,.js} "$loader"/{variant,guard}.js "$REPO/www/package-lock.json" \
        "$REPO/scripts/build-wasm.sh" | sha256sum)
    if [ "$key" != "$(cat "$pkg/$variant/built-from" 2>/dev/null)" ]; then
        # The target_features section tells wasm-opt what the browser may be asked for (SIMD, bulk memory).
        # Nothing lies in the first KiB of memory (the end of the stack): so addresses may be folded into loads.
        "$npm_bin/wasm-opt" -O3 --low-memory-unused --strip-debug --strip-producers \
            "$work/webnibble_agent_bg.wasm" -o "$work/opt.wasm"
        mv "$work/opt.wasm" "$work/webnibble_agent_bg.wasm"
        one_script "$work"
        printf '%s\n' "$key" >"$work/built-from"
        rm -rf "${pkg:?}/$variant"
        mv "$work" "$pkg/$variant"
    else
        rm -r "$work"
    fi
    trap - EXIT

    raw=$(stat -c %s "$pkg/$variant/webnibble_agent_bg.wasm")
    gzip=$(gzip -9 -c "$pkg/$variant/webnibble_agent_bg.wasm" | wc -c)
    say "wasm $variant: $raw bytes, $gzip bytes gzip (limit $LIMIT_GZIP_BYTES)"
    [ "$gzip" -le "$LIMIT_GZIP_BYTES" ] || die "the agent ($variant) is over its size limit"
}

if [ "${1:-}" = --one ]; then
    build "$2"
    exit
fi
mkdir -p "$pkg" "$REPO/target"
# What lay there when there was one binary only.
rm -rf "$pkg"/snippets "$pkg"/built-from "$pkg"/webnibble_agent_bg.*
# Side by side, since much of each build has work for one core alone. Of xargs, whose children end with Ctrl-C as this script does.
printf '%s\n' "$@" | xargs -n 1 -P "$#" "$0" --one
cp "$loader"/webnibble_agent.* "$pkg/"
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' "$REPO/Cargo.toml")
sed "s/\"version\": \"[^\"]*\"/\"version\": \"$version\"/" "$loader/package.json" >"$pkg/package.json"
