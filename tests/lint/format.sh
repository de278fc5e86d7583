#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: format.sh SOURCEDIR -- all C code is as .clang-format makes it
set -eu
cd "$1"
find . \( -name .git -o -path ./build \) -prune -o -name '*.[ch]' -print0 |
	xargs -0 -r clang-format --dry-run --Werror
