/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * SIGCKPT stays open whatever the program does to its signal masks, and sets that are waited for do
 * not hold it, so that sigwait() or a signalfd cannot take a request away from the handler.
 *
 * The program reads back what it set: one flag per thread says whether it believes to have SIGCKPT
 * blocked.  A new thread starts with the flag clear.  Masks that libc keeps for itself (sigsetjmp,
 * getcontext) were saved with SIGCKPT open and are put back so.  sigblock() and sigsetmask() cannot
 * name a real-time signal and are left alone.
 */
#include "wrap/wrap_private.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static __thread bool believes_blocked __attribute__((tls_model("initial-exec")));

static bool holds(const sigset_t *set)
{
	return ckpti_wrap_signo && set && sigismember(set, ckpti_wrap_signo) == 1;
}

/* What the program will believe after a successful change of its mask. */
static bool belief_after(int how, const sigset_t *set)
{
	if (!set)
		return believes_blocked;
	if (how == SIG_SETMASK)
		return holds(set);
	if (!holds(set))
		return believes_blocked;
	return how == SIG_BLOCK;
}

/* Either of the two; error as pthread_sigmask() returns it. */
static int change(int how, const sigset_t *set, sigset_t *old)
{
	bool before = believes_blocked;
	bool after = belief_after(how, set); /* now: old may be the same object as set */
	sigset_t tmp;
	int r;

	if (how != SIG_UNBLOCK)
		set = ckpti_wrap_strip(set, &tmp);
	r = REAL(pthread_sigmask)(how, set, old);
	if (r)
		return r;
	believes_blocked = after;
	if (old && before)
		(void)sigaddset(old, ckpti_wrap_signo);
	return 0;
}

CKPTI_EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return change(how, set, old);
}

CKPTI_EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	int r = change(how, set, old);

	if (!r)
		return 0;
	errno = r;
	return -1;
}

CKPTI_EXPORT int sighold(int sig)
{
	sigset_t set;

	(void)sigemptyset(&set);
	if (sigaddset(&set, sig) < 0)
		return -1;
	return sigprocmask(SIG_BLOCK, &set, NULL);
}

CKPTI_EXPORT int sigrelse(int sig)
{
	sigset_t set;

	(void)sigemptyset(&set);
	if (sigaddset(&set, sig) < 0)
		return -1;
	return sigprocmask(SIG_UNBLOCK, &set, NULL);
}

CKPTI_EXPORT int pthread_attr_setsigmask_np(pthread_attr_t *attr, const sigset_t *set)
{
	sigset_t tmp;

	return REAL(pthread_attr_setsigmask_np)(attr, ckpti_wrap_strip(set, &tmp));
}

/* ---- wait for signals --------------------------------------------------------------------- */

CKPTI_EXPORT int sigsuspend(const sigset_t *set)
{
	struct ckpti_wait w;
	sigset_t tmp;
	int r;

	set = ckpti_wrap_strip(set, &tmp);
	ckpti_wait_begin(&w, CKPTI_UNTIMED);
	do
		r = REAL(sigsuspend)(set);
	while (ckpti_wait_again(&w, r == -1));
	ckpti_wait_end(&w);
	return r;
}

CKPTI_EXPORT int pause(void)
{
	struct ckpti_wait w;
	int r;

	ckpti_wait_begin(&w, CKPTI_UNTIMED);
	do
		r = REAL(pause)();
	while (ckpti_wait_again(&w, r == -1));
	ckpti_wait_end(&w);
	return r;
}

/* sigpause() as X/Open has it: one signal is opened.  <signal.h> gives it this name. */
int xpg_sigpause(int sig) __asm__("__xpg_sigpause");

CKPTI_EXPORT int xpg_sigpause(int sig)
{
	sigset_t set;

	if (sigprocmask(SIG_BLOCK, NULL, &set) < 0 || sigdelset(&set, sig) < 0)
		return -1;
	return sigsuspend(&set);
}

/* And as 4.2BSD has it: a mask of the first 32 signals. */
int bsd_sigpause(int mask) __asm__("sigpause");

CKPTI_EXPORT int bsd_sigpause(int mask)
{
	sigset_t set;

	(void)sigemptyset(&set);
	for (int sig = 1; sig <= 32; sig++) {
		if ((unsigned int)mask >> (sig - 1) & 1)
			(void)sigaddset(&set, sig);
	}
	return sigsuspend(&set);
}

/* glibc's sigwait() goes on after EINTR by itself. */
CKPTI_EXPORT int sigwait(const sigset_t *set, int *sig)
{
	sigset_t tmp;

	return REAL(sigwait)(ckpti_wrap_strip(set, &tmp), sig);
}

CKPTI_EXPORT int sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	struct ckpti_wait w;
	sigset_t tmp;
	int r;

	set = ckpti_wrap_strip(set, &tmp);
	ckpti_wait_begin(&w, CKPTI_UNTIMED);
	do
		r = REAL(sigwaitinfo)(set, info);
	while (ckpti_wait_again(&w, r == -1));
	ckpti_wait_end(&w);
	return r;
}

CKPTI_EXPORT int sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	struct ckpti_wait w;
	struct timespec left;
	const struct timespec *want = timeout;
	sigset_t tmp;
	int r;

	set = ckpti_wrap_strip(set, &tmp);
	ckpti_wait_begin(&w, timeout ? CKPTI_TIMED : CKPTI_UNTIMED);
	for (;;) {
		r = REAL(sigtimedwait)(set, info, want);
		if (!ckpti_wait_again(&w, r == -1))
			break;
		if (timeout) {
			(void)ckpti_wait_left(&w, timeout, &left);
			want = &left;
		}
	}
	ckpti_wait_end(&w);
	return r;
}

CKPTI_EXPORT int signalfd(int fd, const sigset_t *mask, int flags)
{
	sigset_t tmp;

	return REAL(signalfd)(fd, ckpti_wrap_strip(mask, &tmp), flags);
}
