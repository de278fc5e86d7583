/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * system(): libc's own starts the shell inside itself and then waits in the same call, so SIGCKPT
 * could not be closed for the one and open for the other.  This one does the same over posix_spawn()
 * and waitpid(): SIGINT and SIGQUIT are ignored while any thread is in here, SIGCHLD is blocked in the
 * caller, a thread that is cancelled takes its shell with it.
 */
#include "wrap/wrap_private.h"

#include <stdlib.h>
#include <sys/wait.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int users;
static struct sigaction saved_int, saved_quit; /* valid while users > 0 */

static void enter(void)
{
	const struct sigaction ignore = {.sa_handler = SIG_IGN};

	(void)pthread_mutex_lock(&lock);
	if (users++ == 0) {
		(void)REAL(sigaction)(SIGINT, &ignore, &saved_int);
		(void)REAL(sigaction)(SIGQUIT, &ignore, &saved_quit);
	}
	(void)pthread_mutex_unlock(&lock);
}

static void leave(void)
{
	(void)pthread_mutex_lock(&lock);
	if (--users == 0) {
		(void)REAL(sigaction)(SIGINT, &saved_int, NULL);
		(void)REAL(sigaction)(SIGQUIT, &saved_quit, NULL);
	}
	(void)pthread_mutex_unlock(&lock);
}

static void cancelled(void *arg)
{
	pid_t pid = *(pid_t *)arg;

	(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) == -1 && errno == EINTR)
		;
	leave();
}

static int start(pid_t *ret_pid, const char *command, const sigset_t *mask)
{
	static char shell[] = "sh", option[] = "-c";
	char *argv[] = {shell, option, (char *)(uintptr_t)command, NULL};
	posix_spawnattr_t attr;
	sigset_t defaults;
	int r;

	(void)sigemptyset(&defaults);
	if (saved_int.sa_handler != SIG_IGN)
		(void)sigaddset(&defaults, SIGINT);
	if (saved_quit.sa_handler != SIG_IGN)
		(void)sigaddset(&defaults, SIGQUIT);
	(void)posix_spawnattr_init(&attr);
	(void)posix_spawnattr_setsigmask(&attr, mask);
	(void)posix_spawnattr_setsigdefault(&attr, &defaults);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	r = posix_spawn(ret_pid, "/bin/sh", NULL, &attr, argv, environ);
	(void)posix_spawnattr_destroy(&attr);
	return r;
}

static int run(const char *command)
{
	sigset_t chld, mask;
	int status = -1;
	pid_t pid;
	pid_t got;
	int r;

	enter();
	(void)sigemptyset(&chld);
	(void)sigaddset(&chld, SIGCHLD);
	(void)REAL(pthread_sigmask)(SIG_BLOCK, &chld, &mask);
	r = start(&pid, command, &mask);
	if (r == 0) {
		pthread_cleanup_push(cancelled, &pid);
		do
			got = waitpid(pid, &status, 0);
		while (got == -1 && errno == EINTR);
		pthread_cleanup_pop(0);
		if (got != pid)
			status = -1;
	} else {
		status = W_EXITCODE(127, 0); /* as if the shell could not be executed */
	}
	leave();
	(void)REAL(pthread_sigmask)(SIG_SETMASK, &mask, NULL);
	if (r)
		errno = r;
	return status;
}

CKPTI_EXPORT int system(const char *command)
{
	if (!command)
		return run("exit 0") == 0;
	return run(command);
}
