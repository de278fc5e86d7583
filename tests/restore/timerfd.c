/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * timerfd: time stands still from the checkpoint to the restart, unread expirations and the interval
 * stay; a timer for a time of day expires at that time of day.
 */
#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>

#include "fd.h"

#define SEC 1000000000LL

static int once, soon, ticked, wall, off, absolute;

static void arm(int fd, int flags, int64_t value, int64_t interval)
{
	struct itimerspec its = {
		.it_value = {value / SEC, value % SEC},
		.it_interval = {interval / SEC, interval % SEC},
	};

	t_sys(timerfd_settime(fd, flags, &its, NULL));
}

static int64_t left(int fd)
{
	struct itimerspec its;

	t_sys(timerfd_gettime(fd, &its));
	return its.it_value.tv_sec * SEC + its.it_value.tv_nsec;
}

static int64_t interval(int fd)
{
	struct itimerspec its;

	t_sys(timerfd_gettime(fd, &its));
	return its.it_interval.tv_sec * SEC + its.it_interval.tv_nsec;
}

static void disturb(void)
{
	uint64_t n;

	arm(once, 0, SEC, 0);
	t_sys(read(ticked, &n, sizeof(n)));
	arm(ticked, 0, 0, 0);
	arm(wall, 0, 0, 0);
	arm(off, 0, 1, 1);
	arm(absolute, 0, 0, 0);
}

int main(void)
{
	uint64_t n = 0;
	int64_t day;

	t_start();
	once = t_sys(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
	arm(once, 0, 1000 * SEC, 7 * SEC);
	soon = t_sys(timerfd_create(CLOCK_BOOTTIME, 0));
	ticked = t_sys(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	arm(ticked, 0, SEC / 1000, 0);
	wall = t_sys(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
	day = t_now_ns(CLOCK_REALTIME) + 500 * SEC;
	arm(wall, TFD_TIMER_ABSTIME, day, 0);
	off = t_sys(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
	absolute = t_sys(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
	arm(absolute, TFD_TIMER_ABSTIME, t_now_ns(CLOCK_MONOTONIC) + 300 * SEC, 0);
	t_sleep_ms(20);
	/* Long enough not to expire before the checkpoint. */
	arm(soon, 0, 3 * SEC, 0);
	t_on_disturb(disturb);
	t_ready();

	t_check(left(once) > 970 * SEC && left(once) <= 1000 * SEC, "%ld s left, not 1000",
		(long)(left(once) / SEC));
	t_check(interval(once) == 7 * SEC, "interval %ld", (long)interval(once));
	t_check(fcntl(once, F_GETFD) == FD_CLOEXEC && (get_flags(once) & O_NONBLOCK), "flags");
	t_check(read(ticked, &n, sizeof(n)) == 8 && n == 1, "unread expirations: %lu",
		(unsigned long)n);
	t_check(read(ticked, &n, sizeof(n)) < 0 && errno == EAGAIN, "expirations come twice");
	day = day - t_now_ns(CLOCK_REALTIME) - left(wall);
	t_check(day > -SEC && day < SEC, "the time of day is off by %ld ms", (long)(day / 1000000));
	t_check(left(off) == 0 && read(off, &n, sizeof(n)) < 0 && errno == EAGAIN,
		"a timer that was off is on");
	t_check(left(absolute) > 270 * SEC && left(absolute) <= 300 * SEC, "%ld s left, not 300",
		(long)(left(absolute) / SEC));
	t_check(read(soon, &n, sizeof(n)) == 8 && n == 1, "a timer that expires now: %lu",
		(unsigned long)n);
	t_done();
}
