/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program of `cases`: a life with a token and a count in memory, steered through standard input.
 *
 *	tell      print "token count pid capabilities"; the count goes up each time
 *	exit N    end with status N
 *	raise N   end by signal N
 *
 * It prints "signal N" when it is sent SIGTERM or SIGINT.  With the argument "tree" there is a child that
 * takes part in nothing and must be there all the time; with "thread" a thread, which is joined at exit.
 */
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "proc.h"

static pthread_t thread;
static int has_thread;
static sem_t end_of_thread;

static void *thread_main(void *arg)
{
	while (sem_wait(&end_of_thread) < 0)
		;
	return arg;
}

static void on_signal(int signo)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "signal %d\n", signo);

	t_check(write(STDOUT_FILENO, text, (size_t)n) == n, "write: %m");
}

static void tell(void)
{
	static unsigned count;
	static char text[8192];
	size_t n = t_read_file("/proc/self/status", text, sizeof(text) - 1);
	const char *caps;

	text[n] = 0;
	caps = strstr(text, "CapEff:");
	(void)printf("%016lx %u %d %.16s\n", (unsigned long)t_token(), ++count, getpid(),
		     caps ? caps + 8 : "");
}

static void obey(char *line, int child)
{
	int n;

	t_check(!child || waitpid(child, NULL, WNOHANG) == 0, "the child has ended");
	if (strcmp(line, "tell\n") == 0) {
		tell();
		(void)fflush(stdout);
		return;
	}
	if (child) {
		t_sys(kill(child, SIGKILL));
		t_check(waitpid(child, NULL, 0) == child, "waitpid: %m");
	}
	if (has_thread) {
		t_sys(sem_post(&end_of_thread));
		t_check(pthread_join(thread, NULL) == 0, "the thread is unknown");
	}
	if (sscanf(line, "exit %d", &n) == 1)
		_exit(n);
	if (sscanf(line, "raise %d", &n) == 1) {
		(void)signal(n, SIG_DFL);
		(void)raise(n);
	}
	t_fail("what is '%s'?", line);
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	char line[64];
	int child = 0;

	t_start();
	if (argc == 2 && strcmp(argv[1], "tree") == 0) {
		child = t_sys(fork());
		while (child == 0)
			(void)pause();
	}
	if (argc == 2 && strcmp(argv[1], "thread") == 0) {
		has_thread = 1;
		t_check(pthread_create(&thread, NULL, thread_main, NULL) == 0, "no thread");
	}
	(void)sigaction(SIGTERM, &sa, NULL);
	(void)sigaction(SIGINT, &sa, NULL);
	(void)printf("ready\n");
	(void)fflush(stdout);
	while (fgets(line, sizeof(line), stdin))
		obey(line, child);
	return 98;
}
