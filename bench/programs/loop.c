/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: loop KIND -- does the same thing over and over for a while and prints the nanoseconds that
 * one time took.  KINDs: compute, syscall (a cheap call that nobody wraps), wrapped (calls that
 * libckpt wraps), thread (create and join), spawn (fork, exec, wait).
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LONG_ENOUGH_NS 300000000U

static volatile double sink;

static void compute(void)
{
	double x = 1.0;

	for (int i = 0; i < 10000; i++)
		x = x * 1.0000001 + 1e-9;
	sink = x;
}

static void call(void)
{
	for (int i = 0; i < 1000; i++)
		(void)syscall(SYS_getppid);
}

static void wrapped(void)
{
	sigset_t set, old;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	for (int i = 0; i < 500; i++) {
		(void)sigprocmask(SIG_BLOCK, &set, &old);
		(void)poll(NULL, 0, 0);
		(void)sigprocmask(SIG_SETMASK, &old, NULL);
	}
}

static void *nothing(void *arg)
{
	return arg;
}

static void thread(void)
{
	pthread_t id;

	if (pthread_create(&id, NULL, nothing, NULL) != 0)
		exit(1);
	(void)pthread_join(id, NULL);
}

static void spawn(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
		exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*fn)(void);
		unsigned times; /* that one call of fn does it */
	} kind[] = {
		{"compute", compute, 10000}, {"syscall", call, 1000}, {"wrapped", wrapped, 1500},
		{"thread", thread, 1},       {"spawn", spawn, 1},
	};
	uint64_t start, took, n = 0;

	for (size_t i = 0; argc == 2 && i < sizeof(kind) / sizeof(*kind); i++) {
		if (strcmp(argv[1], kind[i].name) != 0)
			continue;
		kind[i].fn();
		start = now_ns();
		do {
			kind[i].fn();
			n += kind[i].times;
			took = now_ns() - start;
		} while (took < LONG_ENOUGH_NS);
		(void)printf("%.3f\n", (double)took / (double)n);
		return 0;
	}
	return 2;
}
