/* SPDX-License-Identifier: BSD-3-Clause */
/* What the interposers share; see wrap_private.h. */
#include "wrap/wrap_private.h"

#include "wrap/wrap.h"

#include <sys/syscall.h>

int ckpti_wrap_signo;
__thread struct ckpti_wait_tls ckpti_wait_tls __attribute__((tls_model("initial-exec")));

void ckpti_wrap_start(int signo)
{
	ckpti_real_resolve();
	ckpti_wrap_signo = signo;
}

volatile int *ckpti_wrap_interrupted(void)
{
	return ckpti_wait_tls.frame ? &ckpti_wait_tls.hit : NULL;
}

bool ckpti_wait_left(const struct ckpti_wait *w, const struct timespec *timeout,
		     struct timespec *ret_left)
{
	struct timespec now;
	time_t sec;
	long nsec;

	if (w->clock == CKPTI_UNTIMED || clock_gettime(w->clock, &now) < 0) {
		*ret_left = *timeout;
		return true;
	}
	sec = timeout->tv_sec - (now.tv_sec - w->start.tv_sec);
	nsec = timeout->tv_nsec - (now.tv_nsec - w->start.tv_nsec);
	if (nsec < 0) {
		nsec += 1000000000L;
		sec--;
	} else if (nsec >= 1000000000L) {
		nsec -= 1000000000L;
		sec++;
	}
	if (sec < 0) {
		sec = 0;
		nsec = 0;
	}
	ret_left->tv_sec = sec;
	ret_left->tv_nsec = nsec;
	return sec || nsec;
}

bool ckpti_wrap_close(void)
{
	uint64_t own, old = 0;

	if (!ckpti_wrap_signo)
		return false;
	own = 1ULL << (ckpti_wrap_signo - 1);
	if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, &own, &old, sizeof(own)) < 0)
		return false;
	return !(old & own);
}

void ckpti_wrap_reopen(bool was_open)
{
	uint64_t own;

	if (!was_open)
		return;
	own = 1ULL << (ckpti_wrap_signo - 1);
	(void)syscall(SYS_rt_sigprocmask, SIG_UNBLOCK, &own, NULL, sizeof(own));
}
