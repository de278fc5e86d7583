#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: cppcheck.sh BUILDDIR -- the product's code (not the tests'), as it is compiled
set -eu
cache=$1/cppcheck
mkdir -p "$cache"
# The build directory makes a second run quick.  cppcheck knows no predefined macros,
# takes x = f(&x) for x = x, and the linker's start and end symbols for unrelated objects.
cppcheck --project="$1/compile_commands.json" --file-filter='*/posix_ckpt/*' \
	--cppcheck-build-dir="$cache" -j 2 --quiet --inline-suppr --error-exitcode=1 \
	--enable=warning,performance,portability -D__linux__=1 -D__x86_64__=1 \
	--suppress=selfAssignment --suppress=comparePointers
