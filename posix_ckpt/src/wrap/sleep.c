/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeps last as long as asked for, from their start, also when checkpoints came in between: time
 * goes on while the process is stopped, and the clock is continuous over a restart.
 */
#include "wrap/wrap_private.h"

#include <threads.h>

/* The clock that a relative sleep counts on: Linux does not let a set clock change its length. */
static clockid_t clock_of_sleep(clockid_t clock)
{
	switch (clock) {
	case CLOCK_REALTIME:
	case CLOCK_TAI:
		return CLOCK_MONOTONIC;
	case CLOCK_REALTIME_ALARM:
	case CLOCK_BOOTTIME_ALARM:
		return CLOCK_BOOTTIME;
	default:
		return clock;
	}
}

/* Returns the error number, as all callers but nanosleep() want it. */
CKPTI_EXPORT int clock_nanosleep(clockid_t clock, int flags, const struct timespec *req,
				 struct timespec *rem)
{
	bool absolute = flags & TIMER_ABSTIME;
	const struct timespec *want = req;
	struct timespec left, over;
	struct ckpti_wait w;
	int r;

	ckpti_wait_begin(&w, absolute ? CKPTI_UNTIMED : clock_of_sleep(clock));
	for (;;) {
		/* rem may be the same object as req. */
		r = REAL(clock_nanosleep)(clock, flags, want, rem ? &over : NULL);
		if (r != EINTR || !ckpti_wait_hit(&w))
			break;
		if (absolute)
			continue;
		if (!ckpti_wait_left(&w, req, &left)) {
			r = 0;
			break;
		}
		want = &left;
	}
	ckpti_wait_end(&w);
	if (r == EINTR && rem && !absolute)
		*rem = over;
	return r;
}

CKPTI_EXPORT int nanosleep(const struct timespec *req, struct timespec *rem)
{
	int r = clock_nanosleep(CLOCK_REALTIME, 0, req, rem);

	if (!r)
		return 0;
	errno = r;
	return -1;
}

CKPTI_EXPORT int usleep(useconds_t us)
{
	struct timespec ts = {.tv_sec = us / 1000000, .tv_nsec = (long)(us % 1000000) * 1000};

	return nanosleep(&ts, NULL);
}

CKPTI_EXPORT unsigned int sleep(unsigned int seconds)
{
	struct timespec ts = {.tv_sec = seconds};
	int r = clock_nanosleep(CLOCK_REALTIME, 0, &ts, &ts);

	return r ? (unsigned int)ts.tv_sec : 0;
}

CKPTI_EXPORT int thrd_sleep(const struct timespec *req, struct timespec *rem)
{
	switch (clock_nanosleep(CLOCK_REALTIME, 0, req, rem)) {
	case 0:
		return 0;
	case EINTR:
		return -1;
	default:
		return -2;
	}
}
