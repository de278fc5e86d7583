#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: man_coverage.sh SOURCEDIR -- every public function and the command cpr have a man page
set -eu
. "$(dirname "$0")/symbols.sh"
cd "$1"
map=posix_ckpt/libckpt.map
[ -e docs/man/cpr.1.scd ] || { echo "cpr: no man page"; exit 1; }

# A page covers the names before the dash of its NAME section.
covered=$(awk 'FNR == 1 { name = 0 }
	/^# / { name = ($2 == "NAME"); next }
	name && / - / { sub(/ - .*/, ""); gsub(/[\\,*_]*,[ ]*/, " "); gsub(/\\/, ""); print }' \
	docs/man/*.3.scd | tr ' ' '\n')
bad=0
for symbol in $(map_symbols "$map"); do
	# Only functions of the public headers; the map also has libc's names, which we wrap.
	grep -qE "(^|[^a-zA-Z0-9_])$symbol\(" posix_ckpt/include/*.h || continue
	if ! echo "$covered" | grep -qx "$symbol"; then
		echo "$symbol: no man page names it"
		bad=1
	fi
done
exit $bad
