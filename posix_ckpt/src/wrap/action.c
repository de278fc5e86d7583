/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Handlers.  The kernel keeps the agent's for SIGCKPT; what the program sets is remembered, given back
 * when it asks, and called as IRIX did: once per process before the image is taken.  Handlers of other
 * signals run with SIGCKPT open, so that a long one does not keep a checkpoint waiting.  SIGRESTART is
 * an ordinary signal.
 */
#include "wrap/wrap_private.h"

#include "agent/agent.h"
#include "wrap/wrap.h"

#include <string.h>
#include <sys/syscall.h>

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/*
 * The program's disposition of SIGCKPT.  Each change takes a slot of its own, then makes it the
 * current one: no lock, so a fork at any instant leaves a child with a whole one, and a reader in a
 * signal handler never sees half of a change.
 */
#define SLOTS 8
static struct sigaction slot[SLOTS];
static unsigned int next_slot, current_slot;

/* Bit sig-1: the program has SIGCKPT in the sa_mask of this signal. */
static uint64_t mask_holds;

static bool ours(int sig)
{
	return ckpti_wrap_signo && sig == ckpti_wrap_signo;
}

static const struct sigaction *app_get(void)
{
	return &slot[__atomic_load_n(&current_slot, __ATOMIC_ACQUIRE)];
}

static const struct sigaction *app_set(const struct sigaction *act)
{
	unsigned int n = (__atomic_add_fetch(&next_slot, 1, __ATOMIC_RELAXED)) % SLOTS;

	slot[n] = *act;
	return &slot[__atomic_exchange_n(&current_slot, n, __ATOMIC_ACQ_REL)];
}

const struct sigaction *ckpti_wrap_app_action(int signo)
{
	return ours(signo) ? app_get() : NULL;
}

void ckpti_wrap_foreign(int sig, void *si, void *ucv)
{
	struct sigaction act = *app_get();
	const ucontext_t *uc = ucv;
	uint64_t mask, old = 0, more;
	int saved = errno;

	if (!(act.sa_flags & SA_SIGINFO) &&
	    (act.sa_handler == SIG_DFL || act.sa_handler == SIG_IGN)) {
		/* Of a batch system that signals everybody, or of kill(1): it must do nothing. */
		if (ucv)
			ckpti_agent_overlook(ucv);
		return;
	}
	if (act.sa_flags & SA_RESETHAND) {
		struct sigaction none = {.sa_handler = SIG_DFL};

		(void)app_set(&none);
	}
	if (uc) {
		/* Our handler runs with everything blocked; theirs gets what it asked for. */
		memcpy(&mask, &uc->uc_sigmask, sizeof(mask));
		memcpy(&more, &act.sa_mask, sizeof(more));
		mask |= more | 1ULL << (sig - 1);
		(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, &old, sizeof(mask));
	}
	if (act.sa_flags & SA_SIGINFO)
		act.sa_sigaction(sig, si, ucv);
	else
		act.sa_handler(sig);
	if (uc)
		(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
	errno = saved;
}

CKPTI_EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction open;
	bool held = false;
	uint64_t bit, before;

	if (ours(sig)) {
		const struct sigaction *was = act ? app_set(act) : app_get();

		if (old)
			*old = *was;
		return 0;
	}
	if (act && ckpti_wrap_signo && sigismember(&act->sa_mask, ckpti_wrap_signo) == 1) {
		held = true;
		open = *act;
		(void)sigdelset(&open.sa_mask, ckpti_wrap_signo);
	}
	if (REAL(sigaction)(sig, held ? &open : act, old) < 0)
		return -1;
	if (!ckpti_wrap_signo)
		return 0;
	/* The kernel accepted it: sig is a number that has a bit. */
	bit = 1ULL << (sig - 1);
	if (!act)
		before = __atomic_load_n(&mask_holds, __ATOMIC_RELAXED);
	else if (held)
		before = __atomic_fetch_or(&mask_holds, bit, __ATOMIC_RELAXED);
	else
		before = __atomic_fetch_and(&mask_holds, ~bit, __ATOMIC_RELAXED);
	if (old && before & bit)
		(void)sigaddset(&old->sa_mask, ckpti_wrap_signo);
	return 0;
}

/* ---- older interfaces --------------------------------------------------------------------- */

/* For SIGCKPT; returns the handler before. */
static __sighandler_t app_set_handler(__sighandler_t handler, int flags, bool mask_self)
{
	struct sigaction act = {.sa_handler = handler, .sa_flags = flags};

	if (handler == SIG_ERR) {
		errno = EINVAL;
		return SIG_ERR;
	}
	if (mask_self)
		(void)sigaddset(&act.sa_mask, ckpti_wrap_signo);
	return app_set(&act)->sa_handler;
}

static void forget_mask(int sig)
{
	if (sig > 0 && sig < NSIG)
		(void)__atomic_fetch_and(&mask_holds, ~(1ULL << (sig - 1)), __ATOMIC_RELAXED);
}

CKPTI_EXPORT __sighandler_t signal(int sig, __sighandler_t handler)
{
	if (ours(sig))
		return app_set_handler(handler, SA_RESTART, true);
	forget_mask(sig);
	return REAL(signal)(sig, handler);
}

__sighandler_t bsd_signal(int sig, __sighandler_t handler);

CKPTI_EXPORT __sighandler_t bsd_signal(int sig, __sighandler_t handler)
{
	return signal(sig, handler);
}

CKPTI_EXPORT __sighandler_t ssignal(int sig, __sighandler_t handler)
{
	return signal(sig, handler);
}

/* signal() in a program that was compiled for plain POSIX or X/Open. */
CKPTI_EXPORT __sighandler_t __sysv_signal(int sig, __sighandler_t handler)
{
	if (ours(sig))
		return app_set_handler(handler, (int)(SA_RESETHAND | SA_NODEFER), false);
	forget_mask(sig);
	return REAL(sysv_signal)(sig, handler);
}

CKPTI_EXPORT __sighandler_t sysv_signal(int sig, __sighandler_t handler)
{
	return __sysv_signal(sig, handler);
}

CKPTI_EXPORT int sigignore(int sig)
{
	if (ours(sig))
		return app_set_handler(SIG_IGN, 0, false) == SIG_ERR ? -1 : 0;
	forget_mask(sig);
	return REAL(sigignore)(sig);
}

CKPTI_EXPORT __sighandler_t sigset(int sig, __sighandler_t disp)
{
	__sighandler_t before;
	sigset_t set, old;

	if (!ours(sig)) {
		if (disp != SIG_HOLD)
			forget_mask(sig);
		return REAL(sigset)(sig, disp);
	}
	(void)sigemptyset(&set);
	(void)sigaddset(&set, sig);
	if (disp == SIG_HOLD)
		before = app_get()->sa_handler;
	else
		before = app_set_handler(disp, 0, false);
	if (before == SIG_ERR)
		return SIG_ERR;
	/* Ours in masks.c: what the program believes. */
	if (sigprocmask(disp == SIG_HOLD ? SIG_BLOCK : SIG_UNBLOCK, &set, &old) < 0)
		return SIG_ERR;
	return sigismember(&old, sig) == 1 ? SIG_HOLD : before;
}

CKPTI_EXPORT int siginterrupt(int sig, int flag)
{
	struct sigaction act;

	if (!ours(sig))
		return REAL(siginterrupt)(sig, flag);
	act = *app_get();
	if (flag)
		act.sa_flags &= ~SA_RESTART;
	else
		act.sa_flags |= SA_RESTART;
	(void)app_set(&act);
	return 0;
}
