/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The muster: SIGCKPT goes to every thread of the process, each counts itself in and sleeps.  The
 * kernel's own thread count is the truth: all are in when it equals the number counted in plus the
 * tasks that plug-ins left out.  A thread that has the signal pending cannot create another one (the
 * kernel restarts clone), so the loop ends.
 */
#include <errno.h>

#include "agent/agent_private.h"
#include "agent/mem.h"
#include "agent/text.h"

#define MUSTER_STEP_NS (2 * 1000 * 1000)
#define MUSTER_STEPS \
	500 /* 1 s: how often a waiting leader looks whether anybody still waits for it */

struct scan {
	int pid;
	int self; /* who does this: the leader, or a task apart */
	uint32_t seen;
	uint32_t ours; /* the leader and the task apart, who are not asked to come in */
	uint32_t foreign;
	uint32_t fresh;
};

/*
 * Which tasks have had the signal in this muster: a bit map over task numbers (the kernel's limit is
 * 2^22), and the list of the bits that are set, to clear them again.
 */
#define TID_MAX (1U << 22)
static uint8_t signalled[TID_MAX / 8];
static int32_t knocked[AGENT_MAX_THREADS];
static uint32_t nknocked;

static uint8_t *byte_of(int tid)
{
	return &signalled[((uint32_t)tid % TID_MAX) / 8];
}

static int is_signalled(int tid)
{
	return *byte_of(tid) >> (tid & 7) & 1;
}

static void set_signalled(int tid)
{
	*byte_of(tid) |= (uint8_t)(1U << (tid & 7));
	if (nknocked < AGENT_MAX_THREADS)
		knocked[nknocked] = tid;
	nknocked++;
}

static void clear_signalled(void)
{
	if (nknocked > AGENT_MAX_THREADS)
		memset(signalled, 0, sizeof(signalled));
	else
		for (uint32_t i = 0; i < nknocked; i++)
			*byte_of(knocked[i]) = 0;
	nknocked = 0;
}

/* What the task is in, so that its handler can repeat an interrupted call. */
static void read_syscall(int tid, struct ckpti_siginfo *si)
{
	char path[64];
	char text[256];
	const char *p = text;
	uint64_t word[9];

	si->sys_nr = -1;
	if (agent_slurp(agent_path(path, "/proc/self/task/", tid, "/syscall"), text,
			sizeof(text)) <= 0)
		return;
	if (*p < '0' || *p > '9')
		return;
	si->sys_nr = (int32_t)agent_dec(&p);
	for (int i = 0; i < 8; i++) {
		while (*p == ' ')
			p++;
		if (p[0] == '0' && p[1] == 'x')
			p += 2;
		word[i] = agent_hex(&p);
	}
	si->sys_sp = word[6];
	si->sys_ip = (uint32_t)word[7];
}

static int knock(void *arg, int dirfd, int tid)
{
	struct scan *scan = arg;
	struct ckpti_siginfo si;

	(void)dirfd;
	scan->seen++;
	if (tid == scan->self || tid == agent_state.leader) {
		scan->ours++;
		return 0;
	}
	if (agent_foreign_task(tid)) {
		scan->foreign++;
		return 0;
	}
	if (is_signalled(tid))
		return 0;
	memset(&si, 0, sizeof(si));
	si.signo = ckpti_agent.host.signo;
	si.code = CKPTI_SI_MUSTER;
	si.pid = scan->pid;
	si.nonce = agent_state.nonce;
	read_syscall(tid, &si);
	/* The user's queue of signals may be full for a moment: it gets its own the next time. */
	if (sys(rt_tgsigqueueinfo, scan->pid, tid, si.signo, &si) == -EAGAIN)
		return 0;
	set_signalled(tid);
	scan->fresh++;
	return 0;
}

static void leave(void)
{
	if (__atomic_sub_fetch(&agent_state.inside, 1, __ATOMIC_SEQ_CST) == 0)
		(void)ckpti_futex_wake(&agent_state.inside, 1);
}

void agent_muster_begin(ucontext_t *uc, const struct agent_hide *hide)
{
	uint32_t inside;

	/* A thread of the last round that has not run yet still needs its pending signals.  Asleep, or
	 * one with real-time priority would not let the others run. */
	while ((inside = __atomic_load_n(&agent_state.inside, __ATOMIC_SEQ_CST)) != 0)
		(void)ckpti_futex_wait(&agent_state.inside, inside, NULL);
	agent_state.npending = 0;
	agent_state.pending_error = 0;
	agent_state.arrived = 0;
	agent_state.hidden = agent_state.lost = 0;
	agent_state.leader = (int32_t)sys(gettid);
	agent_state.nin = 1;
	agent_state.hide[0] = *hide;
	agent_thread_save(&agent_state.thread[0], (uint64_t)uc);
	agent_attr_save_thread(&agent_state.attr[0]);
	__atomic_store_n(&agent_state.phase, AGENT_MUSTER, __ATOMIC_SEQ_CST);
}

void agent_muster_reset(void)
{
	clear_signalled();
	agent_state.inside = 0;
	agent_state.phase = AGENT_IDLE;
}

static int muster(void)
{
	struct scan scan = {.pid = ckpti_agent.pid, .self = (int)sys(gettid)};
	struct {
		int64_t sec, nsec;
	} step = {0, MUSTER_STEP_NS};
	long before, after;
	int r;

	for (int steps = 0;;) {
		uint32_t arrived;

		before = agent_thread_count();
		if (before == 1) {
			agent_state.nforeign = 0;
			break;
		}
		scan.seen = scan.ours = scan.foreign = scan.fresh = 0;
		r = agent_for_numbers("/proc/self/task", knock, &scan);
		if (r < 0)
			return r;
		arrived = __atomic_load_n(&agent_state.arrived, __ATOMIC_SEQ_CST);
		after = agent_thread_count();
		if (before < 0 || after < 0)
			return before < 0 ? (int)before : (int)after;
		if (before == after && (long)scan.seen == after &&
		    arrived + scan.ours + scan.foreign == (uint32_t)after) {
			agent_state.nforeign = scan.foreign;
			break;
		}
		if (scan.fresh)
			continue;
		if (ckpti_futex_wait(&agent_state.arrived, arrived, &step) == -ETIMEDOUT &&
		    ++steps == MUSTER_STEPS) {
			/* The deadline is the coordinator's; it stops listening when that has passed. */
			if (!agent_link_wanted(agent_state.nonce))
				return -ETIMEDOUT;
			steps = 0;
		}
	}
	__atomic_store_n(&agent_state.phase, AGENT_STOPPED, __ATOMIC_SEQ_CST);
	return 0;
}

int agent_muster(void)
{
	/* Alone it has nobody to hide its descriptors from. */
	return agent_thread_count() == 1 ? muster() : agent_apart(muster);
}

static void tell(enum agent_order order)
{
	__atomic_store_n(&agent_state.order, order, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&agent_state.turn, 1, __ATOMIC_SEQ_CST);
	(void)ckpti_futex_wake(&agent_state.turn, 1 << 30);
}

/* Not earlier: it opens files, which a fork() of a thread that still runs would copy, and somebody who
 * has stopped may have sent a signal to somebody who stood already. */
void agent_muster_drain(void)
{
	uint32_t n;

	agent_state.drained = 0;
	tell(AGENT_DRAIN);
	agent_pending_save_own();
	while ((n = __atomic_load_n(&agent_state.drained, __ATOMIC_SEQ_CST)) < agent_state.arrived)
		(void)ckpti_futex_wait(&agent_state.drained, n, NULL);
	agent_pending_save_process();
}

void agent_release(void)
{
	clear_signalled();
	__atomic_store_n(&agent_state.phase, AGENT_ENDING, __ATOMIC_SEQ_CST);
	tell(AGENT_GO);
	__atomic_store_n(&agent_state.phase, AGENT_IDLE, __ATOMIC_SEQ_CST);
}

void agent_join(ucontext_t *uc, const struct agent_hide *hide)
{
	uint32_t turn = __atomic_load_n(&agent_state.turn, __ATOMIC_SEQ_CST);
	uint32_t slot;

	/* Counted before the look: from here on no other round can begin. */
	__atomic_add_fetch(&agent_state.inside, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&agent_state.phase, __ATOMIC_SEQ_CST) != AGENT_MUSTER ||
	    __atomic_load_n(&agent_state.turn, __ATOMIC_SEQ_CST) != turn) {
		/* A signal that was late: the round it belongs to is over. */
		leave();
		return;
	}
	slot = __atomic_fetch_add(&agent_state.nin, 1, __ATOMIC_SEQ_CST);
	if (slot >= AGENT_MAX_THREADS) {
		leave();
		return;
	}
	agent_state.hide[slot] = *hide;
	agent_thread_save(&agent_state.thread[slot], (uint64_t)uc);
	agent_attr_save_thread(&agent_state.attr[slot]);
	__atomic_add_fetch(&agent_state.arrived, 1, __ATOMIC_SEQ_CST);
	(void)ckpti_futex_wake(&agent_state.arrived, 1);
	agent_wait_release(turn, NULL);
}

void agent_wait_release(uint32_t turn, ucontext_t *uc)
{
	for (;; turn++) {
		while (__atomic_load_n(&agent_state.turn, __ATOMIC_SEQ_CST) == turn)
			(void)ckpti_futex_wait(&agent_state.turn, turn, NULL);
		if (__atomic_load_n(&agent_state.order, __ATOMIC_SEQ_CST) == AGENT_GO)
			break;
		agent_pending_save_own();
		__atomic_add_fetch(&agent_state.drained, 1, __ATOMIC_SEQ_CST);
		(void)ckpti_futex_wake(&agent_state.drained, 1);
	}
	agent_pending_requeue_own();
	if (uc)
		agent_eintr_settle_frame(uc);
	leave();
}
