/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far the restart of tasks is.  A restored task is a `cpr -r`, whose descendant is the program.  It
 * runs when such a descendant has its maps back and nobody is rebuilding it.  A cpr that ended as it does
 * when it fails, and below which nothing has run, could not restore: the coordinator is told, so that this
 * generation is not tried for ever.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "core/procfs.h"
#include "spank/node/node.h"

#define LOOK_MS 100

static bool is_program(int pid)
{
	struct ckpti_procinfo info = {.pid = pid};
	char *maps = ckpti_procfs_slurp(pid, "maps", NULL);
	bool there = maps && strstr(maps, "/libckpt.so") && ckpti_procfs_status(&info) == 0 &&
		     info.tracer == 0;

	free(maps);
	return there;
}

/* 1 failed, 2 usage, 3 nothing there, 4 refused; 126 and 127 when it could not be run. */
static bool is_failure(int status)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 0;

	return (code >= 1 && code <= 4) || code == 126 || code == 127;
}

static void tell_failure(struct ckpti_node *n, struct ckpti_task *t)
{
	/* Of the plugin, which did not get as far as cpr. */
	const struct ckpti_slot *slot = &n->page->slot[t - n->task];
	struct ckpti_kv kv;

	t->restore = CKPTI_RESTORE_TOLD;
	ckpti_kv_init(&kv);
	ckpti_kv_set_u64(&kv, "round", 0);
	ckpti_kv_setf(&kv, "errno", "%d", EIO);
	ckpti_kv_set_u64(&kv, "rank", t->rank);
	ckpti_kv_set(&kv, "host", n->host);
	if (slot->reason[0])
		ckpti_kv_setf(&kv, "text", "task %u could not be restored: %.*s", t->rank,
			      (int)sizeof(slot->reason) - 1, slot->reason);
	else
		ckpti_kv_setf(
			&kv, "text",
			"task %u could not be restored: cpr ended with status %d, after a line that "
			"says why",
			t->rank, WEXITSTATUS(t->status));
	ckpti_uplink_send(n, CKPTI_W_FAILED, &kv);
	ckpti_kv_free(&kv);
}

static void look_at_programs(struct ckpti_node *n)
{
	struct ckpti_proc *p = NULL;
	size_t np = 0;

	if (ckpti_procs_find(n, &p, &np) < 0)
		return;
	for (size_t i = 0; i < np; i++) {
		struct ckpti_task *t = &n->task[p[i].task];

		if (t->restore == CKPTI_RESTORE_BEGUN && p[i].pid != t->pid && is_program(p[i].pid))
			t->restore = CKPTI_RESTORE_RUNS;
	}
	free(p);
}

void ckpti_restored_tick(struct ckpti_node *n)
{
	static uint64_t looked_ms;
	uint64_t now = ckpti_node_now_ms();
	bool open = false;

	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_task *t = &n->task[i];

		if (t->restore == CKPTI_RESTORE_BEGUN && t->state == CKPTI_SLOT_ENDED)
			t->restore =
				is_failure(t->status) ? CKPTI_RESTORE_FAILED : CKPTI_RESTORE_RUNS;
		if (t->restore == CKPTI_RESTORE_FAILED && n->uplink.wire)
			tell_failure(n, t);
		open = open || t->restore == CKPTI_RESTORE_BEGUN;
	}
	if (!open || now - looked_ms < LOOK_MS)
		return;
	looked_ms = now;
	look_at_programs(n);
}

bool ckpti_restored_all(const struct ckpti_node *n)
{
	for (size_t i = 0; i < n->ntasks; i++)
		if (n->task[i].restore == CKPTI_RESTORE_BEGUN ||
		    n->task[i].restore == CKPTI_RESTORE_FAILED ||
		    n->task[i].restore == CKPTI_RESTORE_TOLD)
			return false;
	return true;
}
