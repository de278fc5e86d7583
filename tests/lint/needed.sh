#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: needed.sh LIB -- what is preloaded into every program must bring nothing but libc
set -eu
needed=$(readelf -dW "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
[ "$needed" = libc.so.6 ] || { echo "$1 needs: $needed"; exit 1; }
# Text relocations and a writable executable stack are refused by hardened kernels.
if readelf -dW "$1" | grep -q TEXTREL; then
	echo "$1 has text relocations"
	exit 1
fi
readelf -lW "$1" | awk '$1 == "GNU_STACK" { found = 1; if ($7 ~ /E/) bad = 1 }
	END { if (!found || bad) { print "executable stack"; exit 1 } }'
