#!/bin/sh
# SPDX-License-Identifier: BSD-3-Clause
# usage: identity.sh SOURCEDIR -- on the Slurm side one file alone changes the user that it runs as, only ever
# from root to the owner of a job.  Nothing raises or keeps a capability, and nothing is installed set-user-ID.
set -eu
cd "$1"
bad=0
calls='set(res|re|e|fs)?[ug]id|(init|set)groups|cap_set_proc|capset|PR_SET_KEEPCAPS|PR_CAP_AMBIENT|chroot|setns|unshare|mount'
found=$(grep -rnE "\b($calls)\b ?[(,)]" spank config --include='*.[ch]')
others=$(echo "$found" | grep -v '^spank/scontrol/owner.c:' || true)
if [ -n "$others" ]; then
	echo "$others"
	bad=1
fi
grep -q 'setresuid(uid, uid, uid)' spank/scontrol/owner.c || { echo "owner.c does not drop root"; bad=1; }
if grep -rnE 'SETUID|SETGID|setcap|chmod .*[ug]\+s|PERMISSIONS' spank config --include=CMakeLists.txt; then
	echo "permissions of installed files are those of CMake"
	bad=1
fi
exit $bad
