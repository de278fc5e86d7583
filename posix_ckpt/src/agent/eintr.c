/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * No program sees an EINTR that a checkpoint made.  SA_RESTART covers most calls; for the others
 * (sleeps, poll, select, …) the handler makes the frame repeat the call.  A wrapped libc call repeats
 * itself with the time that is left; any other one is repeated in full.
 */
#include <errno.h>
#include <signal.h>

#include "agent/agent_private.h"

/* Is another signal, one that the program handles, about to be delivered to this thread?  Then the
 * call ends with EINTR as it would have without us. */
static int other_signal_due(const ucontext_t *uc)
{
	uint64_t pending = 0;
	uint64_t blocked;

	arch_copy(&blocked, &uc->uc_sigmask, sizeof(blocked));
	if (sys(rt_sigpending, &pending, 8) < 0)
		return 0;
	pending &= ~blocked & ~(1ULL << (ckpti_agent.host.signo - 1));
	for (int sig = 1; pending; sig++, pending >>= 1) {
		struct ckpti_ksigaction sa;

		if (!(pending & 1))
			continue;
		if (sys(rt_sigaction, sig, 0, &sa, 8) == 0 && sa.handler != (uint64_t)SIG_DFL &&
		    sa.handler != (uint64_t)SIG_IGN)
			return 1;
	}
	return 0;
}

void agent_eintr_hide(ucontext_t *uc, const struct ckpti_siginfo *si, struct agent_hide *ret)
{
	long nr = -1;

	ret->uc = (uint64_t)uc;
	ret->flag = NULL;
	ret->rewound = 0;
	if (arch_uc_ret(uc) != -EINTR || !arch_uc_at_syscall(uc) || other_signal_due(uc))
		return;
	ret->flag = ckpti_agent.host.interrupted ? ckpti_agent.host.interrupted() : NULL;
	if (ret->flag) {
		*ret->flag = 1;
	} else {
		if (si->sys_nr >= 0 && si->sys_sp == arch_uc_sp(uc) &&
		    si->sys_ip == (uint32_t)arch_uc_ip(uc))
			nr = si->sys_nr;
		else
			nr = arch_uc_decode_nr(uc);
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
	if ((!h->flag && !h->rewound) || !other_signal_due(uc))
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
