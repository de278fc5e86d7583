#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: exports.sh LIB MAP -- the library exports exactly the names of its version script
set -eu
. "$(dirname "$0")/symbols.sh"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

map_symbols "$2" >"$tmp/map"
[ -s "$tmp/map" ] || { echo "$2: no exported name found"; exit 1; }
nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort -u >"$tmp/lib"
# A name of the map that the library lacks is silently ignored by the linker.
diff -u --label "$2" --label "$1" "$tmp/map" "$tmp/lib"
