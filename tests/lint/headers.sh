#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: headers.sh INCLUDEDIR -- each public header stands alone in every dialect of our users
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
bad=0

# try COMPILER LANGUAGE HEADER FLAGS...
try() {
	compiler=$1 language=$2 header=$3
	shift 3
	printf '#include <%s>\n#include <%s>\nint lint_headers;\n' "$header" "$header" >"$tmp/t"
	if ! "$compiler" -x "$language" "$@" -pedantic -Wall -Wextra -Werror -fsyntax-only \
		-I"$include" "$tmp/t"; then
		echo "$header: $compiler $* fails"
		bad=1
	fi
}

include=$1
for path in "$include"/*.h; do
	header=$(basename "$path")
	try cc c "$header" -std=c89
	try cc c "$header" -std=c89 -D_POSIX_C_SOURCE=200809L
	try cc c "$header" -std=c99
	try cc c "$header" -std=c99 -D_GNU_SOURCE
	try cc c "$header" -std=gnu11
	try c++ c++ "$header" -std=c++17
done
exit $bad
