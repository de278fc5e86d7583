/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/owner.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
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

/* Is user uid in all of these groups?  A user that the system does not know is in the one group that
 * his directory shows. */
static int check_groups(const struct stat *dir, gid_t gid, const uint32_t *groups, size_t ngroups,
			struct ckpti_err *err)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): cpr has one thread */
	const struct passwd *pw = getpwuid(dir->st_uid);
	gid_t alone = dir->st_gid, *list = NULL;
	int n = 0, r = 0;

	if (pw) {
		(void)getgrouplist(pw->pw_name, pw->pw_gid, NULL, &n);
		list = calloc((size_t)n + 1, sizeof(*list));
		if (!list)
			return ckpti_err(err, -ENOMEM, "out of memory");
		if (getgrouplist(pw->pw_name, pw->pw_gid, list, &n) < 0)
			n = 0;
	} else {
		n = 1;
	}
	for (size_t i = 0; r == 0 && i <= ngroups; i++) {
		gid_t want = i ? groups[i - 1] : gid;
		bool found = false;

		for (int k = 0; k < n && !found; k++)
			found = (list ? list[k] : alone) == want;
		if (!found)
			r = ckpti_err(err, -EPERM,
				      "its processes have group %u, of which user %u is no member: "
				      "that user must restart it",
				      want, dir->st_uid);
	}
	free(list);
	return r;
}

int ckpti_owner_check(const struct stat *dir, uid_t uid, gid_t gid, const uint32_t *groups,
		      size_t ngroups, struct ckpti_err *err)
{
	if (geteuid() != 0 || dir->st_uid == 0)
		return 0;
	if (uid != dir->st_uid)
		return ckpti_err(err, -EPERM,
				 "its processes belong to user %u, but the directory to user %u",
				 uid, dir->st_uid);
	return check_groups(dir, gid, groups, ngroups, err);
}
