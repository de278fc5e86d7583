/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Timers that call a function in a thread of their own (SIGEV_THREAD): a thread of
 * libc waits for their signal, with all others blocked.  A periodic one goes on with its period, one
 * that is far from its end keeps the time that is left, and the functions get their value.
 */
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "t.h"

#define PERIOD_MS 20
#define LEFT_S    500

static unsigned calls, wrong;
static timer_t periodic, far;

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

int main(void)
{
	struct itimerspec left;

	t_start();
	periodic = start(PERIOD_MS, PERIOD_MS);
	far = start(LEFT_S * 1000, 0);
	await(0, 3);
	t_ready();
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
