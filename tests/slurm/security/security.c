/* SPDX-License-Identifier: BSD-3-Clause */
#include "security.h"

#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define MUNGED "/usr/sbin/munged"
#define SKIP   77

char munged_dir[] = "/tmp/ckpt-security-XXXXXX";
static pid_t munged[2];

void run_as(uid_t uid, int (*fn)(void *arg), void *arg)
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (pid == 0) {
		(void)alarm(20);
		if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 ||
		    setresuid(uid, uid, uid) < 0)
			_exit(99);
		_exit(fn(arg));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Files are NAME.socket and so on in munged_dir. */
static pid_t launch(const char *name)
{
	static const char *const option[] = {"socket", "key-file", "pid-file", "seed-file",
					     "log-file"};
	char arg[5][128], *argv[] = {(char[]){"munged"},
				     (char[]){"--foreground"},
				     (char[]){"--force"},
				     arg[0],
				     arg[1],
				     arg[2],
				     arg[3],
				     arg[4],
				     NULL};
	pid_t pid;

	for (int i = 0; i < 5; i++)
		(void)snprintf(arg[i], sizeof(arg[i]), "--%s=%s/%s.%s", option[i], munged_dir, name,
			       option[i]);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		(void)dup2(null, 1);
		(void)dup2(null, 2);
		(void)execv(MUNGED, argv);
		_exit(127);
	}
	return pid;
}

/* One with a key of its own, made of a letter. */
static pid_t start(const char *name, char letter)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	char path[96], key[1024];
	pid_t pid;
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s.key-file", munged_dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	memset(key, letter, sizeof(key));
	if (fd < 0 || write(fd, key, sizeof(key)) != (ssize_t)sizeof(key))
		return -1;
	close(fd);
	pid = launch(name);
	munged_use(name);
	for (int i = 0; i < 1000 && pid > 0; i++) {
		if (access(getenv("CKPT_MUNGE_SOCKET"), F_OK) == 0)
			return pid;
		(void)nanosleep(&pause, NULL);
	}
	return pid;
}

void munged_use(const char *name)
{
	char path[96];

	(void)snprintf(path, sizeof(path), "%s/%s.socket", munged_dir, name);
	(void)setenv("CKPT_MUNGE_SOCKET", path, 1);
}

int start_munged(void **state)
{
	(void)state;
	if (!mkdtemp(munged_dir) || chmod(munged_dir, 0755) < 0)
		return -1;
	munged[0] = start("foreign", 'f');
	munged[1] = start("site", 's');
	return munged[0] > 0 && munged[1] > 0 ? 0 : -1;
}

int stop_munged(void **state)
{
	char command[96];

	(void)state;
	for (int i = 0; i < 2; i++) {
		if (munged[i] > 0) {
			(void)kill(munged[i], SIGTERM);
			(void)waitpid(munged[i], NULL, 0);
		}
	}
	(void)snprintf(command, sizeof(command), "rm -rf %s", munged_dir);
	return system(command) == 0 ? 0 : -1;
}

void need_root(void)
{
	if (geteuid() == 0)
		return;
	(void)puts("skipped: needs root");
	exit(SKIP);
}

void need_munged(void)
{
	if (access(MUNGED, X_OK) == 0)
		return;
	(void)puts("skipped: needs munged");
	exit(SKIP);
}
