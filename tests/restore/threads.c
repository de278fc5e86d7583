/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: threads N.  What each of N threads has of its own: number, stack, thread-local storage, name,
 * signal mask, alternate stack, the cpu number that rseq keeps, errno; some sleep, some spin, some
 * wait in a futex, some in read().
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "t.h"

#define MAX      1024
#define ALT_SIZE (16 << 10)
#define NDEEP    4 /* threads with so much on their stacks that a lazy restart maps it */
#define DEEP     (200 << 10)
#define FLAT     3000

static __thread uint64_t tls[8];
static __thread int alt_hits;
static pthread_t thread[MAX];
static int tid_of[MAX];
static pthread_key_t key;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static atomic_int standing, go, verified;
static int wake[2], n;

static void on_usr1(int sig)
{
	int here;
	stack_t ss;

	(void)sig;
	if (sigaltstack(NULL, &ss) == 0 && (ss.ss_flags & SS_ONSTACK) &&
	    (char *)&here >= (char *)ss.ss_sp && (char *)&here < (char *)ss.ss_sp + ALT_SIZE)
		alt_hits++;
}

static void wait_here(int i)
{
	char byte;

	atomic_fetch_add(&standing, 1);
	switch (i % 4) {
	case 0:
		while (!atomic_load(&go))
			(void)usleep(20000);
		break;
	case 1: /* a few spin, the others give way */
		while (!atomic_load(&go))
			if (i > 4)
				(void)usleep(5000);
		break;
	case 2:
		(void)pthread_mutex_lock(&mutex);
		while (!atomic_load(&go))
			(void)pthread_cond_wait(&cond, &mutex);
		(void)pthread_mutex_unlock(&mutex);
		break;
	default:
		t_check(read(wake[0], &byte, 1) == 1, "thread %d: read: %m", i);
	}
}

static void *body(void *arg)
{
	int i = (int)(intptr_t)arg;
	size_t size = i < NDEEP ? DEEP : FLAT;
	unsigned char *local = __builtin_alloca(size);
	char name[16], want[16];
	sigset_t mask, now;
	unsigned int cpu;
	stack_t ss = {.ss_size = ALT_SIZE};
	void *alt = malloc(ALT_SIZE);

	tid_of[i] = (int)syscall(SYS_gettid);
	t_fill(tls, sizeof(tls), t_token() + (uint64_t)i);
	t_fill(local, size, t_token() + (uint64_t)i + MAX);
	(void)pthread_setspecific(key, &tls[i % 8]);
	(void)snprintf(want, sizeof(want), "worker-%d", i);
	(void)prctl(PR_SET_NAME, want);
	ss.ss_sp = alt;
	t_check(alt && sigaltstack(&ss, NULL) == 0, "sigaltstack: %m");
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGRTMIN + 1 + i % 16);
	(void)sigaddset(&mask, SIGUSR2);
	(void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
	errno = 1000 + i;

	wait_here(i);

	t_check(i % 4 == 0 || errno == 1000 + i || n > 64, "thread %d: errno is %d", i, errno);
	t_check(t_filled(tls, sizeof(tls), t_token() + (uint64_t)i), "thread %d: TLS", i);
	t_check(t_filled(local, size, t_token() + (uint64_t)i + MAX), "thread %d: stack", i);
	t_check(pthread_getspecific(key) == &tls[i % 8], "thread %d: pthread_getspecific", i);
	t_check(pthread_equal(pthread_self(), thread[i]), "thread %d: pthread_self", i);
	t_check((int)syscall(SYS_gettid) == tid_of[i], "thread %d: tid %d, was %d", i,
		(int)syscall(SYS_gettid), tid_of[i]);
	(void)prctl(PR_GET_NAME, name);
	t_check(strcmp(name, want) == 0, "thread %d: its name is %s", i, name);
	(void)pthread_sigmask(SIG_SETMASK, NULL, &now);
	for (int sig = 1; sig < NSIG; sig++)
		t_check(sigismember(&now, sig) == sigismember(&mask, sig),
			"thread %d: signal %d in the mask", i, sig);
	t_check(sigaltstack(NULL, &ss) == 0 && ss.ss_sp == alt && ss.ss_size == ALT_SIZE,
		"thread %d: alternate stack", i);
	(void)pthread_kill(pthread_self(), SIGUSR1);
	t_check(alt_hits == 1, "thread %d: the alternate stack is not used", i);
	/* sched_getcpu() reads what rseq keeps, the system call asks the kernel: moving to each
	 * processor shows whether the registration lives. */
	for (int c = 0; c < 4; c++) {
		cpu_set_t set;

		CPU_ZERO(&set);
		CPU_SET(c, &set);
		if (i % 16 == 0 && sched_setaffinity(0, sizeof(set), &set) == 0) {
			t_check(syscall(SYS_getcpu, &cpu, NULL, NULL) == 0 && (int)cpu == c &&
					sched_getcpu() == c,
				"thread %d: sched_getcpu() says %d on cpu %d", i, sched_getcpu(),
				c);
		}
	}
	atomic_fetch_add(&verified, 1);
	return (void *)(uintptr_t)(t_token() + (uint64_t)i);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_usr1, .sa_flags = SA_ONSTACK};
	pthread_attr_t attr;

	n = argc > 1 ? atoi(argv[1]) : 64;
	t_start();
	t_sys(sigaction(SIGUSR1, &sa, NULL));
	t_sys(pipe(wake));
	(void)pthread_key_create(&key, NULL);
	(void)pthread_attr_init(&attr);
	(void)prctl(PR_SET_NAME, "leader");
	for (int i = 0; i < n; i++) {
		(void)pthread_attr_setstacksize(&attr, (128 << 10) + (i < NDEEP ? DEEP : 0));
		t_check(pthread_create(&thread[i], &attr, body, (void *)(intptr_t)i) == 0,
			"pthread_create %d", i);
	}
	while (atomic_load(&standing) < n)
		t_sleep_ms(1);
	t_sleep_ms(50); /* until they wait */
	t_write_file(t_path("large"), "", 0);
	t_ready();

	atomic_store(&go, 1);
	(void)pthread_mutex_lock(&mutex);
	(void)pthread_cond_broadcast(&cond);
	(void)pthread_mutex_unlock(&mutex);
	for (int i = 3; i < n; i += 4)
		t_check(write(wake[1], "x", 1) == 1, "write: %m");
	for (int i = 0; i < n; i++) {
		void *ret;

		t_check(pthread_join(thread[i], &ret) == 0 &&
				ret == (void *)(uintptr_t)(t_token() + (uint64_t)i),
			"thread %d ended with another value", i);
	}
	t_check(atomic_load(&verified) == n, "%d of %d threads have verified", verified, n);
	t_check(syscall(SYS_gettid) == getpid(), "the main thread is not main");
	t_done();
}
