/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the interposers share.  A wrapped call that may block looks like this:
 *
 *	ckpti_wait_begin(&w, CKPTI_TIMED or CKPTI_UNTIMED);
 *	do
 *		r = REAL(call)(..., time that is left);
 *	while (ckpti_wait_again(&w, r == -1));
 *	ckpti_wait_end(&w);
 *
 * While it is in there, the agent's handler finds a flag of this thread through
 * ckpti_wrap_interrupted() and sets it when EINTR is the checkpoint's doing alone.  The flag is
 * thread-local, never on the stack: a handler of the program may leave the call with siglongjmp(),
 * and nobody tells us.
 */
#ifndef CKPT_WRAP_WRAP_PRIVATE_H
#define CKPT_WRAP_WRAP_PRIVATE_H

#include "wrap/real.h"

#include <errno.h>
#include <stdint.h>

/* Number of SIGCKPT, 0 while there is nothing to look after. */
extern int ckpti_wrap_signo;

/* set without SIGCKPT: set itself, or *tmp when it had to be changed. */
static inline const sigset_t *ckpti_wrap_strip(const sigset_t *set, sigset_t *tmp)
{
	if (!set || !ckpti_wrap_signo || sigismember(set, ckpti_wrap_signo) != 1)
		return set;
	*tmp = *set;
	(void)sigdelset(tmp, ckpti_wrap_signo);
	return tmp;
}

/* ---- calls that block --------------------------------------------------------------------- */

struct ckpti_wait_tls {
	uintptr_t frame; /* of the wrapped call that the thread is in, 0: none */
	volatile int hit;
};
extern __thread struct ckpti_wait_tls ckpti_wait_tls __attribute__((tls_model("initial-exec")));

struct ckpti_wait {
	uintptr_t outer; /* call that a signal handler, in which we are, has interrupted */
	int saved_errno; /* a repeated call that succeeds leaves errno alone */
	clockid_t clock;
	struct timespec start;
};

#define CKPTI_UNTIMED ((clockid_t)-1)
#define CKPTI_TIMED   CLOCK_MONOTONIC

/* clock: the one that the timeout counts on, CKPTI_UNTIMED when there is none. */
static inline void ckpti_wait_begin(struct ckpti_wait *w, clockid_t clock)
{
	uintptr_t here = (uintptr_t)w;
	uintptr_t outer = ckpti_wait_tls.frame;

	w->saved_errno = errno;
	w->clock = clock;
	/* Stacks grow downwards: an outer call below us was left by siglongjmp(). */
	w->outer = outer > here ? outer : 0;
	if (clock != CKPTI_UNTIMED && clock_gettime(clock, &w->start) < 0)
		w->clock = CKPTI_UNTIMED; /* not a clock: the call itself will say so */
	/* For good: if we run inside a handler of the program, then that is what interrupted the outer
	 * call, which must say so whatever a checkpoint did at the same time. */
	ckpti_wait_tls.hit = 0;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ckpti_wait_tls.frame = here;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* The call said EINTR: was that a checkpoint, so that it has to be repeated? */
static inline bool ckpti_wait_hit(const struct ckpti_wait *w)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!ckpti_wait_tls.hit)
		return false;
	ckpti_wait_tls.hit = 0;
	errno = w->saved_errno;
	return true;
}

static inline bool ckpti_wait_again(const struct ckpti_wait *w, bool failed)
{
	return failed && errno == EINTR && ckpti_wait_hit(w);
}

static inline void ckpti_wait_end(const struct ckpti_wait *w)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	ckpti_wait_tls.frame = w->outer;
}

/* What is left of timeout since ckpti_wait_begin(); returns false, and zero, when it is over. */
bool ckpti_wait_left(const struct ckpti_wait *w, const struct timespec *timeout,
		     struct timespec *ret_left);

/* ---- SIGCKPT closed in the calling thread, around an exec --------------------------------- */

/* Returns whether it was open.  Raw system calls: usable in a vfork child. */
bool ckpti_wrap_close(void);
void ckpti_wrap_reopen(bool was_open);

#endif
