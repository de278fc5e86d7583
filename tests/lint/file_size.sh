#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: file_size.sh SOURCEDIR -- a file that is longer than 800 lines wants to be two
set -eu
cd "$1"
find . \( -name .git -o -path ./build \) -prune -o -name '*.[ch]' -exec wc -l {} \; |
	awk '$1 > 800 { print $2 ": " $1 " lines"; bad = 1 } END { exit bad }'
