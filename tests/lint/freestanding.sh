#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: freestanding.sh OBJECT... -- together the objects need nothing from elsewhere: no libc, no
# compiler run-time, no instrumentation, no thread-local storage
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

for object in "$@"; do
	[ -s "$object" ] || { echo "$object: not built"; exit 1; }
done
ld -r -o "$tmp/all.o" "$@"
bad=0
# The linker itself defines _GLOBAL_OFFSET_TABLE_.
undefined=$(nm -u "$tmp/all.o" | awk '$2 != "_GLOBAL_OFFSET_TABLE_" { print $2 }')
if [ -n "$undefined" ]; then
	bad=1
	for symbol in $undefined; do
		for object in "$@"; do
			if nm -u "$object" | grep -qw "$symbol"; then
				echo "$(basename "$object"): '$symbol' is undefined"
			fi
		done
	done
fi
if readelf -SW "$tmp/all.o" | grep -E '\.(tbss|tdata)'; then
	echo "thread-local storage in freestanding code"
	bad=1
fi
# What is linked to a flat image runs where nobody relocates it.
if readelf -rW "$tmp/all.o" | awk '/^Relocation section/ { code = !/debug/ }
		code && /R_X86_64_(64|32|32S|[A-Z_]*GOT[A-Z_0-9]*) / { print; found = 1 }
		END { exit !found }'; then
	echo "freestanding code needs relocations"
	bad=1
fi
exit $bad
