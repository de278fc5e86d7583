/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int registry_dir(char *out, size_t size)
{
	const char *state = getenv("XDG_STATE_HOME");
	const char *home = getenv("HOME");
	int n;

	if (state && state[0] == '/')
		n = snprintf(out, size, "%s/posix-ckpt", state);
	else if (home && home[0] == '/')
		n = snprintf(out, size, "%s/.local/state/posix-ckpt", home);
	else
		return -ENOENT;
	return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

static void make_directories(char *path)
{
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		(void)mkdir(path, 0700);
		*p = '/';
	}
	(void)mkdir(path, 0700);
}

void ckpti_registry_note(uint64_t set_id, const char *dir, uint64_t generation)
{
	char path[PATH_MAX], tmp[PATH_MAX + 96], final[PATH_MAX + 64];
	struct timespec now;
	FILE *f;

	if (!set_id || registry_dir(path, sizeof(path)) < 0)
		return;
	make_directories(path);
	(void)clock_gettime(CLOCK_REALTIME, &now);
	(void)snprintf(final, sizeof(final), "%s/%016" PRIx64, path, set_id);
	(void)snprintf(tmp, sizeof(tmp), "%s.%d", final, (int)getpid());
	f = fopen(tmp, "we");
	if (!f)
		return;
	(void)fprintf(f, "%" PRIu64 " %" PRId64 " %s\n", generation,
		      (int64_t)now.tv_sec * 1000000000 + now.tv_nsec, dir);
	if (fclose(f) != 0 || rename(tmp, final) < 0)
		(void)unlink(tmp);
}

int ckpti_registry_find(uint64_t set_id, char *dir, uint64_t *ret_generation, int64_t *ret_ctime_ns)
{
	char path[PATH_MAX], file[PATH_MAX + 64], line[PATH_MAX + 64];
	int n = 0, r = 0;
	FILE *f;

	if (!set_id || registry_dir(path, sizeof(path)) < 0)
		return 0;
	(void)snprintf(file, sizeof(file), "%s/%016" PRIx64, path, set_id);
	f = fopen(file, "re");
	if (!f)
		return 0;
	if (fgets(line, sizeof(line), f) &&
	    sscanf(line, "%" SCNu64 " %" SCNd64 " %n", ret_generation, ret_ctime_ns, &n) == 2 &&
	    n) {
		line[strcspn(line, "\n")] = 0;
		(void)snprintf(dir, PATH_MAX, "%s", line + n);
		r = 1;
	}
	(void)fclose(f);
	return r;
}
