/* SPDX-License-Identifier: BSD-3-Clause */
/* setitimer(): the three timers of a process go on with interval and time left; a child has its own. */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "t.h"

static volatile sig_atomic_t hits[3];
static volatile double sink;

static void on_timer(int sig)
{
	hits[sig == SIGALRM ? 0 : sig == SIGVTALRM ? 1 : 2]++;
}

static void disturb(void)
{
	struct itimerval off = {{0, 0}, {0, 0}};

	for (int i = 0; i < 3; i++)
		(void)setitimer((__itimer_which_t)i, &off, NULL);
}

static void burn_ms(int ms)
{
	int64_t end = t_now_ns(CLOCK_PROCESS_CPUTIME_ID) + ms * 1000000LL;

	while (t_now_ns(CLOCK_PROCESS_CPUTIME_ID) < end)
		for (int i = 0; i < 10000; i++)
			sink += i;
}

/* A long one-shot alarm: when it is due, on the monotonic clock. */
static int64_t alarm_due(void)
{
	struct itimerval it;

	t_sys(getitimer(ITIMER_REAL, &it));
	return t_now_ns(CLOCK_MONOTONIC) + it.it_value.tv_sec * 1000000000LL +
	       it.it_value.tv_usec * 1000LL;
}

static void child(int fd)
{
	int64_t then, now;
	char byte;

	(void)alarm(5000);
	then = alarm_due();
	t_check(read(fd, &byte, 1) == 1, "read: %m");
	now = alarm_due();
	t_check(now >= then - 2000000 && now - then < 2000000000LL,
		"the child's alarm is due %ld ms later", (long)(now - then) / 1000000);
	_exit(alarm(0) ? 0 : 1);
}

int main(void)
{
	static const int sig[3] = {SIGALRM, SIGVTALRM, SIGPROF};
	struct sigaction sa = {.sa_handler = on_timer, .sa_flags = SA_RESTART};
	struct itimerval it;
	int pipes[2], status, before[3];
	pid_t pid;

	t_start();
	t_sys(pipe2(pipes, O_CLOEXEC));
	pid = t_sys(fork());
	if (pid == 0)
		child(pipes[0]);
	for (int i = 0; i < 3; i++) {
		struct itimerval set = {{0, 20000 + i * 1000}, {0, 10000}};

		t_sys(sigaction(sig[i], &sa, NULL));
		t_sys(setitimer((__itimer_which_t)i, &set, NULL));
	}
	t_on_disturb(disturb);
	t_ready();
	for (int i = 0; i < 3; i++) {
		before[i] = hits[i];
		t_sys(getitimer((__itimer_which_t)i, &it));
		/* The kernel rounds processor time up to ticks. */
		t_check(it.it_interval.tv_usec >= 20000 + i * 1000 &&
				it.it_interval.tv_usec <= 20000 + i * 1000 + 10000,
			"interval of timer %d: %ld us", i, (long)it.it_interval.tv_usec);
		t_check(it.it_value.tv_sec || it.it_value.tv_usec, "timer %d is not armed", i);
	}
	burn_ms(200);
	for (int i = 0; i < 3; i++)
		t_check(hits[i] >= before[i] + 3 && hits[i] <= before[i] + 200,
			"timer %d: %d hits, %d before", i, (int)hits[i], before[i]);
	t_check(write(pipes[1], "x", 1) == 1, "write: %m");
	while (waitpid(pid, &status, 0) < 0)
		;
	t_check(status == 0, "the child failed");
	t_done();
}
