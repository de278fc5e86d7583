#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# usage: run.sh [--quick|--all] [--publish] [--dir DIR] [--only NAME]... -- measure the cpr found in PATH
# Builds what is measured, runs measure.py, restart.py and, for root, scale.py one after the other, and writes
# results/TIME/ with their JSON files, report.csv, performance.md and plots; called by `./quickstart bench`.
# --quick: small sizes only; --all: also 4 and 8 GiB, and 10,000 nodes; --publish: into docs/, too; --only:
# these measurements of measure.py and nothing else.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
size=usual publish=() where=() only=() look=0

usage_error() {
	echo "bench: $1; usage: [--quick|--all] [--publish] [--dir DIR] [--only NAME]..." >&2
	exit 2
}

while [[ $# -gt 0 ]]; do
	case $1 in
	--check-options) look=1 ;; # and nothing else
	--quick) size=quick ;;
	--all) size=all ;;
	--publish) publish=(--publish) ;;
	--dir)
		[[ -n ${2-} ]] || usage_error "--dir needs a directory"
		where=(--dir "$2")
		shift
		;;
	--only)
		[[ -n ${2-} ]] || usage_error "--only needs a name"
		only+=(--only "$2")
		shift
		;;
	*) usage_error "'$1' is no option" ;;
	esac
	shift
done
((look == 0)) || exit 0
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
results=$here/results/$(date +%Y%m%d-%H%M%S)
mkdir "$results"
case $size in
quick) small=(--quick) mib="64" nodes="100,1000" ;;
usual) small=() mib="64,1024" nodes="100,1000,3000" ;;
all) small=() mib="64,1024,4096,8192" nodes="100,1000,10000" ;;
esac

# A bar that was missed is told at the end; what follows is measured all the same.
status=0
python3 "$here/measure.py" --cpr "$cpr" --programs "$build/bench" --results "$results" \
	"${small[@]}" "${where[@]}" "${only[@]}" || status=$?
if [[ ${#only[@]} -eq 0 ]]; then
	python3 "$here/restart.py" --build "$build" "${where[@]}" --sizes "$mib" \
		--json "$results/restart.json" || status=$?
	if [[ $EUID -eq 0 && -x $build/bench/agents ]] && command -v munged >/dev/null; then
		/usr/bin/python3 "$here/scale.py" --build "$build" --nodes "$nodes" \
			--json "$results/scale.json" || status=$?
	else
		echo "bench: the coordinator is left out: it needs root, munge and the Slurm part"
	fi
fi
python3 "$here/report.py" "${publish[@]}" "$results"
exit "$status"
