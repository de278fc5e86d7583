/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * poll, select and epoll: interrupted by a checkpoint they go on with the time that is left, and look
 * once more when none is.  Masks that they set for the time of the call keep SIGCKPT open.
 */
#include "wrap/wrap_private.h"

int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask,
		size_t size);
void __chk_fail(void) __attribute__((noreturn));

/* A timeout in milliseconds: negative is without end, and rounding is upwards. */
static clockid_t clock_of_ms(int ms)
{
	return ms > 0 ? CKPTI_TIMED : CKPTI_UNTIMED;
}

static int ms_left(const struct ckpti_wait *w, int ms)
{
	struct timespec ts, left;

	if (ms <= 0)
		return ms;
	ts.tv_sec = ms / 1000;
	ts.tv_nsec = ms % 1000 * 1000000L;
	(void)ckpti_wait_left(w, &ts, &left);
	return (int)(left.tv_sec * 1000 + (left.tv_nsec + 999999) / 1000000);
}

static clockid_t clock_of_ts(const struct timespec *timeout)
{
	return timeout ? CKPTI_TIMED : CKPTI_UNTIMED;
}

static const struct timespec *ts_left(const struct ckpti_wait *w, const struct timespec *timeout,
				      struct timespec *left)
{
	if (!timeout)
		return NULL;
	(void)ckpti_wait_left(w, timeout, left);
	return left;
}

CKPTI_EXPORT int poll(struct pollfd *fds, nfds_t n, int timeout)
{
	struct ckpti_wait w;
	int ms = timeout;
	int r;

	ckpti_wait_begin(&w, clock_of_ms(timeout));
	for (;;) {
		r = REAL(poll)(fds, n, ms);
		if (!ckpti_wait_again(&w, r == -1))
			break;
		ms = ms_left(&w, timeout);
	}
	ckpti_wait_end(&w);
	return r;
}

CKPTI_EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
		       const sigset_t *mask)
{
	const struct timespec *ts = timeout;
	struct timespec left;
	struct ckpti_wait w;
	sigset_t tmp;
	int r;

	mask = ckpti_wrap_strip(mask, &tmp);
	ckpti_wait_begin(&w, clock_of_ts(timeout));
	for (;;) {
		r = REAL(ppoll)(fds, n, ts, mask);
		if (!ckpti_wait_again(&w, r == -1))
			break;
		ts = ts_left(&w, timeout, &left);
	}
	ckpti_wait_end(&w);
	return r;
}

/* What programs call that were compiled with _FORTIFY_SOURCE. */
CKPTI_EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int timeout, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return poll(fds, n, timeout);
}

CKPTI_EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout,
			     const sigset_t *mask, size_t size)
{
	if (size / sizeof(*fds) < n)
		__chk_fail();
	return ppoll(fds, n, timeout, mask);
}

/* Linux leaves the time that was not slept in *timeout, and the sets alone when it is interrupted. */
CKPTI_EXPORT int select(int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
	struct timespec total = {0, 0}, left;
	struct ckpti_wait w;
	int r;

	if (timeout) {
		total.tv_sec = timeout->tv_sec + timeout->tv_usec / 1000000;
		total.tv_nsec = timeout->tv_usec % 1000000 * 1000;
	}
	ckpti_wait_begin(&w, timeout ? CKPTI_TIMED : CKPTI_UNTIMED);
	for (;;) {
		r = REAL(select)(n, in, out, except, timeout);
		if (!ckpti_wait_again(&w, r == -1))
			break;
		if (timeout) {
			(void)ckpti_wait_left(&w, &total, &left);
			timeout->tv_sec = left.tv_sec;
			timeout->tv_usec = left.tv_nsec / 1000;
		}
	}
	ckpti_wait_end(&w);
	return r;
}

CKPTI_EXPORT int pselect(int n, fd_set *in, fd_set *out, fd_set *except,
			 const struct timespec *timeout, const sigset_t *mask)
{
	const struct timespec *ts = timeout;
	struct timespec left;
	struct ckpti_wait w;
	sigset_t tmp;
	int r;

	mask = ckpti_wrap_strip(mask, &tmp);
	ckpti_wait_begin(&w, clock_of_ts(timeout));
	for (;;) {
		r = REAL(pselect)(n, in, out, except, ts, mask);
		if (!ckpti_wait_again(&w, r == -1))
			break;
		ts = ts_left(&w, timeout, &left);
	}
	ckpti_wait_end(&w);
	return r;
}

CKPTI_EXPORT int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
	struct ckpti_wait w;
	int ms = timeout;
	int r;

	ckpti_wait_begin(&w, clock_of_ms(timeout));
	for (;;) {
		r = REAL(epoll_wait)(fd, events, max, ms);
		if (!ckpti_wait_again(&w, r == -1))
			break;
		ms = ms_left(&w, timeout);
	}
	ckpti_wait_end(&w);
	return r;
}

CKPTI_EXPORT int epoll_pwait(int fd, struct epoll_event *events, int max, int timeout,
			     const sigset_t *mask)
{
	struct ckpti_wait w;
	int ms = timeout;
	sigset_t tmp;
	int r;

	mask = ckpti_wrap_strip(mask, &tmp);
	ckpti_wait_begin(&w, clock_of_ms(timeout));
	for (;;) {
		r = REAL(epoll_pwait)(fd, events, max, ms, mask);
		if (!ckpti_wait_again(&w, r == -1))
			break;
		ms = ms_left(&w, timeout);
	}
	ckpti_wait_end(&w);
	return r;
}

CKPTI_EXPORT int epoll_pwait2(int fd, struct epoll_event *events, int max,
			      const struct timespec *timeout, const sigset_t *mask)
{
	const struct timespec *ts = timeout;
	struct timespec left;
	struct ckpti_wait w;
	sigset_t tmp;
	int r;

	mask = ckpti_wrap_strip(mask, &tmp);
	ckpti_wait_begin(&w, clock_of_ts(timeout));
	for (;;) {
		r = REAL(epoll_pwait2)(fd, events, max, ts, mask);
		if (!ckpti_wait_again(&w, r == -1))
			break;
		ts = ts_left(&w, timeout, &left);
	}
	ckpti_wait_end(&w);
	return r;
}
