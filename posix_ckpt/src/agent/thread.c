/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thread, as far as its signal frame does not hold it.  The counterpart of each line is in
 * restart/thread.c.
 */
#include <linux/prctl.h>

#include "agent/agent_private.h"
#include "agent/mem.h"

#define RSEQ_SIG        0x53053053U
#define RSEQ_LEN        32 /* what the C library registers */
#define RSEQ_UNREGISTER 1

/* A thread that has just been made may not have registered it yet, and would fail to after a restart.
 * The kernel tells only who tries. */
static void save_rseq(struct ckpti_e_thread *t, uint64_t area)
{
	if (sys(rseq, area, RSEQ_LEN, 0, RSEQ_SIG) == 0) {
		(void)sys(rseq, area, RSEQ_LEN, RSEQ_UNREGISTER, RSEQ_SIG);
		return;
	}
	t->rseq = area;
	t->rseq_len = RSEQ_LEN;
	t->rseq_sig = RSEQ_SIG;
}

void agent_thread_save(struct ckpti_e_thread *t, uint64_t uc)
{
	struct {
		int32_t priority;
	} param = {0};
	long r;

	memset(t, 0, sizeof(*t));
	t->tid = (int32_t)sys(gettid);
	t->uc = uc;
	arch_thread_bases(&t->fs_base, &t->gs_base);
	(void)sys(get_robust_list, 0, &t->robust, &t->robust_len);
	(void)sys(prctl, PR_GET_TID_ADDRESS, &t->clear_tid);
	(void)sys(prctl, PR_GET_NAME, t->comm);
	r = sys(prctl, PR_GET_TIMERSLACK);
	t->timerslack = r > 0 ? (uint32_t)r : 0;
	r = sys(sched_getscheduler, 0);
	t->policy = r < 0 ? 0 : (int32_t)r;
	(void)sys(sched_getparam, 0, &param);
	t->priority = param.priority;
	r = sys(getpriority, 0, 0); /* the raw call answers 20 - nice */
	t->nice = r > 0 ? 20 - (int32_t)r : 0;
	(void)sys(sched_getaffinity, 0, sizeof(t->affinity), t->affinity);
	if (ckpti_agent.host.rseq_size)
		save_rseq(t, t->fs_base + (uint64_t)ckpti_agent.host.rseq_offset);
}
