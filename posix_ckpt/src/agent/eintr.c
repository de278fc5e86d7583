/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No program sees an EINTR that a checkpoint made.  SA_RESTART covers most calls; for the others
 * (sleeps, poll, select, …) the handler makes the frame repeat the call.  A wrapped libc call repeats
 * itself with the time that is left; any other one is repeated in full.  Where a signal of the program's
 * own interrupts, EINTR stays.
 */
#include <errno.h>
#include <signal.h>

#include "agent/agent_private.h"

/* Calls that our handler's SA_RESTART lets the kernel repeat, although a handler without it would have
 * interrupted them.  Those that are always repeated (fork, locks with priority inheritance) are not
 * among them. */
static int interruptible(const ucontext_t *uc, long nr)
{
	switch (nr) {
	case __NR_read:
	case __NR_readv:
	case __NR_write:
	case __NR_writev:
	case __NR_recvfrom:
	case __NR_recvmsg:
	case __NR_recvmmsg:
	case __NR_sendto:
	case __NR_sendmsg:
	case __NR_sendmmsg:
	case __NR_accept:
	case __NR_accept4:
	case __NR_connect:
	case __NR_wait4:
	case __NR_waitid:
	case __NR_flock:
	case __NR_fcntl:
	case __NR_openat:
	case __NR_ioctl:
	case __NR_mq_timedsend:
	case __NR_mq_timedreceive:
	case __NR_sendfile:
	case __NR_splice:
	case __NR_tee:
	case __NR_vmsplice:
	case __NR_getrandom:
#ifdef __NR_open
	case __NR_open:
#endif
		return 1;
	case __NR_futex:
		return (arch_uc_arg2(uc) & FUTEX_CMD_MASK) == FUTEX_WAIT ||
		       (arch_uc_arg2(uc) & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET;
	default:
		return 0;
	}
}

/* Signals that wait for this thread or for any, open here, with a handler that lacks these flags. */
static uint64_t signals_due(const ucontext_t *uc, uint64_t without)
{
	uint64_t pending = 0, blocked, due = 0;

	arch_copy(&blocked, &uc->uc_sigmask, sizeof(blocked));
	if (sys(rt_sigpending, &pending, 8) < 0)
		return 0;
	pending &= ~blocked & ~(1ULL << (ckpti_agent.host.signo - 1));
	for (int sig = 1; sig <= 64; sig++) {
		struct ckpti_ksigaction sa;

		if (pending & 1ULL << (sig - 1) && sys(rt_sigaction, sig, 0, &sa, 8) == 0 &&
		    sa.handler != (uint64_t)SIG_DFL && sa.handler != (uint64_t)SIG_IGN &&
		    !(sa.flags & without))
			due |= 1ULL << (sig - 1);
	}
	return due;
}

/*
 * A signal of the program's that came while it stood ends a call with EINTR, as it would have without
 * us.  One for the whole process ends one call only: who gets it here takes it for itself.
 */
static int claim_signal(const ucontext_t *uc, uint64_t without)
{
	const struct {
		int64_t sec, nsec;
	} zero = {0, 0};
	uint64_t due = signals_due(uc, without);
	uint8_t info[128];
	/* Asked, because this may be a child of vfork(): the agent's memory is its parent's. */
	long pid = sys(getpid), self = sys(gettid);
	long sig;

	if (!due)
		return 0;
	sig = sys(rt_sigtimedwait, &due, info, &zero, 8);
	if (sig <= 0)
		return 0;
	(void)sys(rt_tgsigqueueinfo, pid, self, sig, info);
	return 1;
}

void agent_eintr_hide(ucontext_t *uc, const struct ckpti_siginfo *si, struct agent_hide *ret)
{
	int known = si->sys_nr >= 0 && si->sys_sp == arch_uc_sp(uc);
	long nr;

	ret->uc = (uint64_t)uc;
	ret->flag = NULL;
	ret->rewound = ret->restarted = 0;
	if (known && arch_uc_repeats(uc, si->sys_nr, si->sys_ip)) {
		ret->restarted = interruptible(uc, si->sys_nr);
		return;
	}
	if (arch_uc_ret(uc) != -EINTR || !arch_uc_at_syscall(uc))
		return;
	ret->flag = ckpti_agent.host.interrupted ? ckpti_agent.host.interrupted() : NULL;
	if (ret->flag) {
		*ret->flag = 1;
	} else {
		/* A call that was stopped and continued before is in restart_syscall, which repeats
		 * nothing once a handler has run. */
		nr = known && si->sys_ip == (uint32_t)arch_uc_ip(uc) &&
				     si->sys_nr != __NR_restart_syscall
			     ? si->sys_nr
			     : arch_uc_decode_nr(uc);
		if (nr < 0) {
			__atomic_add_fetch(&agent_state.lost, 1, __ATOMIC_RELAXED);
			return;
		}
		arch_uc_rewind(uc, nr);
		ret->rewound = 1;
	}
	__atomic_add_fetch(&agent_state.hidden, 1, __ATOMIC_RELAXED);
}

void agent_eintr_settle(ucontext_t *uc, const struct agent_hide *h)
{
	if ((!h->flag && !h->rewound && !h->restarted) ||
	    !claim_signal(uc, h->restarted ? SA_RESTART : 0))
		return;
	if (h->flag)
		*h->flag = 0;
	else
		arch_uc_forward(uc, -EINTR);
}

void agent_eintr_settle_frame(ucontext_t *uc)
{
	for (uint32_t i = 0; i < agent_state.nin && i < AGENT_MAX_THREADS; i++)
		if (agent_state.hide[i].uc == (uint64_t)uc)
			agent_eintr_settle(uc, &agent_state.hide[i]);
}
