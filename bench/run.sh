#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# usage: run.sh [--quick] [--dir DIR] [--only NAME]... -- measure the cpr found in PATH
# Builds what is measured and hands over to measure.py; called by `./quickstart bench`.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

cpr=$(command -v cpr) || {
	echo "bench: no cpr in PATH; use ./quickstart bench" >&2
	exit 1
}
build=$(cd "$(dirname "$(readlink -f "$cpr")")/.." && pwd)
[[ -e $build/CMakeCache.txt ]] || {
	echo "bench: $cpr is not in a build tree" >&2
	exit 1
}
cmake --build "$build" --target bench_programs >/dev/null
exec python3 "$here/measure.py" --cpr "$cpr" --programs "$build/bench" \
	--results "$here/results" "$@"
