/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * POSIX timers: number, clock, interval, time left, how they notify.  A timer may not expire before
 * its time on its clock, and only as much later as a restart takes.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "t.h"

#define LATE_NS 2000000000LL
#define TICKS   (SIGRTMIN + 4)
#define AIMED   (SIGRTMIN + 5)
#define HELD    (SIGRTMIN + 6)

static atomic_int ticks, aimed, wrong, stop, target;
static void *tick_value;
static timer_t spoiled;

static void on_tick(int sig, siginfo_t *si, void *uc)
{
	(void)uc;
	if (sig == TICKS) {
		atomic_fetch_add(&ticks, 1 + si->si_overrun);
		if (si->si_code != SI_TIMER || si->si_value.sival_ptr != tick_value)
			atomic_store(&wrong, 1);
	} else {
		atomic_fetch_add(&aimed, 1);
		if ((int)syscall(SYS_gettid) != atomic_load(&target))
			atomic_store(&wrong, 2);
	}
}

static void *thread_main(void *arg)
{
	(void)arg;
	atomic_store(&target, (int)syscall(SYS_gettid));
	while (!atomic_load(&stop))
		t_sleep_ms(5);
	return NULL;
}

static timer_t make(clockid_t clock, int notify, int signo, void *value)
{
	struct sigevent ev = {.sigev_notify = notify, .sigev_signo = signo};
	timer_t id;

	ev.sigev_value.sival_ptr = value;
	if (notify == SIGEV_THREAD_ID)
		ev._sigev_un._tid = atomic_load(&target);
	t_sys(timer_create(clock, &ev, &id));
	return id;
}

static void arm(timer_t id, int64_t value_ms, int64_t interval_ms)
{
	struct itimerspec its = {
		.it_value = {value_ms / 1000, value_ms % 1000 * 1000000},
		.it_interval = {interval_ms / 1000, interval_ms % 1000 * 1000000},
	};

	t_sys(timer_settime(id, 0, &its, NULL));
}

/* When it will expire, on its clock; 0: not armed. */
static int64_t due(timer_t id, clockid_t clock, int64_t *ret_interval)
{
	struct itimerspec its;
	int64_t value;

	t_sys(timer_gettime(id, &its));
	value = its.it_value.tv_sec * 1000000000LL + its.it_value.tv_nsec;
	if (ret_interval)
		*ret_interval = its.it_interval.tv_sec * 1000000000LL + its.it_interval.tv_nsec;
	return value ? t_now_ns(clock) + value : 0;
}

static void disturb(void)
{
	arm(spoiled, 1, 0);
}

static void grows(atomic_int *counter, const char *what)
{
	int before = atomic_load(counter);

	for (int i = 0; atomic_load(counter) < before + 3; i++) {
		t_check(i < 1000, "%s does not tick any more", what);
		t_sleep_ms(5);
	}
}

int main(void)
{
	static const struct {
		clockid_t id;
		const char *name;
	} clocks[] = {{CLOCK_MONOTONIC, "CLOCK_MONOTONIC"},
		      {CLOCK_BOOTTIME, "CLOCK_BOOTTIME"},
		      {CLOCK_PROCESS_CPUTIME_ID, "CLOCK_PROCESS_CPUTIME_ID"}};
	enum {
		N = sizeof(clocks) / sizeof(*clocks)
	};
	struct sigaction sa = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
	timer_t tick, to_thread, held, idle, gone, shot[N], next;
	struct itimerspec its;
	int64_t then[N], interval, start, elapsed;
	struct timespec zero = {0, 0};
	pthread_t thread;
	sigset_t set;
	siginfo_t si;

	t_start();
	t_sys(sigaction(TICKS, &sa, NULL));
	t_sys(sigaction(AIMED, &sa, NULL));
	(void)sigemptyset(&set);
	(void)sigaddset(&set, HELD);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	(void)pthread_create(&thread, NULL, thread_main, NULL);
	while (!atomic_load(&target))
		t_sleep_ms(1);
	(void)pthread_sigmask(SIG_BLOCK, &set, NULL);
	tick_value = (void *)(uintptr_t)t_token();
	gone = make(CLOCK_MONOTONIC, SIGEV_NONE, 0, NULL);
	tick = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, TICKS, tick_value);
	t_sys(timer_delete(gone)); /* numbers need not be dense */
	to_thread = make(CLOCK_MONOTONIC, SIGEV_THREAD_ID, AIMED, NULL);
	held = make(CLOCK_MONOTONIC, SIGEV_SIGNAL, HELD, NULL);
	idle = make(CLOCK_REALTIME, SIGEV_SIGNAL, TICKS, NULL);
	spoiled = make(CLOCK_MONOTONIC, SIGEV_NONE, 0, NULL);
	for (int i = 0; i < N; i++) {
		shot[i] = make(clocks[i].id, SIGEV_NONE, 0, NULL);
		arm(shot[i], 1000000 + i * 1000, i * 777);
		then[i] = due(shot[i], clocks[i].id, NULL);
	}
	arm(spoiled, 5000000, 0);
	arm(tick, 50, 50);
	arm(to_thread, 50, 40);
	start = t_now_ns(CLOCK_MONOTONIC);
	arm(held, 10, 10);
	t_on_disturb(disturb);
	t_ready();

	for (int i = 0; i < N; i++) {
		int64_t now = due(shot[i], clocks[i].id, &interval);

		/* The processor time that a process has used is its own after a restart. */
		if (clocks[i].id == CLOCK_PROCESS_CPUTIME_ID)
			t_check(now > 0, "%s: not armed", clocks[i].name);
		else
			t_check(now >= then[i] - 1000000 && now - then[i] < LATE_NS,
				"%s: due %ld ms later than it was", clocks[i].name,
				(long)(now - then[i]) / 1000000);
		t_check(interval == i * 777 * 1000000LL, "%s: the interval is %ld ns",
			clocks[i].name, (long)interval);
	}
	t_check(due(spoiled, CLOCK_MONOTONIC, NULL) > start + 4000000000000LL,
		"a timer that was set after the checkpoint is not as it was");
	t_check(due(idle, CLOCK_REALTIME, NULL) == 0, "a timer that was not armed is");
	grows(&ticks, "SIGEV_SIGNAL");
	grows(&aimed, "SIGEV_THREAD_ID");
	t_check(atomic_load(&wrong) == 0,
		wrong == 1 ? "a signal with another value" : "a signal to another thread");
	t_sys(timer_gettime(tick, &its));
	t_check(its.it_interval.tv_nsec == 50000000, "the interval has changed");

	/* Expirations that nobody has taken: one signal waits and counts them. */
	elapsed = (t_now_ns(CLOCK_MONOTONIC) - start) / 10000000;
	t_check(sigtimedwait(&set, &si, &zero) == HELD, "the signal of a timer is lost");
	t_check(si.si_code == SI_TIMER, "the signal of a timer has code %d", si.si_code);
	t_check(si.si_overrun >= 0 && si.si_overrun <= elapsed,
		"an overrun of %d after %ld intervals", si.si_overrun, (long)elapsed);
	t_sleep_ms(30);
	t_check(sigtimedwait(&set, &si, &zero) == HELD, "no further signal of that timer");

	next = make(CLOCK_MONOTONIC, SIGEV_NONE, 0, NULL);
	for (int i = 0; i < N; i++)
		t_check(next != shot[i] && next != tick && next != idle, "a number is given twice");
	t_sys(timer_delete(tick));
	t_sys(timer_delete(to_thread));
	t_sys(timer_delete(held));
	atomic_store(&stop, 1);
	(void)pthread_join(thread, NULL);
	t_done();
}
