/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Limits that the program has set for itself are not meant for its checkpoint: for a moment, as much as
 * it could give itself.
 */
#include "agent/agent_private.h"

void agent_limit_lift(int resource, struct rlimit *ret_old)
{
	struct rlimit most;

	if (sys(prlimit64, 0, resource, NULL, ret_old) < 0)
		ret_old->rlim_cur = ret_old->rlim_max = RLIM_INFINITY;
	most.rlim_cur = most.rlim_max = ret_old->rlim_max;
	if (ret_old->rlim_cur != ret_old->rlim_max)
		(void)sys(prlimit64, 0, resource, &most, NULL);
}

void agent_limit_restore(int resource, const struct rlimit *old)
{
	if (old->rlim_cur != old->rlim_max)
		(void)sys(prlimit64, 0, resource, old, NULL);
}
