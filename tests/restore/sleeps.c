/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Waits with an end.  All are under way at the checkpoint; the end lies behind it, but before the
 * kill, so that the first life has seen them end.  In the life after it they end again, on the clock
 * that goes on: not early, and late only by what a restart takes.
 */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "t.h"

#define MS     1000000LL
#define LENGTH 1500L /* ms */
#define LATE   1500L

static int silent[2]; /* never has anything to read */

static struct timespec ts_of(int64_t ns)
{
	return (struct timespec){ns / 1000000000, ns % 1000000000};
}

static void by_absolute(int64_t end)
{
	struct timespec ts = ts_of(end);

	t_check(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == 0, "absolute sleep");
}

static void by_nanosleep(int64_t end)
{
	struct timespec ts = ts_of(LENGTH * MS);

	(void)end;
	t_check(nanosleep(&ts, &ts) == 0, "nanosleep: %m");
}

static void by_usleep(int64_t end)
{
	(void)end;
	t_check(usleep(LENGTH * 1000) == 0, "usleep: %m");
}

static void by_poll(int64_t end)
{
	struct pollfd pfd = {.fd = silent[0], .events = POLLIN};

	(void)end;
	t_check(poll(&pfd, 1, LENGTH) == 0, "poll: %m");
}

static void by_ppoll(int64_t end)
{
	struct pollfd pfd = {.fd = silent[0], .events = POLLIN};
	struct timespec ts = ts_of(LENGTH * MS);
	sigset_t mask;

	(void)end;
	(void)sigemptyset(&mask);
	t_check(ppoll(&pfd, 1, &ts, &mask) == 0, "ppoll: %m");
}

static void by_select(int64_t end)
{
	struct timeval tv = {LENGTH / 1000, LENGTH % 1000 * 1000};
	fd_set set;

	(void)end;
	FD_ZERO(&set);
	FD_SET(silent[0], &set);
	t_check(select(silent[0] + 1, &set, NULL, NULL, &tv) == 0, "select: %m");
}

static void by_epoll(int64_t end)
{
	struct epoll_event ev;
	int fd = t_sys(epoll_create1(EPOLL_CLOEXEC));

	(void)end;
	t_check(epoll_wait(fd, &ev, 1, LENGTH) == 0, "epoll_wait: %m");
}

static void by_sigtimedwait(int64_t end)
{
	struct timespec ts = ts_of(LENGTH * MS);
	sigset_t set;

	(void)end;
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR2);
	t_check(sigtimedwait(&set, NULL, &ts) < 0 && errno == EAGAIN, "sigtimedwait: %m");
}

static void by_futex(int64_t end)
{
	struct timespec ts = ts_of(end);
	static int word;

	t_check(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET, 0, &ts, NULL, -1) < 0 &&
			errno == ETIMEDOUT,
		"futex: %m");
}

static void by_cond(int64_t end)
{
	pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;
	pthread_condattr_t a;
	pthread_cond_t c;
	struct timespec ts = ts_of(end);

	(void)pthread_condattr_init(&a);
	(void)pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&c, &a);
	(void)pthread_mutex_lock(&m);
	while (t_now_ns(CLOCK_MONOTONIC) < end)
		(void)pthread_cond_timedwait(&c, &m, &ts);
}

static void by_receive(int64_t end)
{
	struct timeval tv = {LENGTH / 1000, LENGTH % 1000 * 1000};
	int pair[2];
	char byte;

	(void)end;
	t_sys(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
	t_sys(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	t_check(recv(pair[0], &byte, 1, 0) < 0 && errno == EAGAIN, "recv: %m");
}

/* Not through libc: repeated with its full length, as documented. */
static void by_raw_call(int64_t end)
{
	struct timespec ts = ts_of(LENGTH * MS);

	(void)end;
	t_check(syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, &ts, &ts) == 0, "raw sleep: %m");
}

static const struct {
	const char *name;
	void (*fn)(int64_t end);
	long extra_ms; /* may be later by this */
} way[] = {
	{"clock_nanosleep(TIMER_ABSTIME)", by_absolute, 0},
	{"nanosleep", by_nanosleep, 0},
	{"usleep", by_usleep, 0},
	{"poll", by_poll, 0},
	{"ppoll", by_ppoll, 0},
	{"select", by_select, 0},
	{"epoll_wait", by_epoll, 0},
	{"sigtimedwait", by_sigtimedwait, 0},
	{"futex", by_futex, 0},
	{"pthread_cond_timedwait", by_cond, 0},
	{"recv with SO_RCVTIMEO", by_receive, LENGTH},
	{"a raw sleep", by_raw_call, LENGTH},
};

#define N ((int)(sizeof(way) / sizeof(*way)))

static atomic_int started, done;
static int64_t took[N];

static void *thread_main(void *arg)
{
	int i = (int)(intptr_t)arg;
	int64_t start = t_now_ns(CLOCK_MONOTONIC);

	atomic_fetch_add(&started, 1);
	way[i].fn(start + LENGTH * MS);
	took[i] = t_now_ns(CLOCK_MONOTONIC) - start;
	atomic_fetch_add(&done, 1);
	return NULL;
}

int main(void)
{
	pthread_t thread[N];
	sigset_t mask;

	t_start();
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGUSR2);
	(void)pthread_sigmask(SIG_BLOCK, &mask, NULL);
	t_sys(pipe(silent));
	for (int i = 0; i < N; i++)
		(void)pthread_create(&thread[i], NULL, thread_main, (void *)(intptr_t)i);
	while (atomic_load(&started) < N)
		(void)sched_yield();
	t_ready();
	for (int i = 0; i < N; i++)
		(void)pthread_join(thread[i], NULL);
	for (int i = 0; i < N; i++) {
		t_check(took[i] >= LENGTH * MS, "%s ended after %ld ms", way[i].name,
			(long)(took[i] / MS));
		t_check(took[i] <= (LENGTH + LATE + way[i].extra_ms) * MS, "%s took %ld ms",
			way[i].name, (long)(took[i] / MS));
	}
	t_done();
}
