#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: codespell.sh SOURCEDIR
set -eu
cd "$1"
exec codespell --quiet-level 2 --ignore-words tests/lint/codespell-ignore.txt \
	--skip './.git,./build,*/corpus,*/data,*.img,*.bin'
