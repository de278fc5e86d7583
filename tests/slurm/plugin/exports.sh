#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: exports.sh PLUGIN -- nothing can be seen but what Slurm looks for
set -eu
names=$(nm -D --defined-only "$1" | awk '{ print $3 }')
for name in plugin_name plugin_type plugin_version slurm_spank_init slurm_spank_task_init; do
	echo "$names" | grep -qx "$name" || { echo "$1: $name is missing"; exit 1; }
done
if echo "$names" | grep -v -e '^plugin_' -e '^slurm_spank_'; then
	echo "$1: these should be hidden"
	exit 1
fi
# Slurm's own: no other function of the program that loads it.
if nm -D --undefined-only "$1" | awk '$1 == "U" { print $2 }' |
	grep -v -e '@GLIBC_' -e '^spank_' -e '^slurm_\(error\|debug\|spank_log\)$'; then
	echo "$1: these are not in libc, and not in Slurm's interface for plugins"
	exit 1
fi
