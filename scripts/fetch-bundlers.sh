#!/usr/bin/env bash
# Fetches the bundlers that tests/bundlers builds a page with (95 MB), and prints the folder of their node_modules.
# Kept outside the repository in ${WEBNIBBLE_TOOLS:-~/.cache/webnibble/tools}; with them there, only prints.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

project="$REPO/tests/bundlers"
tools="${WEBNIBBLE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/webnibble/tools}"
folder="$tools/bundlers-$(cat "$project"/package*.json | sha256sum | cut -c1-12)"

if [ ! -d "$folder" ]; then
    mkdir -p "$tools"
    # Beside the final place, so that the closing rename is one step: a folder that exists is whole.
    work=$(mktemp -d "$tools/.fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    say "npm ci of Vite and webpack" >&2
    chmod 755 "$work"
    cp "$project"/package*.json "$REPO/.npmrc" "$work"
    npm ci --prefix "$work" --no-audit --no-fund --loglevel=error >/dev/null
    # Another run may have been quicker: then its folder stands and ours goes.
    mv -T "$work" "$folder" 2>/dev/null || [ -d "$folder" ] || die "cannot write $folder"
    trap - EXIT
fi
printf '%s\n' "$folder"
