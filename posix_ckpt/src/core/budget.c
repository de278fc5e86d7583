/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is there memory for a statefile, before anybody stops?  On a disk a write that does not fit fails and
 * the round with it; in a file system that is memory it is charged to the memory cgroup of the very
 * processes that write it, and the kernel answers by killing them.
 */
#include <errno.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>

#include "core/capture.h"

#define RESERVE (8ULL << 20) /* kernel memory and the coordinator's own */

/* Bytes that the image of the process may take at most: its own pages and its share of shared ones. */
static uint64_t image_size(int pid)
{
	static const char *const field[] = {"RssAnon:", "RssShmem:", "VmSwap:"};
	char *text = ckpti_procfs_slurp(pid, "status", NULL);
	uint64_t kib = 0;

	for (size_t i = 0; text && i < sizeof(field) / sizeof(*field); i++) {
		const char *p = strstr(text, field[i]);

		if (p)
			kib += strtoull(p + strlen(field[i]), NULL, 10);
	}
	free(text);
	return kib << 10;
}

static int read_number(const char *dir, const char *name, uint64_t *ret)
{
	char path[PATH_MAX];
	FILE *f;
	int n;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "re");
	if (!f)
		return -errno;
	n = fscanf(f, "%" SCNu64, ret); /* "max" is no number: no limit */
	(void)fclose(f);
	return n == 1 ? 0 : -ENODATA;
}

/* What the process' memory cgroup and those above it still allow; UINT64_MAX: no limit known. */
static uint64_t headroom(int pid)
{
	char *text = ckpti_procfs_slurp(pid, "cgroup", NULL);
	char *line = text ? strstr(text, ":memory:") : NULL;
	bool v1 = line != NULL;
	uint64_t least = UINT64_MAX;
	char dir[PATH_MAX], *slash;
	int root;

	if (!line && text)
		line = strstr(text, "0::");
	if (!line) {
		free(text);
		return least;
	}
	line += v1 ? strlen(":memory:") : strlen("0::");
	line[strcspn(line, "\n")] = 0;
	root = snprintf(dir, sizeof(dir), v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup");
	(void)snprintf(dir + root, sizeof(dir) - (size_t)root, "%s", line);
	free(text);
	for (;;) {
		uint64_t limit, used;

		if (read_number(dir, v1 ? "memory.limit_in_bytes" : "memory.max", &limit) == 0 &&
		    read_number(dir, v1 ? "memory.usage_in_bytes" : "memory.current", &used) == 0)
			least = limit <= used ? 0 : limit - used < least ? limit - used : least;
		slash = strrchr(dir, '/');
		if (!slash || slash - dir < root)
			return least;
		*slash = 0;
	}
}

int ckpti_budget_check(struct ckpti_set *set, struct ckpti_store *store, struct ckpti_err *err)
{
	const char *path = ckpti_store_path(store);
	uint64_t need = RESERVE, room, least = UINT64_MAX;
	struct statfs fs;

	for (size_t i = 0; i < set->n; i++)
		need += image_size(set->member[i].info.pid);
	if (fstatfs(ckpti_store_dirfd(store), &fs) < 0 ||
	    (fs.f_type != TMPFS_MAGIC && fs.f_type != RAMFS_MAGIC))
		return 0;
	for (size_t i = 0; i < set->n; i++) {
		room = headroom(set->member[i].info.pid);
		least = room < least ? room : least;
	}
	if (least >= need)
		return 0;
	return ckpti_err(err, -ENOSPC,
			 "'%s' is in memory, and up to %" PRIu64
			 " MiB more would exceed the memory "
			 "limit of the processes (%" PRIu64 " MiB left); use a directory on a disk",
			 path, need >> 20, least >> 20);
}
