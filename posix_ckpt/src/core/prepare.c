/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * atcheckpoint() handlers run on a service thread of the library, which the first registration starts
 * and which is known by its name.  Only processes that have it are asked.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "core/set.h"

#define SERVICE_THREAD "ckpt-handlers"

static bool has_handlers(int pid)
{
	char dir[64], name[64];
	int *tids = NULL;
	size_t n = 0;
	bool found = false;

	(void)snprintf(dir, sizeof(dir), "/proc/%d/task", pid);
	if (ckpti_procfs_numbers(dir, &tids, &n) < 0)
		return false;
	for (size_t i = 0; n > 1 && i < n && !found; i++) {
		char *comm;

		(void)snprintf(name, sizeof(name), "task/%d/comm", tids[i]);
		comm = ckpti_procfs_slurp(pid, name, NULL);
		found = comm && strcmp(comm, SERVICE_THREAD "\n") == 0;
		free(comm);
	}
	free(tids);
	return found;
}

int ckpti_set_prepare(struct ckpti_set *set, struct ckpti_err *err)
{
	unsigned limit_ms = set->req->timeout_ms ? set->req->timeout_ms : 10000;
	uint64_t deadline = ckpti_now_ns() + (uint64_t)limit_ms * 1000000U;
	struct ckpti_err ignored = {0};
	size_t waiting = 0;

	for (size_t i = 0; i < set->n; i++) {
		struct ckpti_member *m = &set->member[i];

		/* Anybody may give a thread that name: it is the muster that refuses such a one. */
		m->prepared = m->state == CKPTI_MEMBER_ZOMBIE || !has_handlers(m->info.pid) ||
			      ckpti_set_eligible(set, m, &ignored) < 0 ||
			      ckpti_set_knock(set, m, CKPTI_SI_PREPARE) < 0;
		waiting += !m->prepared;
	}
	while (waiting) {
		const struct ckpti_member *late = NULL;
		int r = ckpti_link_poll(set, 10, err);

		if (r < 0)
			return r;
		waiting = 0;
		for (size_t i = 0; i < set->n; i++) {
			if (set->member[i].prepared)
				continue;
			waiting++;
			late = &set->member[i];
		}
		if (late && ckpti_now_ns() > deadline)
			return ckpti_err_obj(err, -ETIMEDOUT, late->info.pid, late->info.comm,
					     "its checkpoint handlers did not end within %u ms",
					     limit_ms);
	}
	return 0;
}
