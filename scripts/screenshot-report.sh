#!/usr/bin/env bash
# Makes a picture of a report: scripts/screenshot-report.sh REPORT.html OUT.png [light|dark] [WIDTHxHEIGHT]
# Chromium without a window draws the page as it is; one pixel of the page is one of the picture.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# -ge 2 ] || die "usage: $0 REPORT.html OUT.png [light|dark] [WIDTHxHEIGHT]"
report=$(realpath "$1") out=$2 theme=${3:-light} size=${4:-1400x1560}
[ -f "$report" ] || die "no report $report: make one with \`webnibble bench --all --out DIR\`"
case $theme in
    light) scheme=1 ;;
    dark) scheme=0 ;;
    *) die "theme should be light or dark, found $theme" ;;
esac
browser=$(command -v chromium || command -v google-chrome) || die "no Chromium on PATH (make setup)"
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
sandbox=()
[ "$(id -u)" -ne 0 ] || sandbox=(--no-sandbox)
"$browser" --headless "${sandbox[@]}" --user-data-dir="$profile" --no-first-run --disable-gpu --hide-scrollbars \
    --blink-settings=preferredColorScheme="$scheme" --window-size="${size/x/,}" --screenshot="$out" "file://$report" 2>/dev/null
[ -s "$out" ] || die "Chromium wrote no $out"
say "$out: $(stat -c %s "$out") bytes" >&2
