/* SPDX-License-Identifier: BSD-3-Clause */
/* Root acts for a user only as that user. */
#ifndef CKPT_CORE_OWNER_H
#define CKPT_CORE_OWNER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "util/err.h"

/* Give up root for good and become uid, gid with these supplementary groups; nothing happens when we
 * are that user already.  -EPERM when we are neither root nor that user. */
int ckpti_owner_become(uid_t uid, gid_t gid, const uint32_t *groups, size_t ngroups,
		       struct ckpti_err *err);

/* May root restart, as this user with these groups, what lies in the statefile directory `dir`?  Who
 * owns a directory has written what is in it: its processes get his rights and no others. */
int ckpti_owner_check(const struct stat *dir, uid_t uid, gid_t gid, const uint32_t *groups,
		      size_t ngroups, struct ckpti_err *err);

#endif
