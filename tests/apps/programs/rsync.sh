#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# rsync between three processes of its own, again and again, over a tree that changes in between.
set -eu
read -r state <seed
mkdir -p from
exec 3>progress
for ((step = 0; step < 40; step++)); do
	for ((i = 0; i < 20; i++)); do
		state=$(sha256sum <<<"$state $i" | cut -c1-64)
		for ((line = 0; line < 50; line++)); do echo "$line $state"; done >"from/$((i % 7)).${state:0:1}"
	done
	# A restart keeps aside what the life before has added to a file that was being written.
	rsync -a --checksum --delete --exclude='*.ckpt-*' --bwlimit=400 from/ to/
	echo "$step $state" >&3
done
cd to
sha256sum -- * | sort >../result
