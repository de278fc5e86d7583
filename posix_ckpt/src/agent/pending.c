/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals that wait for delivery are taken out with their siginfo, so that the image has them, and
 * queued again when the process goes on.  Everything is blocked in the handler, so nothing is lost in
 * between; queueing to oneself may carry any siginfo.
 */
#include <errno.h>

#include "agent/agent_private.h"
#include "agent/mem.h"
#include "agent/text.h"

#define FIRST_QUEUED 32 /* signals below it do not queue */

static uint64_t own_signal(void)
{
	return 1ULL << (ckpti_agent.host.signo - 1);
}

/* The program's own signals in a set that /proc shows. */
static int mask_in(const char *path, const char *key, uint64_t *ret)
{
	char value[32];
	const char *p = value;
	int r = agent_file_field(path, key, value, sizeof(value));

	*ret = r < 0 ? 0 : agent_hex(&p) & ~own_signal();
	return r;
}

/*
 * Taking some of a queue and leaving the rest would lose the rest, and change the order: more than we
 * have room for stay where they are, and the checkpoint fails.  The kernel counts those of the user, in
 * whatever program they wait; it does not matter where none can wait twice.
 */
static int room(uint64_t mask)
{
	char value[32];
	const char *p = value;
	int r;

	if (!(mask >> (FIRST_QUEUED - 1)))
		return 0;
	r = agent_file_field("/proc/self/status", "SigQ:", value, sizeof(value));
	return r < 0 ? r : agent_dec(&p) > AGENT_MAX_PENDING ? -E2BIG : 0;
}

/* 0 when none is left. */
static int take_all(const char *path, const char *key, int tid)
{
	struct {
		int64_t sec, nsec;
	} zero = {0, 0};
	struct ckpti_state_pending *p;
	uint64_t mask;
	uint32_t i;
	int r = mask_in(path, key, &mask);

	if (r == 0 && mask)
		r = room(mask);
	while (r == 0 && mask) {
		i = __atomic_fetch_add(&agent_state.npending, 1, __ATOMIC_SEQ_CST);
		if (i >= AGENT_MAX_PENDING) {
			__atomic_sub_fetch(&agent_state.npending, 1, __ATOMIC_SEQ_CST);
			return -E2BIG;
		}
		p = &agent_state.pending[i];
		memset(p, 0, sizeof(*p));
		p->tid = -1; /* not valid until it is complete */
		if (sys(rt_sigtimedwait, &mask, p->info, &zero, 8) < 0)
			return 0;
		p->tid = tid;
		r = mask_in(path, key, &mask);
	}
	return r;
}

static void drain(const char *path, const char *key, int tid)
{
	int r = take_all(path, key, tid);

	if (r < 0)
		__atomic_store_n(&agent_state.pending_error, r, __ATOMIC_SEQ_CST);
}

void agent_pending_save_own(void)
{
	uint64_t pending = 0;
	char path[64];
	int tid;

	/* The cheap question first: the process' and the thread's sets together. */
	if (sys(rt_sigpending, &pending, 8) < 0 || !(pending & ~own_signal()))
		return;
	tid = (int)sys(gettid);
	drain(agent_path(path, "/proc/self/task/", tid, "/status"), "SigPnd:", tid);
}

void agent_pending_save_process(void)
{
	drain("/proc/self/status", "ShdPnd:", 0);
}

static void requeue(int tid)
{
	uint32_t n = agent_state.npending;
	long self = sys(gettid);

	for (uint32_t i = 0; i < n; i++) {
		struct ckpti_state_pending *p = &agent_state.pending[i];
		int32_t signo;

		if (p->tid != tid)
			continue;
		p->tid = -1;
		memcpy(&signo, p->info, sizeof(signo));
		if (tid)
			(void)sys(rt_tgsigqueueinfo, ckpti_agent.pid, self, signo, p->info);
		else
			(void)sys(rt_sigqueueinfo, ckpti_agent.pid, signo, p->info);
	}
}

void agent_pending_requeue_own(void)
{
	if (agent_state.npending)
		requeue((int)sys(gettid));
}

void agent_pending_requeue_process(void)
{
	requeue(0);
}
