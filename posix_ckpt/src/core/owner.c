/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/owner.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "group ids have 32 bits");

int ckpti_owner_become(uid_t uid, gid_t gid, const uint32_t *groups, size_t ngroups,
		       struct ckpti_err *err)
{
	if (uid == getuid())
		return 0;
	if (geteuid() != 0)
		return ckpti_err(err, -EPERM, "belongs to user %u", uid);
	if (setgroups(ngroups, groups) < 0 || setresgid(gid, gid, gid) < 0 ||
	    setresuid(uid, uid, uid) < 0)
		return ckpti_err(err, -errno, "cannot become user %u: %s", uid, strerror(errno));
	/* Changing ids made us undumpable, which would hide our own /proc entries from us. */
	(void)prctl(PR_SET_DUMPABLE, 1);
	return 0;
}
