/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who a step is in its job.  Step numbers depend on the order in which things happen, so a step is
 * known by what it runs, and equal ones by how many of them this life of the job has started
 * before.  Each start leaves an empty file, made exclusively, in a directory of the user's in BASE:
 *
 *     .steps.<uid>/<job>.<which job>.<restarts>.<which step>.<occurrence>
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "spank/lib/fs.h"
#include "spank/lib/step.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAX_OCCURRENCES 1000000U
#define MAX_AGE         (400 * 86400) /* seconds: no job is as old */

void ckpti_step_key(const char *name, const char *cwd, uint32_t ntasks, unsigned occurrence,
		    char *ret)
{
	XXH3_state_t *state = XXH3_createState();
	XXH128_hash_t hash = {0};
	char numbers[32];

	(void)snprintf(numbers, sizeof(numbers), "%" PRIu32 ".%u", ntasks, occurrence);
	if (state) {
		(void)XXH3_128bits_reset(state);
		/* With their NULs: "ab" "c" is not "a" "bc". */
		(void)XXH3_128bits_update(state, name, strlen(name) + 1);
		(void)XXH3_128bits_update(state, cwd, strlen(cwd) + 1);
		(void)XXH3_128bits_update(state, numbers, strlen(numbers) + 1);
		hash = XXH3_128bits_digest(state);
		(void)XXH3_freeState(state);
	}
	(void)snprintf(ret, 33, "%016" PRIx64 "%016" PRIx64, hash.high64, hash.low64);
}

/* "<job>.<which job>." of every file of this job. */
static void job_prefix(const struct ckpti_step_id *id, char ret[64])
{
	char text[sizeof(id->cluster) + sizeof(id->token) + 32];
	int n;

	/* The time changes when the job is requeued; the token does not. */
	n = snprintf(text, sizeof(text), "%s/%s/%" PRId64, id->cluster, id->token,
		     id->token[0] ? 0 : id->submit_time);
	(void)snprintf(ret, 64, "%" PRIu32 ".%016" PRIx64 ".", id->job,
		       XXH3_64bits(text, (size_t)n));
}

/* Files of earlier lives of this job, and of jobs of long ago. */
static void tidy(int dirfd, const char *prefix, unsigned restart_count)
{
	char **names = NULL;
	struct stat sb;
	size_t n = 0;

	if (ckpti_fs_names(dirfd, &names, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		if ((strncmp(names[i], prefix, strlen(prefix)) == 0 &&
		     strtoul(names[i] + strlen(prefix), NULL, 10) < restart_count) ||
		    (fstatat(dirfd, names[i], &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
		     S_ISREG(sb.st_mode) && sb.st_mtime + MAX_AGE < time(NULL)))
			(void)unlinkat(dirfd, names[i], 0);
	}
	ckpti_fs_free_names(names, n);
}

/* One more than the highest number that is there. */
static unsigned next_number(int dirfd, const char *stem)
{
	char **names = NULL, prefix[160];
	uint64_t number;
	unsigned next = 0;
	size_t n = 0;

	(void)snprintf(prefix, sizeof(prefix), "%s.", stem);
	if (ckpti_fs_names(dirfd, &names, &n) < 0)
		return 0;
	for (size_t i = 0; i < n; i++) {
		if (ckpti_fs_number(names[i], prefix, &number) && number >= next &&
		    number < MAX_OCCURRENCES)
			next = (unsigned)number + 1;
	}
	ckpti_fs_free_names(names, n);
	return next;
}

/* The first number whose file we make. */
static int take_number(int dirfd, const char *stem, unsigned *ret)
{
	char name[160];
	int fd;

	for (unsigned n = next_number(dirfd, stem); n < MAX_OCCURRENCES; n++) {
		(void)snprintf(name, sizeof(name), "%s.%u", stem, n);
		fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			    0600);
		if (fd >= 0) {
			close(fd);
			*ret = n;
			return fsync(dirfd) < 0 ? -errno : 0;
		}
		if (errno != EEXIST)
			return -errno;
	}
	return -EOVERFLOW;
}

int ckpti_step_occurrence(const char *base, const struct ckpti_step_id *id, unsigned restart_count,
			  const char *name, const char *cwd, unsigned *ret, struct ckpti_err *err)
{
	char dir[32], prefix[64], stem[128], which[33];
	int basefd, fd = -1, r;

	(void)snprintf(dir, sizeof(dir), ".steps.%u", (unsigned)id->uid);
	job_prefix(id, prefix);
	ckpti_step_key(name, cwd, id->ntasks, 0, which);
	(void)snprintf(stem, sizeof(stem), "%s%u.%.16s", prefix, restart_count, which);
	basefd = ckpti_fs_open_path(base, true);
	r = basefd;
	if (basefd >= 0) {
		r = fd = ckpti_fs_make_dir(basefd, dir);
		close(basefd);
	}
	if (fd >= 0) {
		r = take_number(fd, stem, ret);
		if (r == 0 && *ret == 0)
			tidy(fd, prefix, restart_count);
		close(fd);
	}
	if (r < 0)
		return ckpti_err(err, r, "cannot count the steps of job %" PRIu32 " in '%s/%s': %s",
				 id->job, base, dir, strerrordesc_np(-r));
	return 0;
}
