/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's environment: that of the launch, which tells the MPI library where it is, with these
 * changes:
 *  - LD_PRELOAD, LD_AUDIT and LD_BIND_NOW and their like are the application's;
 *  - LD_LIBRARY_PATH stays, for the MPI library that the user has chosen, without the shim's directory:
 *    the guest must find the real one;
 *  - restartable sequences are off: a thread has one registration in the kernel, and it is the
 *    application's;
 *  - caches of registered memory are off, whatever the user says: they would have to hear of each
 *    munmap() of the application, which is made by another libc than the guest's, and a stale
 *    registration sends the wrong memory without anybody noticing;
 *  - PMIx 5 gets its data by messages, not in a segment that must lie where its server has it.
 */
#include "guest/guest_private.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define TUNABLES "GLIBC_TUNABLES="
#define NO_RSEQ  "glibc.pthread.rseq=0"
#define PATH     "LD_LIBRARY_PATH="

static bool begins(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* The same directory, by whatever name. */
static bool is_dir(const char *name, size_t len, const char *dir)
{
	char path[PATH_MAX];
	struct stat a, b;

	if (len >= sizeof(path))
		return false;
	memcpy(path, name, len);
	path[len] = '\0';
	return stat(path, &a) == 0 && stat(dir, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* A search path without dir. */
static char *put_path(char *to, const char *from, const char *dir)
{
	size_t part, name;
	bool first = true;

	to = stpcpy(to, PATH);
	for (from += strlen(PATH); *from; from += part, from += *from != '\0') {
		part = strcspn(from, ":;");
		for (name = part; name > 1 && from[name - 1] == '/'; name--)
			;
		if (name == 0 || is_dir(from, name, dir))
			continue;
		if (!first)
			*to++ = ':';
		first = false;
		to = mempcpy(to, from, name);
	}
	*to++ = '\0';
	return to;
}

static const char *const forced[] = {"OMPI_MCA_mpi_leave_pinned=0", "UCX_MEM_EVENTS=n",
				     "FI_MR_CACHE_MONITOR=disabled", "PMIX_MCA_gds=^shmem2"};
#define NFORCED (sizeof(forced) / sizeof(forced[0]))

static bool is_forced(const char *e)
{
	for (size_t i = 0; i < NFORCED; i++) {
		size_t name = strcspn(forced[i], "=") + 1;

		if (strncmp(e, forced[i], name) == 0)
			return true;
	}
	return false;
}

char **guest_env_new(char *const *env, const char *own_dir)
{
	size_t count = 2 + NFORCED, bytes = sizeof(TUNABLES NO_RSEQ);
	bool tuned = false;
	char **ret, *to;

	for (char *const *e = env; *e; e++) {
		count++;
		bytes += strlen(*e) + 1 + sizeof(NO_RSEQ) + 1;
	}
	for (size_t i = 0; i < NFORCED; i++)
		bytes += strlen(forced[i]) + 1;
	ret = malloc(count * sizeof(*ret) + bytes);
	if (!ret)
		return NULL;
	to = (char *)(ret + count);
	count = 0;
	for (char *const *e = env; *e; e++) {
		if ((begins(*e, "LD_") && !begins(*e, PATH)) || is_forced(*e))
			continue;
		ret[count++] = to;
		if (begins(*e, PATH)) {
			to = put_path(to, *e, own_dir);
		} else if (begins(*e, TUNABLES)) {
			to += sprintf(to, "%s:" NO_RSEQ, *e) + 1;
			tuned = true;
		} else {
			to = stpcpy(to, *e) + 1;
		}
	}
	for (size_t i = 0; i < NFORCED; i++) {
		ret[count++] = to;
		to = stpcpy(to, forced[i]) + 1;
	}
	if (!tuned) {
		ret[count++] = to;
		(void)strcpy(to, TUNABLES NO_RSEQ);
	}
	ret[count] = NULL;
	return ret;
}
