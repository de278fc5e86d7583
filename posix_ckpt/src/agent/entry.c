/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The one well-defined entry: SIGCKPT's handler.  A request from the coordinator makes the thread that
 * receives it the leader of its process; the leader musters the others, then serves the coordinator
 * until it says go.  Everything that is not ours is handed to the program's own handler.
 */
#include <errno.h>
#include <linux/kcmp.h>
#include <linux/mman.h>
#include <signal.h>
#include <sys/mman.h>

#include "agent/agent_private.h"
#include "agent/mem.h"

struct ckpti_agent ckpti_agent = {
	.magic = CKPTI_AGENT_MAGIC,
	.abi = CKPTI_AGENT_ABI,
	.own_fd = {-1, -1, -1, -1},
};
struct agent_state agent_state;

/* The leader's work needs more stack than a small alternate stack of the program has. */
static uint8_t leader_stack[AGENT_STACK_SIZE] __attribute__((aligned(64)));

void agent_sigreturn(void);
__asm__(".text\n"
	".globl agent_sigreturn\n"
	".hidden agent_sigreturn\n"
	".type agent_sigreturn, @function\n"
	"nop\n" /* unwinders look one byte in front */
	"agent_sigreturn:\n\t" ARCH_SIGRETURN_CODE);

/* What the page that tells a child from its parent says. */
enum wipe {
	WIPE_CHILD = 0, /* as fork() leaves it */
	WIPE_OWN,
	WIPE_ADOPTING
};

/*
 * Whose memory is this?  fork() leaves a child with a copy of the parent's state; the page that fork
 * clears tells, without any callback, also for raw clone().  A vfork child runs in its parent's own
 * memory and must not touch anything: the page is still set there, or the parent has had no signal
 * since its own fork, and the kernel says that the two share their memory.
 */
static int adopt(void)
{
	uint8_t child = WIPE_CHILD;
	int pid = (int)sys(getpid);
	long parent = sys(getppid);

	if (pid == __atomic_load_n(&ckpti_agent.pid, __ATOMIC_SEQ_CST))
		return 1;
	if (sys(kcmp, pid, parent, KCMP_VM) == 0)
		return 0;
	/* Two threads may have their first signal at the same time: one does it, the other waits. */
	if (__atomic_compare_exchange_n(agent_state.wipe, &child, WIPE_ADOPTING, 0,
					__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		agent_muster_reset();
		__atomic_store_n(&ckpti_agent.pid, pid, __ATOMIC_SEQ_CST);
		__atomic_store_n(agent_state.wipe, WIPE_OWN, __ATOMIC_SEQ_CST);
		return 1;
	}
	while (__atomic_load_n(agent_state.wipe, __ATOMIC_SEQ_CST) == WIPE_ADOPTING)
		(void)sys(sched_yield);
	return pid == __atomic_load_n(&ckpti_agent.pid, __ATOMIC_SEQ_CST);
}

static void report(uint32_t type, int error)
{
	struct ckpti_msg msg;

	memset(&msg, 0, sizeof(msg));
	msg.type = type;
	msg.error = error;
	(void)agent_link_send(&msg);
}

static int held(void)
{
	if (__atomic_load_n(&ckpti_agent.holds, __ATOMIC_SEQ_CST) <= 0)
		return 0;
	__atomic_store_n(&ckpti_agent.want, 1, __ATOMIC_SEQ_CST);
	return 1;
}

/* Why there is no checkpoint.  The other threads may run on. */
static int refusal;

static int refuse(void)
{
	if (agent_link_open(agent_state.nonce) < 0)
		return 0;
	report(refusal == -EAGAIN ? CKPTI_M_HELD : CKPTI_M_FAILED, refusal);
	agent_link_close();
	return 0;
}

/* On a stack of our own: stop the process, do as the coordinator says. */
static void lead(void *arg)
{
	int quiet, stopped = -EAGAIN;

	agent_state.nonce = *(uint64_t *)arg;
	quiet = !held() && agent_hooks_quiesce() == 0;
	if (quiet) {
		/* IRIX: a program's SIGCKPT handler runs once before the image, in signal context.  With
		 * checkpoint handlers registered their service thread has called it. */
		if (!ckpti_agent.handlers && ckpti_agent.host.foreign)
			ckpti_agent.host.foreign(ckpti_agent.host.signo, NULL, NULL);
		stopped = agent_muster();
		/* A thread may have called ckpt_hold() before it came in. */
		if (stopped == 0 && held())
			stopped = -EAGAIN;
	}
	if (stopped == 0)
		stopped = agent_link_open(agent_state.nonce);
	if (stopped < 0) {
		refusal = stopped;
		(void)agent_apart(refuse);
	} else {
		if (agent_hooks_before_image() != 0)
			report(CKPTI_M_FAILED, -ECANCELED);
		else
			agent_serve();
		agent_link_close();
	}
	if (quiet)
		agent_hooks_after_continue();
}

static void request(ucontext_t *uc, const struct ckpti_siginfo *si, const struct agent_hide *hide)
{
	uint32_t idle = AGENT_IDLE;
	uint64_t nonce = si->nonce;

	if (!__atomic_compare_exchange_n(&agent_state.phase, &idle, AGENT_STARTING, 0,
					 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {
		/* A second knock while another thread leads: this thread is as good as mustered. */
		agent_join(uc, hide);
		return;
	}
	agent_muster_begin(uc, hide);
	arch_call_on_stack(lead, &nonce, leader_stack + sizeof(leader_stack));
	agent_pending_requeue_process();
	agent_pending_requeue_own();
	agent_release();
}

static void prepare(const struct ckpti_siginfo *si)
{
	ckpti_agent.prepare_nonce = si->nonce;
	__atomic_add_fetch(&ckpti_agent.prepare_seq, 1, __ATOMIC_SEQ_CST);
	(void)ckpti_futex_wake(&ckpti_agent.prepare_seq, 1 << 30);
}

static void handler(int sig, struct ckpti_siginfo *si, void *ucv)
{
	struct agent_hide hide;

	if (si->code > CKPTI_SI_REQUEST || si->code < CKPTI_SI_TRACK) {
		if (ckpti_agent.host.foreign)
			ckpti_agent.host.foreign(sig, si, ucv);
		return;
	}
	agent_eintr_hide(ucv, si, &hide);
	if (!adopt())
		; /* a vfork child: not its state; the coordinator knocks again when it has exec'ed */
	else if (si->code == CKPTI_SI_REQUEST)
		request(ucv, si, &hide);
	else if (si->code == CKPTI_SI_PREPARE)
		prepare(si);
	else if (si->code == CKPTI_SI_TRACK)
		agent_track(si->nonce);
	else
		agent_join(ucv, &hide);
	agent_eintr_settle(ucv, &hide);
}

void ckpti_agent_overlook(void *uc)
{
	const struct ckpti_siginfo unknown = {.sys_nr = -1};
	struct agent_hide hide;

	agent_eintr_hide(uc, &unknown, &hide);
	agent_eintr_settle(uc, &hide);
}

int ckpti_agent_start(const struct ckpti_agent_host *host)
{
	struct ckpti_ksigaction sa;
	uint64_t mask;
	long page, r;

	page = sys(mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page < 0)
		return (int)page;
	memset(&sa, 0, sizeof(sa));
	sa.handler = (uint64_t)handler;
	sa.flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | CKPTI_SA_RESTORER;
	sa.restorer = (uint64_t)agent_sigreturn;
	sa.mask = ~0ULL;
	r = sys(madvise, page, 4096, MADV_WIPEONFORK);
	if (r == 0) {
		agent_state.wipe = (uint8_t *)page;
		*agent_state.wipe = WIPE_OWN;
		agent_state.sock = -1;
		ckpti_agent.pid = (int32_t)sys(getpid);
		ckpti_agent.host = *host;
		r = sys(rt_sigaction, host->signo, &sa, 0, 8);
	}
	if (r < 0) {
		(void)sys(munmap, page, 4096);
		return (int)r;
	}
	mask = 1ULL << (host->signo - 1);
	(void)sys(rt_sigprocmask, SIG_UNBLOCK, &mask, 0, 8);
	return 0;
}

/* Out of the restorer's memory, in place of that of the life before. */
static void keep_launch_env(const struct ckpti_resume *r)
{
	long to;

	if (ckpti_agent.launch_env)
		(void)sys(munmap, ckpti_agent.launch_env, ckpti_agent.launch_env_len);
	ckpti_agent.launch_env = NULL;
	if (r->version < 2 || !r->env_len)
		return;
	to = sys(mmap, 0, r->env_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (to < 0)
		return;
	memcpy((void *)to, (const void *)r->env, r->env_len);
	ckpti_agent.launch_env = (char *)to;
	ckpti_agent.launch_env_len = r->env_len;
}

static void keep_lazy(const struct ckpti_resume *r)
{
	ckpti_agent.nlazy = r->version < 3 ? 0 : r->nlazy;
	if (ckpti_agent.nlazy > CKPTI_RESUME_LAZY)
		ckpti_agent.nlazy = CKPTI_RESUME_LAZY;
	if (ckpti_agent.nlazy)
		memcpy(ckpti_agent.lazy, r->lazy, ckpti_agent.nlazy * sizeof(*r->lazy));
}

/* SIGRESTART to a program that handles it; its default action would end the process. */
static void announce_restart(void)
{
	int signo = ckpti_agent.host.signo_restart;
	struct ckpti_ksigaction sa;
	struct ckpti_siginfo si;

	if (!signo || ckpti_agent.handlers || sys(rt_sigaction, signo, 0, &sa, 8) < 0 ||
	    sa.handler == (uint64_t)SIG_DFL || sa.handler == (uint64_t)SIG_IGN)
		return;
	memset(&si, 0, sizeof(si));
	si.signo = signo;
	si.code = SI_QUEUE;
	si.pid = ckpti_agent.pid;
	(void)sys(rt_sigqueueinfo, ckpti_agent.pid, signo, &si);
}

/*
 * Entry of every restored thread, on its own stack below its signal frame.  The leader waits for the
 * others, drops the restorer, reports, and lets all go when the whole tree is ready.
 */
void ckpti_agent_resume(const struct ckpti_resume *r, const struct ckpti_resume_thread *t)
{
	uint64_t uc = t->uc;
	uint32_t turn = __atomic_load_n(&agent_state.turn, __ATOMIC_SEQ_CST);
	uint32_t others = r->nthreads - 1;
	int ready = r->ready_fd;
	int go = r->go_fd;
	uint64_t blob = r->blob_start;
	uint64_t len = r->blob_len;
	uint32_t n;
	char byte = 0;

	agent_attr_restore_thread(uc);
	if (!t->leader) {
		/* From here on nothing of the restorer's memory may be touched. */
		__atomic_add_fetch(&agent_state.resumed, 1, __ATOMIC_SEQ_CST);
		(void)ckpti_futex_wake(&agent_state.resumed, 1);
		agent_wait_release(turn, (ucontext_t *)uc);
		arch_leave(uc);
	}
	ckpti_agent.generation = r->generation;
	while ((n = __atomic_load_n(&agent_state.resumed, __ATOMIC_SEQ_CST)) < others)
		(void)ckpti_futex_wait(&agent_state.resumed, n, NULL);
	agent_state.resumed = 0;
	keep_launch_env(r);
	keep_lazy(r);
	(void)sys(munmap, blob, len);
	(void)sys(write, ready, &byte, 1);
	(void)sys(close, ready);
	while (sys(read, go, &byte, 1) == -EINTR)
		;
	(void)sys(close, go);
	ckpti_agent.pid = (int32_t)sys(getpid);
	ckpti_agent.want = 0;
	agent_state.sock = -1;
	agent_state.mailbox = NULL;
	for (int i = 0; i < CKPTI_MAX_OWN_FDS; i++)
		ckpti_agent.own_fd[i] = -1; /* of the old life */
	__atomic_add_fetch(&ckpti_agent.restarts, 1, __ATOMIC_SEQ_CST);
	agent_membarrier_restore();
	agent_attr_restore();
	agent_hooks_after_restart();
	__atomic_add_fetch(&ckpti_agent.event_seq, 1, __ATOMIC_SEQ_CST);
	(void)ckpti_futex_wake(&ckpti_agent.event_seq, 1 << 30);
	(void)ckpti_futex_wake(&ckpti_agent.restarts, 1 << 30);
	agent_state.npending = 0; /* the restorer has queued what the image says */
	announce_restart();
	agent_eintr_settle_frame((ucontext_t *)uc);
	agent_release();
	arch_leave(uc);
}
