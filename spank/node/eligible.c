/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs that cannot be checkpointed are named soon after they started, not when the first interval is
 * over.  Looking at their maps is cheap and disturbs nobody; what is found is only told, because the same
 * program may be gone, or another be there, when a round comes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/mpi.h"
#include "core/procfs.h"
#include "spank/node/node.h"

/* Milliseconds after a task was seen first: an exec has happened by then; a wrapper has done its work. */
static const unsigned look_at[] = {1000, 5000, 30000};
#define NLOOKS (sizeof(look_at) / sizeof(look_at[0]))

static bool is_due(const struct ckpti_task *t, uint64_t now)
{
	return t->state == CKPTI_SLOT_FRESH && ckpti_task_live(t) && !t->told &&
	       t->looks < NLOOKS && now - t->since_ms >= look_at[t->looks];
}

/* NULL: it is prepared, has ended, or is not the user's program yet. */
static const char *what_is_wrong(const struct ckpti_proc *p)
{
	static char text[200];
	const char *why = NULL;
	char *maps, mpi[96];

	if (strcmp(p->comm, "slurmstepd") == 0)
		return NULL;
	errno = 0;
	maps = ckpti_procfs_slurp(p->pid, "maps", NULL);
	if (!maps)
		return errno == EACCES || errno == EPERM ? "has rights that it got when it started"
							 : NULL;
	if (*maps && !strstr(maps, "/libckpt.so"))
		why = strstr(maps, "/ld-") || strstr(maps, "/ld.so") ? "runs without libckpt"
								     : "is statically linked";
	else if (ckpti_mpi_in_maps(maps, mpi, sizeof(mpi))) {
		(void)snprintf(text, sizeof(text), "has %s, which " CKPTI_MPI_REFUSED, mpi);
		why = text;
	}
	free(maps);
	return why;
}

static void tell(struct ckpti_node *n, const struct ckpti_proc *p, const char *why)
{
	struct ckpti_task *t = &n->task[p->task];
	char exe[PATH_MAX];

	if (ckpti_procfs_link(p->pid, "exe", exe) < 0)
		(void)snprintf(exe, sizeof(exe), "%s", p->comm);
	t->told = true;
	ckpti_uplink_notice(n,
			    "task %u on %s: '%.300s' (pid %d) %s: checkpoints of this step fail as "
			    "long as it runs",
			    t->rank, n->host, exe, p->pid, why);
}

void ckpti_eligible_tick(struct ckpti_node *n)
{
	uint64_t now = ckpti_node_now_ms();
	struct ckpti_proc *p = NULL;
	bool any = false;
	size_t np = 0;

	for (size_t i = 0; i < n->ntasks && !any; i++)
		any = is_due(&n->task[i], now);
	if (!any || ckpti_procs_find(n, &p, &np) < 0)
		return;
	for (size_t i = 0; i < np; i++) {
		const char *why;

		if (!is_due(&n->task[p[i].task], now))
			continue;
		why = what_is_wrong(&p[i]);
		if (why)
			tell(n, &p[i], why);
	}
	free(p);
	for (size_t i = 0; i < n->ntasks; i++)
		if (is_due(&n->task[i], now))
			n->task[i].looks++;
}
