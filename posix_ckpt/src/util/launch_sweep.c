/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of launches that are over.  A restart removes its own; of a program that was never restarted nobody
 * is there any more to do it.  So who puts a new one beside them looks for those that are a day old and
 * belong to no process.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "util/launch.h"

#define DAY_S       86400
#define MAX_AT_ONCE 256
#define SET_LEN     16
#define MARK        "CKPT_SET="

struct old {
	char set[MAX_AT_ONCE][SET_LEN + 1];
	bool alive[MAX_AT_ONCE];
	size_t n;
};

static void find_old(int dirfd, struct old *old)
{
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	time_t before = time(NULL) - DAY_S;
	struct dirent *e;
	struct stat st;

	while (dir && old->n < MAX_AT_ONCE && (e = readdir(dir))) {
		if (strlen(e->d_name) != SET_LEN ||
		    strspn(e->d_name, "0123456789abcdefABCDEF") != SET_LEN ||
		    fstatat(dirfd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mtime > before)
			continue;
		memcpy(old->set[old->n++], e->d_name, SET_LEN + 1);
	}
	if (dir)
		(void)closedir(dir);
	else if (fd >= 0)
		(void)close(fd);
}

static void mark(struct old *old, const char *env, size_t len)
{
	for (const char *p = env; p < env + len; p += strlen(p) + 1) {
		if (strncmp(p, MARK, strlen(MARK)) != 0)
			continue;
		for (size_t i = 0; i < old->n; i++)
			old->alive[i] |= strcmp(p + strlen(MARK), old->set[i]) == 0;
	}
}

/* False: it cannot be told who lives. */
static bool mark_living(struct old *old)
{
	const size_t size = 1U << 20;
	char *env = malloc(size), path[300];
	DIR *proc = opendir("/proc");
	struct dirent *e;

	while (env && proc && (e = readdir(proc))) {
		ssize_t n;
		int fd;

		if (e->d_name[0] < '1' || e->d_name[0] > '9')
			continue;
		(void)snprintf(path, sizeof(path), "/proc/%s/environ", e->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, env, size - 1);
		(void)close(fd);
		env[n > 0 ? n : 0] = 0;
		if (n > 0)
			mark(old, env, (size_t)n);
	}
	if (proc)
		(void)closedir(proc);
	free(env);
	return env && proc;
}

void ckpti_launch_file_sweep(int dirfd)
{
	struct old *old = calloc(1, sizeof(*old));
	char shell[SET_LEN + 4];

	if (!old)
		return;
	find_old(dirfd, old);
	if (old->n && mark_living(old)) {
		for (size_t i = 0; i < old->n; i++) {
			if (old->alive[i])
				continue;
			(void)snprintf(shell, sizeof(shell), "%s.sh", old->set[i]);
			(void)unlinkat(dirfd, old->set[i], 0);
			(void)unlinkat(dirfd, shell, 0);
		}
	}
	free(old);
}
