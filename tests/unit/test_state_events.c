/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Event descriptors: real kernel objects, saved and restored in one process.  The oracle is what a
 * program would read, from the original after saving and from the copy after restoring.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "sockets_fixture.h"

static void test_eventfd(void **state)
{
	struct world *w = *state;
	int sem = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK), cnt = eventfd(0, EFD_NONBLOCK);
	const uint64_t big = UINT64_MAX - 1;
	uint64_t v;

	assert_int_equal(write(cnt, &big, sizeof(big)), sizeof(big));
	w_add(w, sem);
	w_add(w, cnt);
	assert_int_equal(w_save(w), 0);
	assert_int_equal(read(cnt, &v, sizeof(v)), sizeof(v));
	assert_true(v == big);
	w_forget(w);
	assert_int_equal(w_restore(w), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(read(sem, &v, sizeof(v)), sizeof(v));
		assert_int_equal(v, 1);
	}
	assert_int_equal(read(sem, &v, sizeof(v)), -1); /* and it is still non-blocking */
	assert_int_equal(errno, EAGAIN);
	assert_int_equal(read(cnt, &v, sizeof(v)), sizeof(v));
	assert_true(v == big);
}

/* Kernels before 6.5 do not tell the mode. */
static void test_eventfd_mode_is_found_without_fdinfo(void **state)
{
	static const struct {
		unsigned count;
		int flags;
	} c[] = {{0, 0}, {0, EFD_SEMAPHORE}, {1, 0}, {1, EFD_SEMAPHORE},
		 {9, 0}, {9, EFD_SEMAPHORE}};
	struct world *w = *state;
	struct ckpti_r_obj_eventfd rec;
	struct ckpti_view v;
	size_t pos = 0, i;

	for (i = 0; i < 6; i++) {
		struct ckpti_desc *d = w_add(w, eventfd(c[i].count, c[i].flags | EFD_NONBLOCK));
		char *line = strstr(d->fdinfo, "eventfd-semaphore");

		if (line)
			*line = '\0';
	}
	assert_int_equal(w_save(w), 0);
	for (i = 0; ckpti_image_next(&w->img, &pos, &v); i++) {
		uint64_t sum = 0, n;

		CKPTI_FIXED(&v, &rec);
		assert_int_equal(rec.semaphore, c[i].flags != 0);
		assert_int_equal(rec.count, c[i].count);
		while (read(w->desc[i].num, &n, sizeof(n)) == sizeof(n))
			sum += n;
		assert_int_equal(sum, c[i].count);
	}
	assert_int_equal(i, 6);
}

static void test_timerfd_keeps_time_left_and_ticks(void **state)
{
	struct world *w = *state;
	const struct itimerspec slow = {.it_value = {1000, 0}, .it_interval = {7, 5}};
	const struct itimerspec fast = {.it_value = {0, 1000000}, .it_interval = {0, 1000000}};
	const struct itimerspec once = {.it_value = {0, 1}};
	int a = timerfd_create(CLOCK_MONOTONIC, 0),
	    b = timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK);
	int c = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	int off = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	struct itimerspec its;
	uint64_t orig, v;

	assert_int_equal(timerfd_settime(a, 0, &slow, NULL), 0);
	assert_int_equal(timerfd_settime(b, 0, &fast, NULL), 0);
	assert_int_equal(timerfd_settime(c, 0, &once, NULL), 0);
	(void)usleep(20000);
	w_add(w, a);
	w_add(w, b);
	w_add(w, c);
	w_add(w, off);
	assert_int_equal(w_save(w), 0);
	assert_int_equal(read(b, &orig, sizeof(orig)), sizeof(orig));
	assert_true(orig >= 20);
	assert_int_equal(read(c, &v, sizeof(v)), sizeof(v));
	assert_int_equal(v, 1);
	w_forget(w);
	(void)usleep(100000); /* does not count */
	assert_int_equal(w_restore(w), 0);
	assert_int_equal(timerfd_gettime(a, &its), 0);
	assert_true(its.it_value.tv_sec == 999 && its.it_value.tv_nsec > 900000000);
	assert_int_equal(its.it_interval.tv_sec, 7);
	assert_int_equal(its.it_interval.tv_nsec, 5);
	assert_int_equal(read(b, &v, sizeof(v)), sizeof(v));
	assert_true(v + 5 >= orig && v < orig + 60);
	assert_int_equal(read(c, &v, sizeof(v)), sizeof(v));
	assert_int_equal(v, 1);
	assert_int_equal(timerfd_gettime(off, &its), 0);
	assert_true(!its.it_value.tv_sec && !its.it_value.tv_nsec);
	assert_int_equal(read(off, &v, sizeof(v)), -1);
}

static void test_timerfd_keeps_the_time_of_day(void **state)
{
	struct world *w = *state;
	int fd = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
	struct itimerspec its = {0};
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	its.it_value = (struct timespec){now.tv_sec + 100, now.tv_nsec};
	assert_int_equal(timerfd_settime(fd, TFD_TIMER_ABSTIME, &its, NULL), 0);
	w_add(w, fd);
	assert_int_equal(w_save(w), 0);
	w_forget(w);
	(void)usleep(300000); /* counts */
	assert_int_equal(w_restore(w), 0);
	assert_int_equal(timerfd_gettime(fd, &its), 0);
	assert_int_equal(its.it_value.tv_sec, 99);
	assert_true(its.it_value.tv_nsec < 720000000);
}

static void test_signalfd(void **state)
{
	struct world *w = *state;
	struct signalfd_siginfo info;
	sigset_t set, old;
	int fd;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGRTMAX);
	(void)sigprocmask(SIG_BLOCK, &set, &old);
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	w_add(w, fd);
	w_save_and_restore(w);
	(void)raise(SIGRTMAX);
	(void)raise(SIGUSR1);
	assert_int_equal(read(fd, &info, sizeof(info)), sizeof(info));
	assert_int_equal(info.ssi_signo, SIGUSR1);
	assert_int_equal(read(fd, &info, sizeof(info)), sizeof(info));
	assert_int_equal(info.ssi_signo, SIGRTMAX);
	assert_int_equal(read(fd, &info, sizeof(info)), -1);
	assert_int_equal(errno, EAGAIN);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
}

static void test_epoll(void **state)
{
	struct world *w = *state;
	int ready = eventfd(1, 0), idle = eventfd(0, 0), inner = epoll_create1(0);
	int outer = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.u64 = 0x1122334455667788},
			   got[4];

	/* Two anonymous inodes that differ in nothing but identity, and one epoll inside another. */
	assert_int_equal(epoll_ctl(inner, EPOLL_CTL_ADD, ready, &ev), 0);
	ev = (struct epoll_event){.events = EPOLLIN, .data.u64 = 2};
	assert_int_equal(epoll_ctl(inner, EPOLL_CTL_ADD, idle, &ev), 0);
	ev = (struct epoll_event){.events = EPOLLIN, .data.u64 = 3};
	assert_int_equal(epoll_ctl(outer, EPOLL_CTL_ADD, inner, &ev), 0);
	w_add(w, outer);
	w_add(w, idle);
	w_add(w, ready);
	w_add(w, inner);
	w_save_and_restore(w);
	assert_int_equal(epoll_wait(outer, got, 4, 0), 1);
	assert_int_equal(got[0].data.u64, 3);
	assert_int_equal(epoll_wait(inner, got, 4, 0), 1);
	assert_true(got[0].data.u64 == 0x1122334455667788);
	assert_int_equal(epoll_wait(inner, got, 4, 0), 0); /* edge-triggered */
	assert_int_equal(epoll_ctl(inner, EPOLL_CTL_DEL, idle, NULL), 0);
}

static void test_epoll_with_a_closed_number(void **state)
{
	struct world *w = *state;
	int fd = eventfd(0, 0), ep = epoll_create1(0), kept = dup(fd), other;
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = 7};
	eventfd_t value;

	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
	(void)close(fd);
	other = eventfd(1, 0); /* takes the number, looks the same */
	assert_int_equal(other, fd);
	w_add(w, ep);
	w_add(w, kept);
	w_add(w, other);
	w_save_and_restore(w);
	assert_int_equal(epoll_wait(ep, &ev, 1, 0), 0);
	assert_int_equal(eventfd_write(kept, 1), 0);
	assert_int_equal(epoll_wait(ep, &ev, 1, 0), 1);
	assert_int_equal(ev.data.u64, 7);
	/* The number is still the other's. */
	assert_int_equal(poll(&(struct pollfd){.fd = kept, .events = POLLIN}, 1, 0), 1);
	assert_int_equal(eventfd_read(kept, &value), 0);
	assert_int_equal(poll(&(struct pollfd){.fd = other, .events = POLLIN}, 1, 0), 1);
}

static void test_epoll_of_a_file_outside_is_refused(void **state)
{
	struct world *w = *state;
	int fd = eventfd(1, 0), ep = epoll_create1(0);
	struct epoll_event ev = {.events = EPOLLIN};

	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev), 0);
	w_add(w, ep);
	w_expect_refusal(w, -ENOTSUP, "stayed open outside the set");
	(void)close(fd);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, w_setup, w_teardown)
	const struct CMUnitTest tests[] = {
		T(test_eventfd),
		T(test_eventfd_mode_is_found_without_fdinfo),
		T(test_timerfd_keeps_time_left_and_ticks),
		T(test_timerfd_keeps_the_time_of_day),
		T(test_signalfd),
		T(test_epoll),
		T(test_epoll_with_a_closed_number),
		T(test_epoll_of_a_file_outside_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
