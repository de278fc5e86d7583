/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timers that call a function in a thread of their own (SIGEV_THREAD): a thread of
 * libc waits for their signal, with all others blocked.  A periodic one goes on with its period, one
 * that is far from its end keeps the time that is left, and the functions get their value.
 *
 * Such a signal ends a process that does not block it.  A thread of ours blocks it, too, and has timers
 * that are due all the time, also while it is being restored.
 */
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "t.h"

#define PERIOD_MS 20
#define LEFT_S    500
#define NQUICK    8
#define QUICK_NS  1000000L

/* libc keeps it for these timers, and leaves it out of every mask that it sets. */
#define SIGTIMER 32
#define MASK     (1ULL << (SIGTIMER - 1))

static unsigned calls, wrong;
static timer_t periodic, far;
static pthread_barrier_t together;
static int quick_tid;

static void on_time(union sigval v)
{
	if (v.sival_ptr != &calls || !pthread_self())
		__atomic_add_fetch(&wrong, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
}

static unsigned seen(void)
{
	return __atomic_load_n(&calls, __ATOMIC_SEQ_CST);
}

static timer_t start(long first_ms, long period_ms)
{
	struct sigevent ev = {.sigev_notify = SIGEV_THREAD,
			      .sigev_notify_function = on_time,
			      .sigev_value.sival_ptr = &calls};
	struct itimerspec at = {
		.it_value = {first_ms / 1000, first_ms % 1000 * 1000000},
		.it_interval = {period_ms / 1000, period_ms % 1000 * 1000000},
	};
	timer_t timer;

	t_sys(timer_create(CLOCK_MONOTONIC, &ev, &timer));
	t_sys(timer_settime(timer, 0, &at, NULL));
	return timer;
}

/* So many calls since there were `from`. */
static void await(unsigned from, unsigned more)
{
	for (int i = 0; i < 500 && seen() < from + more; i++)
		t_sleep_ms(10);
	t_check(seen() >= from + more, "%u calls instead of %u", seen() - from, more);
}

static void *quick(void *arg)
{
	const struct timespec limit = {.tv_sec = 5};
	uint64_t mask = MASK, seen_of = 0;
	siginfo_t info;

	t_sys(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &mask, NULL, sizeof(mask)));
	quick_tid = (int)syscall(SYS_gettid);
	(void)pthread_barrier_wait(&together);
	(void)pthread_barrier_wait(&together);
	/* Some of those that come first are from before; there is no end of them. */
	for (int i = 0; i < 20 * NQUICK && seen_of != (1 << NQUICK) - 1; i++) {
		t_sys(syscall(SYS_rt_sigtimedwait, &mask, &info, &limit, sizeof(mask)));
		t_check(info.si_code == SI_TIMER && (unsigned)info.si_int < NQUICK,
			"a signal with code %d and value %d", info.si_code, info.si_int);
		seen_of |= 1ULL << info.si_int;
	}
	t_check(seen_of == (1 << NQUICK) - 1, "quick timers: %#lx", (unsigned long)seen_of);
	return arg;
}

static pthread_t start_quick(void)
{
	pthread_t thread;

	(void)pthread_barrier_init(&together, NULL, 2);
	t_check(pthread_create(&thread, NULL, quick, NULL) == 0, "no thread");
	(void)pthread_barrier_wait(&together);
	for (int i = 0; i < NQUICK; i++) {
		struct sigevent ev = {.sigev_notify = SIGEV_THREAD_ID,
				      .sigev_signo = SIGTIMER,
				      .sigev_value.sival_int = i,
				      ._sigev_un._tid = quick_tid};
		struct itimerspec at = {
			.it_value.tv_nsec = QUICK_NS + i * QUICK_NS / NQUICK,
			.it_interval.tv_nsec = QUICK_NS,
		};
		timer_t timer;

		t_sys(timer_create(CLOCK_MONOTONIC, &ev, &timer));
		t_sys(timer_settime(timer, 0, &at, NULL));
	}
	return thread;
}

int main(void)
{
	struct itimerspec left;
	pthread_t thread;

	t_start();
	thread = start_quick();
	periodic = start(PERIOD_MS, PERIOD_MS);
	far = start(LEFT_S * 1000, 0);
	await(0, 3);
	t_ready();
	(void)pthread_barrier_wait(&together);
	(void)pthread_join(thread, NULL);
	await(seen(), 3);
	t_check(!wrong, "%u calls with a wrong value", wrong);
	t_sys(timer_gettime(far, &left));
	t_check(left.it_value.tv_sec <= LEFT_S && left.it_value.tv_sec > LEFT_S - 60,
		"%ld s are left", (long)left.it_value.tv_sec);
	/* They can be changed and removed as before. */
	left = (struct itimerspec){.it_value = {0, 1}};
	t_sys(timer_delete(periodic));
	t_sleep_ms(100);
	wrong = seen();
	t_sys(timer_settime(far, 0, &left, NULL));
	await(wrong, 1);
	t_check(seen() == wrong + 1, "%u calls of one timer", seen() - wrong);
	t_done();
}
