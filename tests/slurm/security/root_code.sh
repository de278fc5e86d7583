#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: root_code.sh OBJECT... -- the objects of the plugin.  What runs as root in slurmstepd is in step.c;
# it can make, size, seal, write and read one memory file and ask Slurm about the step.  It can open no path,
# run no program and change no identity, because it calls nothing that could.
set -eu
allowed='memfd_create|ftruncate|fcntl|pwrite|pread|nanosleep|close|__errno_location|__stack_chk_fail'
allowed="$allowed|spank_getenv|spank_get_item|slurm_error|slurm_debug|_GLOBAL_OFFSET_TABLE_"

for object in "$@"; do
	case $object in
	*/step.c.o) step=$object ;;
	*/spank_ckpt.c.o) entry=$object ;;
	esac
done
: "${step:?step.c.o is not among the objects}" "${entry:?spank_ckpt.c.o is not among the objects}"
bad=0
others=$(nm -u "$step" | awk '{ print $2 }' | sed 's/64$//' | grep -vxE "$allowed" || true)
if [ -n "$others" ]; then
	echo "step.c, which runs as root, calls $others"
	bad=1
fi
nm -u "$step" | grep -q memfd_create || { echo "step.c makes no memory file: is this test up to date?"; bad=1; }
# The callbacks that Slurm would run as root with a task, or on nodes without a step, are not there at all.
for callback in task_init_privileged task_post_fork user_init job_prolog job_epilog slurmd_exit; do
	if nm "$entry" | grep -q "slurm_spank_$callback$"; then
		echo "spank_ckpt.c has the callback $callback, which runs as root"
		bad=1
	fi
done
exit $bad
