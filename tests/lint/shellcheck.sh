#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# usage: shellcheck.sh SOURCEDIR -- every script, known by its name or its first line
set -euo pipefail
cd "$1"
scripts=()
while IFS= read -r -d '' file; do
	case $file in
	*.sh | *.bash | *.bats | */completions/*) scripts+=("$file") ;;
	*)
		if head -c 64 "$file" | head -n 1 | tr -d '\0' | grep -qE '^#!.*\b(sh|bash|dash|bats)\b'; then
			scripts+=("$file")
		fi
		;;
	esac
done < <(find . \( -name .git -o -path ./build \) -prune -o \
	-type f \( -name '*.sh' -o -name '*.bats' -o -name '*.bash' -o -path '*/completions/*' -o -perm -u+x \) -print0)
((${#scripts[@]} > 0)) || { echo "no script found"; exit 1; }
shellcheck -x -P SCRIPTDIR "${scripts[@]}"
