/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who a step is in its job.  Step numbers depend on the order in which things happen, so a step is
 * known by what it runs, and equal ones by how many of them this life of the job has started
 * before.  Each start leaves an empty file, made exclusively, in a directory of the user's in BASE:
 *
 *     .steps.<uid>/<job>.<which job>.<restarts>.<which step>.<occurrence>
 *
 * Equal steps that are started at the same time may come in another order in the next life.  So the file
 * says where the input and output of its step went, and a later life gives the number to the step whose
 * own go there: none of them goes on in the output of another one.
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

/* ---- numbers ------------------------------------------------------------------------------ */

/* A file that stands for the start of an equal step of this job. */
struct started {
	unsigned restarts;
	uint64_t number;
	char name[160];
};

struct equals {
	int dirfd;
	const struct ckpti_step_id *id;
	char prefix[64]; /* of all files of the job */
	char suffix[20]; /* ".<which step>." */
	char stdio[17];  /* of our step, as in the files */
	unsigned restarts;
	struct started *start;
	size_t n;
};

static bool read_name(const struct equals *e, const char *name, struct started *ret)
{
	const size_t job = strcspn(e->prefix, "."), len = strlen(e->prefix);
	bool known = strncmp(name, e->prefix, len) == 0;
	char *end;

	if (strncmp(name, e->prefix, job + 1) != 0 || strlen(name) <= len ||
	    strlen(name) >= sizeof(ret->name))
		return false;
	ret->restarts = (unsigned)strtoul(name + len, &end, 10);
	/* Without a token earlier lives have other times, and so another prefix. */
	if (!known && (e->id->token[0] || ret->restarts >= e->restarts))
		return false;
	(void)strcpy(ret->name, name);
	return ckpti_fs_number(end, e->suffix, &ret->number) && ret->number < MAX_OCCURRENCES;
}

/* Those that are there; jobs of long ago are cleared away. */
static int list(struct equals *e)
{
	char **names = NULL;
	struct stat sb;
	size_t n = 0;
	int r = ckpti_fs_names(e->dirfd, &names, &n);

	if (r < 0)
		return r;
	e->start = calloc(n + 1, sizeof(*e->start));
	if (!e->start)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (read_name(e, names[i], &e->start[e->n]))
			e->n++;
		else if (strncmp(names[i], e->prefix, strlen(e->prefix)) != 0 &&
			 fstatat(e->dirfd, names[i], &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
			 S_ISREG(sb.st_mode) && sb.st_mtime + MAX_AGE < time(NULL))
			(void)unlinkat(e->dirfd, names[i], 0);
	}
	ckpti_fs_free_names(names, n);
	return r;
}

/* Has a step of this life of the job got the number? */
static bool is_taken(const struct equals *e, uint64_t number)
{
	for (size_t i = 0; i < e->n; i++) {
		if (e->start[i].restarts == e->restarts && e->start[i].number == number)
			return true;
	}
	return false;
}

static bool has_our_stdio(const struct equals *e, const struct started *s)
{
	char *text = NULL;
	size_t len;
	bool same = ckpti_fs_read(e->dirfd, s->name, 64, &text, &len) == 0 &&
		    strcmp(text, e->stdio) == 0;

	free(text);
	return same;
}

/* The lowest that is free and had our input and output in an earlier life, else the lowest that is
 * free at all. */
static unsigned choose(const struct equals *e)
{
	uint64_t best = MAX_OCCURRENCES;
	unsigned first = 0;

	for (size_t i = 0; i < e->n; i++) {
		const struct started *s = &e->start[i];

		if (s->restarts < e->restarts && s->number < best && !is_taken(e, s->number) &&
		    has_our_stdio(e, s))
			best = s->number;
	}
	while (best == MAX_OCCURRENCES && is_taken(e, first))
		first++;
	return best < MAX_OCCURRENCES ? (unsigned)best : first;
}

/* -EEXIST: another step was faster. */
static int take(const struct equals *e, unsigned number)
{
	char name[160];
	int fd, r = 0;

	(void)snprintf(name, sizeof(name), "%s%u%s%u", e->prefix, e->restarts, e->suffix, number);
	fd = openat(e->dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	if (write(fd, e->stdio, strlen(e->stdio)) < 0 || fsync(fd) < 0 || fsync(e->dirfd) < 0)
		r = -errno;
	close(fd);
	return r;
}

/* What earlier lives say of this number is of no use any more. */
static void forget_earlier(const struct equals *e, unsigned number)
{
	for (size_t i = 0; i < e->n; i++) {
		if (e->start[i].number == number && e->start[i].restarts < e->restarts)
			(void)unlinkat(e->dirfd, e->start[i].name, 0);
	}
}

static int take_number(struct equals *e, unsigned *ret)
{
	unsigned n = 0;
	int r;

	do {
		free(e->start);
		e->start = NULL;
		e->n = 0;
		r = list(e);
		if (r < 0)
			break;
		n = choose(e);
		r = n < MAX_OCCURRENCES ? take(e, n) : -EOVERFLOW;
	} while (r == -EEXIST);
	if (r == 0)
		forget_earlier(e, n);
	free(e->start);
	*ret = n;
	return r;
}

int ckpti_step_occurrence(const char *base, const struct ckpti_step_id *id, unsigned restart_count,
			  const char *name, const char *cwd, const char *stdio, unsigned *ret,
			  struct ckpti_err *err)
{
	struct equals e = {.dirfd = -1, .id = id, .restarts = restart_count};
	char dir[32], which[33];
	int basefd, r;

	(void)snprintf(dir, sizeof(dir), ".steps.%u", (unsigned)id->uid);
	job_prefix(id, e.prefix);
	ckpti_step_key(name, cwd, id->ntasks, 0, which);
	(void)snprintf(e.suffix, sizeof(e.suffix), ".%.16s.", which);
	(void)snprintf(e.stdio, sizeof(e.stdio), "%016" PRIx64, XXH3_64bits(stdio, strlen(stdio)));
	basefd = ckpti_fs_open_path(base, true);
	r = basefd;
	if (basefd >= 0) {
		r = e.dirfd = ckpti_fs_make_dir(basefd, dir);
		close(basefd);
	}
	if (e.dirfd >= 0) {
		r = take_number(&e, ret);
		close(e.dirfd);
	}
	if (r < 0)
		return ckpti_err(err, r, "cannot count the steps of job %" PRIu32 " in '%s/%s': %s",
				 id->job, base, dir, strerrordesc_np(-r));
	return 0;
}
