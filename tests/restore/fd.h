/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the tests of descriptors have in common: a second process beside the one that t.h makes, which
 * waits as neutrally as that does, and short forms of what is checked everywhere.
 */
#ifndef CKPT_FD_H
#define CKPT_FD_H

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "t.h"

/* A child that runs fn() once the test has gone on after its checkpoint, and ends with status 0. */
static inline pid_t child_after_go(void (*fn)(void))
{
	pid_t pid = t_sys(fork());

	if (pid)
		return pid;
	for (int i = 0; access(t_path("go"), F_OK) < 0; i++) {
		t_check(i < 6000, "nobody said go");
		t_sleep_ms(20);
	}
	fn();
	_exit(0);
}

/* A child that runs fn() at once: a process that knows nothing of ours. */
static inline pid_t child_now(void (*fn)(void))
{
	pid_t pid = t_sys(fork());

	if (pid)
		return pid;
	fn();
	_exit(0);
}

static inline void child_must_pass(pid_t pid)
{
	int status;

	t_check(waitpid(pid, &status, 0) == pid, "child %d is not ours: %m", pid);
	t_check(status == 0, "child %d ended with wait status %#x", pid, status);
}

/* Are both descriptors one open file description?  Their offset would tell, for seekable files. */
static inline int share_offset(int a, int b)
{
	off_t old = t_sys(lseek(a, 0, SEEK_CUR));
	int same;

	t_sys(lseek(a, old + 17, SEEK_SET));
	same = lseek(b, 0, SEEK_CUR) == old + 17;
	t_sys(lseek(a, old, SEEK_SET));
	return same;
}

static inline off_t size_of(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? -1 : st.st_size;
}

static inline int get_flags(int fd)
{
	return t_sys(fcntl(fd, F_GETFL));
}

/* Does reading `size` bytes from fd give the noise of `seed`? */
static inline int reads_noise(int fd, size_t size, uint64_t seed)
{
	char *buf = malloc(size);
	size_t done = 0;
	ssize_t n;
	int same;

	while (done < size && (n = read(fd, buf + done, size - done)) > 0)
		done += (size_t)n;
	same = done == size && t_filled(buf, size, seed);
	free(buf);
	return same;
}

static inline void writes_noise(int fd, size_t size, uint64_t seed)
{
	char *buf = malloc(size);
	size_t done = 0;

	t_fill(buf, size, seed);
	while (done < size)
		done += (size_t)t_sys(write(fd, buf + done, size - done));
	free(buf);
}

/* Read away what is there. */
static inline void drain(int fd)
{
	char buf[4096];
	int flags = get_flags(fd);

	(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	while (read(fd, buf, sizeof(buf)) > 0)
		;
	(void)fcntl(fd, F_SETFL, flags);
}

#endif
