/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals that wait: for the process and for one thread, with their siginfo, real-time ones in order
 * and in number.  They stay where they are, so the thread's own cannot be taken by another.
 *
 * usage: sig_pending [N]: so many in one queue; more than can be saved must be refused, and still be
 * there in order.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

#define MANY  (SIGRTMIN + 2)
#define AIMED (SIGRTMIN + 3)

static atomic_int go, ready;
static pid_t child;
static int me, queued = 600;

static void no_signal(const sigset_t *set, const char *what)
{
	struct timespec zero = {0, 0};
	siginfo_t si;
	int sig = sigtimedwait(set, &si, &zero);

	t_check(sig < 0 && errno == EAGAIN, "%s: signal %d with value %d", what, sig,
		si.si_value.sival_int);
}

static void take(int signo, int code, int value, const char *what)
{
	struct timespec zero = {0, 0};
	siginfo_t si;
	sigset_t set;

	memset(&si, 0, sizeof(si));
	(void)sigemptyset(&set);
	(void)sigaddset(&set, signo);
	/* The libc's own would show SI_TKILL as SI_USER. */
	t_check(syscall(SYS_rt_sigtimedwait, &set, &si, &zero, 8L) == signo, "%s: not there: %m",
		what);
	t_check(si.si_code == code, "%s: si_code is %d, not %d", what, si.si_code, code);
	if (code == SI_QUEUE)
		t_check(si.si_value.sival_int == value, "%s: the value is %d, not %d", what,
			si.si_value.sival_int, value);
	if (code != SI_TIMER && code != CLD_EXITED)
		t_check(si.si_pid == me && si.si_uid == getuid(), "%s: from process %d, user %u",
			what, si.si_pid, si.si_uid);
}

static void aim(int value)
{
	siginfo_t si;

	memset(&si, 0, sizeof(si));
	si.si_signo = AIMED;
	si.si_code = SI_QUEUE;
	si.si_pid = me;
	si.si_uid = getuid();
	si.si_value.sival_int = value;
	t_sys(syscall(SYS_rt_tgsigqueueinfo, me, (int)syscall(SYS_gettid), AIMED, &si));
}

static void *thread_main(void *arg)
{
	sigset_t set;

	(void)arg;
	for (int i = 0; i < 3; i++)
		aim((int)(t_token() % 1000) + i);
	t_check(pthread_kill(pthread_self(), SIGUSR1) == 0, "pthread_kill");
	atomic_store(&ready, 1);
	while (!atomic_load(&go))
		t_sleep_ms(5);
	for (int i = 0; i < 3; i++)
		take(AIMED, SI_QUEUE, (int)(t_token() % 1000) + i, "aimed at the thread");
	take(SIGUSR1, SI_TKILL, 0, "pthread_kill() of the thread");
	(void)sigfillset(&set);
	no_signal(&set, "one more");
	return NULL;
}

static void disturb(void)
{
	struct timespec zero = {0, 0};
	sigset_t all;

	(void)sigfillset(&all);
	for (int i = 0; i < 100; i++)
		(void)sigtimedwait(&all, NULL, &zero);
	(void)raise(SIGQUIT);
}

int main(int argc, char **argv)
{
	union sigval value;
	pthread_t thread;
	sigset_t all, others;

	t_start();
	if (argc > 1)
		queued = atoi(argv[1]);
	t_write_file(t_path("refusal"), "signals wait", 12);
	me = getpid();
	(void)sigfillset(&all);
	t_sys(sigprocmask(SIG_BLOCK, &all, NULL));
	child = t_sys(fork());
	if (child == 0)
		_exit(7);
	(void)pthread_create(&thread, NULL, thread_main, NULL);
	while (!atomic_load(&ready))
		t_sleep_ms(1);
	t_sys(kill(me, SIGUSR2));
	t_sys(kill(me, SIGUSR2)); /* counts once */
	for (int i = 0; i < queued; i++) {
		value.sival_int = (int)(t_token() % 1000) + i;
		t_sys(sigqueue(me, MANY, value));
	}
	value.sival_int = 4711;
	t_sys(sigqueue(me, SIGTERM, value));
	t_on_disturb(disturb);
	t_ready();

	t_check(sigpending(&others) == 0 && sigismember(&others, AIMED) == 0,
		"the thread's signal has become the process'");
	take(SIGUSR2, SI_USER, 0, "kill()");
	take(SIGTERM, SI_QUEUE, 4711, "sigqueue()");
	for (int i = 0; i < queued; i++)
		take(MANY, SI_QUEUE, (int)(t_token() % 1000) + i, "queued");
	take(SIGCHLD, CLD_EXITED, 0, "the child's end");
	no_signal(&all, "one more");
	atomic_store(&go, 1);
	(void)pthread_join(thread, NULL);
	t_check(waitpid(child, &me, 0) == child && WEXITSTATUS(me) == 7, "the zombie");
	t_done();
}
