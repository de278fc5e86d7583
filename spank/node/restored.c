/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How far the restart of tasks is.  A restored task is a `cpr -r`, whose descendant is the program.  cpr
 * says in the page when that runs.  A cpr that ended before, as it does when it fails, could not restore:
 * the coordinator is told, so that this generation is not tried for ever.  How a program ends that has run
 * says nothing about its generation, though it may end with the same status.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>

#include "spank/node/node.h"

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
	/* Otherwise once more, over the next connection. */
	if (n->uplink.wire)
		t->restore = CKPTI_RESTORE_TOLD;
}

void ckpti_restored_tick(struct ckpti_node *n)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		const struct ckpti_slot *slot = &n->page->slot[i];
		struct ckpti_task *t = &n->task[i];

		if (t->restore == CKPTI_RESTORE_BEGUN &&
		    !__atomic_load_n(&slot->building, __ATOMIC_ACQUIRE))
			t->restore = CKPTI_RESTORE_RUNS;
		if (t->restore == CKPTI_RESTORE_BEGUN && t->state == CKPTI_SLOT_ENDED)
			t->restore =
				is_failure(t->status) ? CKPTI_RESTORE_FAILED : CKPTI_RESTORE_RUNS;
		if (t->restore == CKPTI_RESTORE_FAILED && n->uplink.wire)
			tell_failure(n, t);
	}
}

bool ckpti_restored_all(const struct ckpti_node *n)
{
	for (size_t i = 0; i < n->ntasks; i++)
		if (ckpti_task_is_coming(n, &n->task[i]) ||
		    n->task[i].restore == CKPTI_RESTORE_BEGUN ||
		    n->task[i].restore == CKPTI_RESTORE_FAILED ||
		    n->task[i].restore == CKPTI_RESTORE_TOLD)
			return false;
	return true;
}
