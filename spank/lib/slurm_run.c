/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Running Slurm's commands, within a time limit.  They get an environment in which their output has
 * the form that slurm.c knows: no local time formats, and times in UTC, so that the hour that comes
 * twice a year is not ambiguous.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spank/lib/slurm.h"
#include "util/clock.h"

/* ---- the real scontrol -------------------------------------------------------------------- */

/* Our front end lies in a directory of its own in that of the coordinator. */
static bool is_front_end(const char *dir, const char *path)
{
	struct stat mine, other;
	char beside[PATH_MAX];

	if (stat("/proc/self/exe", &mine) == 0 && stat(path, &other) == 0 &&
	    mine.st_dev == other.st_dev && mine.st_ino == other.st_ino)
		return true;
	if (snprintf(beside, sizeof(beside), "%s/../ckpt-coordinator", dir) >= (int)sizeof(beside))
		return false;
	return access(beside, F_OK) == 0;
}

int ckpti_slurm_real_scontrol(char *ret, struct ckpti_err *err)
{
	const char *p = getenv("PATH"), *end;
	char dir[PATH_MAX];

	for (p = p ? p : "/usr/bin:/bin"; *p; p = *end ? end + 1 : end) {
		end = strchrnul(p, ':');
		/* Relative ones would lead elsewhere after a chdir(). */
		if (*p != '/' || end - p >= (ptrdiff_t)sizeof(dir))
			continue;
		memcpy(dir, p, (size_t)(end - p));
		dir[end - p] = '\0';
		if (snprintf(ret, PATH_MAX, "%s/scontrol", dir) < PATH_MAX &&
		    access(ret, X_OK) == 0 && !is_front_end(dir, ret))
			return 0;
	}
	return ckpti_err(err, -ENOENT, "Slurm's scontrol is not in PATH");
}

/* ---- running ------------------------------------------------------------------------------ */

__attribute__((noreturn)) static void become(const char *path, char *const argv[], int out, int err)
{
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* What a coordinator ignores is no business of scontrol's. */
	for (int sig = 1; sig < SIGRTMIN; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(127);
	(void)close_range(3, ~0U, 0);
	(void)setenv("LC_ALL", "C", 1);
	(void)setenv("TZ", "UTC0", 1);
	(void)setenv("SLURM_TIME_FORMAT", "standard", 1);
	(void)unsetenv("SLURM_BITSTR_LEN");
	execvp(path, argv);
	_exit(127);
}

struct sink {
	int fd; /* -1: at its end */
	char *buf;
	size_t size, used;
};

/* Take what is there; what does not fit is thrown away. */
static void drain(struct sink *s)
{
	char away[4096];
	size_t room = s->size > s->used + 1 ? s->size - s->used - 1 : 0;
	ssize_t n;

	n = room > 0 ? read(s->fd, s->buf + s->used, room) : read(s->fd, away, sizeof(away));
	if (n > 0 && room > 0)
		s->used += (size_t)n;
	if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN)) {
		close(s->fd);
		s->fd = -1;
	}
}

/* Until both pipes are at their ends. */
static int collect(struct sink sink[2], int64_t end)
{
	struct pollfd p[2];
	int64_t left;
	int r;

	while (sink[0].fd >= 0 || sink[1].fd >= 0) {
		left = end - ckpti_now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		for (int i = 0; i < 2; i++)
			p[i] = (struct pollfd){.fd = sink[i].fd, .events = POLLIN};
		r = poll(p, 2, (int)left);
		if (r < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; r > 0 && i < 2; i++) {
			if (p[i].revents)
				drain(&sink[i]);
		}
	}
	return 0;
}

/* The child has closed its output; it may still take its time to end. */
static int reap(pid_t pid, int64_t end, int *ret_status)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	pid_t r;

	for (;;) {
		r = waitpid(pid, ret_status, WNOHANG);
		if (r == pid)
			return 0;
		if (r < 0 && errno != EINTR)
			return -errno;
		if (ckpti_now_ms() >= end)
			return -ETIMEDOUT;
		(void)nanosleep(&pause, NULL);
	}
}

int ckpti_slurm_run(char *const argv[], int timeout_ms, char *ret, size_t size, char *ret_err,
		    int *ret_status, struct ckpti_err *err)
{
	struct sink sink[2] = {{.fd = -1, .buf = ret, .size = size},
			       {.fd = -1, .buf = ret_err, .size = ret_err ? 512 : 0}};
	int64_t end = ckpti_now_ms() + timeout_ms;
	int out[2] = {-1, -1}, log[2] = {-1, -1}, r = 0;
	char path[PATH_MAX];
	pid_t pid;

	if (strcmp(argv[0], "scontrol") == 0)
		r = ckpti_slurm_real_scontrol(path, err);
	else if (snprintf(path, sizeof(path), "%s", argv[0]) >= (int)sizeof(path))
		r = ckpti_err(err, -ENAMETOOLONG, "the name of a command is too long");
	if (r < 0)
		return r;
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(log, O_CLOEXEC) < 0) {
		r = -errno;
		goto out;
	}
	pid = fork();
	if (pid < 0) {
		r = -errno;
		goto out;
	}
	if (pid == 0)
		become(path, argv, out[1], log[1]);
	close(out[1]);
	close(log[1]);
	sink[0].fd = out[0];
	sink[1].fd = log[0];
	out[0] = out[1] = log[0] = log[1] = -1;
	r = collect(sink, end);
	if (r == 0)
		r = reap(pid, end, ret_status);
	if (r < 0) {
		(void)kill(pid, SIGKILL);
		(void)reap(pid, ckpti_now_ms() + 1000, ret_status);
	}
out:
	for (int i = 0; i < 2; i++) {
		if (sink[i].fd >= 0)
			close(sink[i].fd);
		if (sink[i].size > 0)
			sink[i].buf[sink[i].used] = '\0';
		if (out[i] >= 0)
			close(out[i]);
		if (log[i] >= 0)
			close(log[i]);
	}
	if (r < 0)
		return ckpti_err(err, r, "'%s %s' has not answered: %s", argv[0],
				 argv[1] ? argv[1] : "", strerrordesc_np(-r));
	return 0;
}
