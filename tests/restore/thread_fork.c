/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that fork while others are being stopped: the children have the program's descriptors and no
 * others.  Each child counts its own.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

#define FORKING 8
#define IDLE    120 /* the more threads there are to stop, the longer it takes */

static atomic_int stop;
static int usual; /* descriptors that a child has */

/* Without malloc(): this is a child of a process with threads. */
static int count(void)
{
	int n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* Descriptors that are not the program's: t_ready() opens files of its own. */
static int strange(void)
{
	int n = 0;

	for (int fd = 3; count() != usual && fd < 64; fd++) {
		char path[64], target[256];
		ssize_t len;

		(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		len = readlink(path, target, sizeof(target) - 1);
		if (len <= 0)
			continue;
		target[len] = 0;
		if (strncmp(target, "/proc/", 6) != 0 && strncmp(target, "socket:", 7) != 0)
			continue;
		(void)dprintf(STDERR_FILENO, "descriptor %d is %s\n", fd, target);
		n++;
	}
	return n;
}

static void *fork_on(void *arg)
{
	(void)arg;
	while (!stop) {
		pid_t pid = fork();
		int status = 0;

		if (pid == 0)
			_exit(strange());
		t_check(pid > 0 && waitpid(pid, &status, 0) == pid, "fork");
		t_check(status == 0, "a child has %d descriptors too many", WEXITSTATUS(status));
	}
	return NULL;
}

static void *idle(void *arg)
{
	while (!stop)
		t_sleep_ms(10);
	return arg;
}

int main(void)
{
	pthread_t thread[FORKING + IDLE];

	t_start();
	usual = count();
	for (int i = 0; i < FORKING + IDLE; i++)
		t_check(pthread_create(&thread[i], NULL, i < FORKING ? fork_on : idle, NULL) == 0,
			"pthread_create");
	t_ready();
	stop = 1;
	for (int i = 0; i < FORKING + IDLE; i++)
		t_check(pthread_join(thread[i], NULL) == 0, "pthread_join");
	t_done();
}
