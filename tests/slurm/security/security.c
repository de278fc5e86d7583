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
static pid_t munged;

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

static pid_t launch(void)
{
	char arg[5][96];
	pid_t pid;

	(void)snprintf(arg[0], sizeof(arg[0]), "--socket=%s/socket", munged_dir);
	(void)snprintf(arg[1], sizeof(arg[1]), "--key-file=%s/key", munged_dir);
	(void)snprintf(arg[2], sizeof(arg[2]), "--pid-file=%s/pid", munged_dir);
	(void)snprintf(arg[3], sizeof(arg[3]), "--seed-file=%s/seed", munged_dir);
	(void)snprintf(arg[4], sizeof(arg[4]), "--log-file=%s/log", munged_dir);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		(void)dup2(null, 1);
		(void)dup2(null, 2);
		(void)execl(MUNGED, "munged", "--foreground", "--force", arg[0], arg[1], arg[2],
			    arg[3], arg[4], (char *)NULL);
		_exit(127);
	}
	return pid;
}

int start_munged(void **state)
{
	const struct timespec pause = {.tv_nsec = 10000000};
	char path[64], key[1024];
	int fd;

	(void)state;
	if (!mkdtemp(munged_dir) || chmod(munged_dir, 0755) < 0)
		return -1;
	(void)snprintf(path, sizeof(path), "%s/key", munged_dir);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	memset(key, 's', sizeof(key));
	if (fd < 0 || write(fd, key, sizeof(key)) != (ssize_t)sizeof(key))
		return -1;
	close(fd);
	munged = launch();
	(void)snprintf(path, sizeof(path), "%s/socket", munged_dir);
	(void)setenv("CKPT_MUNGE_SOCKET", path, 1);
	for (int i = 0; i < 1000 && munged > 0; i++) {
		if (access(path, F_OK) == 0)
			return 0;
		(void)nanosleep(&pause, NULL);
	}
	return -1;
}

int stop_munged(void **state)
{
	char command[96];

	(void)state;
	if (munged > 0) {
		(void)kill(munged, SIGTERM);
		(void)waitpid(munged, NULL, 0);
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
