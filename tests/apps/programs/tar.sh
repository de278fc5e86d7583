#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# tar | xz | sha256sum.  tar makes a pause after every 16 records.
set -euo pipefail
exec 3>progress
seed=$(<seed)
mkdir -p input
awk -v seed="$seed" 'BEGIN {
	for (f = 100; f < 500; f++) {
		file = "input/" f
		for (i = 0; i < 2600; i++)
			print seed + f * 1000 + i >file
		close(file)
	}
}'
# shellcheck disable=SC2016 # for the shell that tar starts
tar -c --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --mode=644 \
	--checkpoint=16 --checkpoint-action='exec=echo $TAR_CHECKPOINT >&3; sleep 0.1' input |
	xz -1 -T1 | sha256sum >result
