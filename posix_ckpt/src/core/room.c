/* SPDX-License-Identifier: BSD-3-Clause */
/* Memory that processes have, and that their control group still allows; v1 or v2. */
#include "core/room.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/procfs.h"

uint64_t ckpti_room_image_size(int pid)
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
	char path[PATH_MAX + 32];
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

/* The directory of a process' memory cgroup: 1 version 1, 0 version 2. */
static int memory_cgroup(int pid, char *dir, size_t size, size_t *ret_root)
{
	char *text = ckpti_procfs_slurp(pid, "cgroup", NULL);
	char *line = text ? strstr(text, ":memory:") : NULL;
	bool v1 = line != NULL;
	int r = -ENOENT;

	if (!line && text)
		line = strstr(text, "0::");
	if (line) {
		line += v1 ? strlen(":memory:") : strlen("0::");
		line[strcspn(line, "\n")] = 0;
		*ret_root = strlen(v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup");
		r = snprintf(dir, size, "%s%s", v1 ? "/sys/fs/cgroup/memory" : "/sys/fs/cgroup",
			     line);
		r = r < (int)size ? v1 : -ENAMETOOLONG;
	}
	free(text);
	return r;
}

uint64_t ckpti_room_left(int pid, uint64_t *ret_limit)
{
	uint64_t least = CKPTI_ROOM_NO_LIMIT, limit, used;
	char dir[PATH_MAX], *slash;
	size_t root;
	int v1 = memory_cgroup(pid, dir, sizeof(dir), &root);

	*ret_limit = CKPTI_ROOM_NO_LIMIT;
	if (v1 < 0)
		return least;
	for (;;) {
		if (read_number(dir, v1 ? "memory.limit_in_bytes" : "memory.max", &limit) == 0 &&
		    read_number(dir, v1 ? "memory.usage_in_bytes" : "memory.current", &used) == 0 &&
		    (limit <= used || limit - used < least)) {
			least = limit <= used ? 0 : limit - used;
			*ret_limit = limit;
		}
		slash = strrchr(dir, '/');
		if (!slash || (size_t)(slash - dir) < root)
			return least;
		*slash = 0;
	}
}
