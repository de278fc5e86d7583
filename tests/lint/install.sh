#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# usage: install.sh BUILDDIR -- what `cmake --install` leaves can be used: by
# find_package, by pkg-config, and after the tree was moved
set -euo pipefail
build=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

fail() {
	echo "$*"
	exit 1
}

cmake --install "$build" --prefix "$tmp/first" >"$tmp/log" || fail "cmake --install failed"
mv "$tmp/first" "$tmp/prefix"
prefix=$tmp/prefix
pc=$(find "$prefix" -name ckpt.pc)
[ -n "$pc" ] || fail "ckpt.pc was not installed"
libdir=$(dirname "$(dirname "$pc")")
[ -e "$libdir/libckpt.so.0" ] || fail "$libdir/libckpt.so.0 was not installed"
for header in ckpt.h ckpt_hooks.h chkpnt.h; do
	[ -e "$prefix/include/$header" ] || fail "$header was not installed"
done
if grep -q '/cpr$' "$build/install_manifest.txt"; then
	"$prefix/bin/cpr" --version >/dev/null || fail "the installed cpr does not start"
fi

mkdir "$tmp/program"
cat >"$tmp/program/main.c" <<'EOF'
#include <ckpt.h>
#include <ckpt_hooks.h>
#include <chkpnt.h>
#include <stdio.h>

int main(void)
{
	printf("restarts %u\n", ckpt_restarts());
	return 0;
}
EOF
cat >"$tmp/program/CMakeLists.txt" <<'EOF'
cmake_minimum_required(VERSION 3.25)
project(program C)
find_package(ckpt 0.1 REQUIRED)
add_executable(program main.c)
target_link_libraries(program PRIVATE ckpt::ckpt)
EOF

if ! { cmake -S "$tmp/program" -B "$tmp/program/build" -DCMAKE_PREFIX_PATH="$prefix" &&
	cmake --build "$tmp/program/build"; } >"$tmp/log" 2>&1; then
	cat "$tmp/log"
	fail "find_package(ckpt) failed"
fi
[ "$("$tmp/program/build/program")" = "restarts 0" ] || fail "the find_package program fails"

export PKG_CONFIG_PATH=$libdir/pkgconfig
read -ra flags <<<"$(pkg-config --cflags --libs ckpt)"
cc "$tmp/program/main.c" -o "$tmp/program/main" "${flags[@]}" || fail "pkg-config ckpt failed"
[ "$(LD_LIBRARY_PATH=$libdir "$tmp/program/main")" = "restarts 0" ] ||
	fail "the pkg-config program fails"
