/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The directory of a step: who it belongs to, finding and making it, and the epochs of its lives.
 *
 * A new directory is filled under a name of no meaning and then renamed, so that one with a step's
 * name always says whose it is.  Renaming a directory over one that is not empty fails, which makes
 * the name exclusive on any file system.
 */
#include "spank/lib/step.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spank/lib/fs.h"
#include "spank/lib/step_private.h"

#define MAX_CLASHES 1000U

int ckpti_step_fail(const struct ckpti_step *st, struct ckpti_err *err, int code, const char *verb,
		    const char *name)
{
	return ckpti_err(err, code, "cannot %s '%s' in '%s': %s", verb, name, st->path,
			 code == -EBADMSG ? "it is damaged" : strerrordesc_np(-code));
}

/* ---- the identity as a file --------------------------------------------------------------- */

static int write_id(int dirfd, const struct ckpti_step_id *id)
{
	struct ckpti_kv kv;
	int r;

	ckpti_kv_init(&kv);
	ckpti_kv_set_u64(&kv, "format", 1);
	ckpti_kv_set(&kv, "cluster", id->cluster);
	ckpti_kv_set_u64(&kv, "uid", id->uid);
	ckpti_kv_set_u64(&kv, "job", id->job);
	ckpti_kv_set_u64(&kv, "step", id->step);
	ckpti_kv_setf(&kv, "submit_time", "%" PRId64, id->submit_time);
	ckpti_kv_set_u64(&kv, "restarts", id->restarts);
	ckpti_kv_set(&kv, "token", id->token);
	ckpti_kv_set(&kv, "key", id->key);
	ckpti_kv_set_u64(&kv, "ntasks", id->ntasks);
	ckpti_kv_setf(&kv, "set", "%016" PRIx64, id->set_base);
	ckpti_kv_set(&kv, "name", id->name);
	r = ckpti_fs_write_kv(dirfd, STEP_FILE, &kv, false);
	ckpti_kv_free(&kv);
	return r;
}

static void get_text(const struct ckpti_kv *kv, const char *key, char *ret, size_t size)
{
	(void)snprintf(ret, size, "%s", ckpti_kv_get(kv, key, ""));
}

static int read_id(int dirfd, struct ckpti_step_id *ret)
{
	struct ckpti_kv kv;
	int r;

	*ret = (struct ckpti_step_id){0};
	r = ckpti_fs_read_kv(dirfd, STEP_FILE, &kv);
	if (r < 0)
		return r;
	if (ckpti_kv_get_u64(&kv, "format", 0) != 1)
		r = -EPROTONOSUPPORT;
	get_text(&kv, "cluster", ret->cluster, sizeof(ret->cluster));
	ret->uid = (uid_t)ckpti_kv_get_u64(&kv, "uid", (uid_t)-1);
	ret->job = (uint32_t)ckpti_kv_get_u64(&kv, "job", 0);
	ret->step = (uint32_t)ckpti_kv_get_u64(&kv, "step", 0);
	ret->submit_time = ckpti_kv_get_i64(&kv, "submit_time", 0);
	ret->restarts = (unsigned)ckpti_kv_get_u64(&kv, "restarts", 0);
	get_text(&kv, "token", ret->token, sizeof(ret->token));
	get_text(&kv, "key", ret->key, sizeof(ret->key));
	ret->ntasks = (uint32_t)ckpti_kv_get_u64(&kv, "ntasks", 0);
	ret->set_base = strtoull(ckpti_kv_get(&kv, "set", "0"), NULL, 16);
	get_text(&kv, "name", ret->name, sizeof(ret->name));
	if (r == 0 && (ret->ntasks == 0 || strlen(ret->key) != sizeof(ret->key) - 1))
		r = -EBADMSG;
	ckpti_kv_free(&kv);
	return r;
}

/* ---- opening ------------------------------------------------------------------------------ */

/* Open `name` below at; base: its path.  Nothing stays open on failure. */
static int open_at(int at, const char *base, const char *name, struct ckpti_step *ret)
{
	int r;

	ret->dirfd = ckpti_fs_open_dir(at, name);
	if (ret->dirfd < 0)
		return ret->dirfd;
	r = snprintf(ret->path, sizeof(ret->path), "%s/%s", strcmp(base, "/") ? base : "", name);
	r = r >= (int)sizeof(ret->path) ? -ENAMETOOLONG : read_id(ret->dirfd, &ret->id);
	if (r < 0)
		ckpti_step_close(ret);
	return r;
}

/* Open the directory in which steps lie; ret_path: PATH_MAX bytes, absolute. */
static int open_base(const char *base, bool make, char *ret_path, struct ckpti_err *err)
{
	int fd = ckpti_fs_open_path(base, make);

	if (fd >= 0 && !realpath(base, ret_path)) {
		close(fd);
		fd = -errno;
	}
	if (fd < 0)
		return ckpti_err(err, fd, "cannot %s the directory '%s': %s",
				 make ? "make" : "open", base, strerrordesc_np(-fd));
	return fd;
}

int ckpti_step_open(const char *path, struct ckpti_step *ret, struct ckpti_err *err)
{
	char base[PATH_MAX], above[PATH_MAX], *slash;
	int fd, r;

	ret->dirfd = -1;
	/* Links are the user's choice; what they lead to is checked. */
	if (!realpath(path, base))
		return ckpti_err(err, -errno, "cannot open the checkpoint directory '%s': %s", path,
				 strerrordesc_np(errno));
	(void)snprintf(above, sizeof(above), "%s", base);
	slash = strrchr(above, '/');
	if (!slash || !slash[1])
		return ckpti_err(err, -EINVAL, "'%s' is no checkpoint directory of a step", path);
	*slash = '\0';
	fd = open(slash == above ? "/" : above, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot open '%s': %s", above,
				 strerrordesc_np(errno));
	r = open_at(fd, slash == above ? "/" : above, slash + 1, ret);
	close(fd);
	if (r == -EPERM)
		return ckpti_err(err, r,
				 "'%s' is not a directory of yours that is closed to others", path);
	if (r == -ENOENT)
		return ckpti_err(err, r, "'%s' is no checkpoint directory of a step", path);
	if (r < 0)
		return ckpti_err(err, r, "cannot use the checkpoint directory '%s': %s", path,
				 strerrordesc_np(-r));
	return 0;
}

void ckpti_step_close(struct ckpti_step *st)
{
	if (st->dirfd >= 0)
		close(st->dirfd);
	st->dirfd = -1;
}

/* ---- finding ------------------------------------------------------------------------------ */

/* Is `name` "<job>.…"? */
static bool of_job(const char *name, uint32_t job)
{
	char prefix[16];
	int n = snprintf(prefix, sizeof(prefix), "%" PRIu32 ".", job);

	return strncmp(name, prefix, (size_t)n) == 0;
}

/* A name that step_name() gives? */
static bool is_step_name(const char *name, uint32_t job)
{
	const char *rest = of_job(name, job) ? strchr(name, '.') + 1 : "";
	size_t len = strncmp(rest, "batch", 5) == 0 ? 5 : strspn(rest, "0123456789");

	if (len == 0 || !rest[len])
		return len > 0;
	return rest[len] == '.' && rest[len + 1] &&
	       !rest[len + 1 + strspn(rest + len + 1, "0123456789")];
}

/* What cannot be opened, for reason r, and surely is not ours.  Anything else may be: the step must not begin
 * anew beside it. */
static bool is_foreign(int basefd, const char *name, uint32_t job, int r)
{
	struct stat sb;

	if (r == -ENOENT || !is_step_name(name, job))
		return true;
	return fstatat(basefd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (sb.st_uid != geteuid() || !S_ISDIR(sb.st_mode));
}

/* Is `have`, found in a directory, the step that we look for? */
static bool matches(const struct ckpti_step_id *have, const struct ckpti_step_id *want)
{
	if (strcmp(have->cluster, want->cluster) != 0 || have->uid != want->uid ||
	    have->job != want->job || strcmp(have->key, want->key) != 0 ||
	    strcmp(have->token, want->token) != 0)
		return false;
	if (want->token[0] || have->submit_time == want->submit_time)
		return true;
	return want->restarts > 0 && have->submit_time < want->submit_time;
}

int ckpti_step_find(const char *base, const struct ckpti_step_id *id, struct ckpti_step *ret,
		    struct ckpti_err *err)
{
	struct ckpti_step st = {.dirfd = -1};
	char path[PATH_MAX], **names = NULL;
	size_t n = 0;
	int fd, r;

	ret->dirfd = -1;
	fd = open_base(base, false, path, err);
	if (fd < 0)
		return fd;
	r = ckpti_fs_names(fd, &names, &n);
	if (r < 0)
		(void)ckpti_err(err, r, "cannot list '%s': %s", path, strerrordesc_np(-r));
	for (size_t i = 0; r == 0 && i < n; i++) {
		int o;

		if (!of_job(names[i], id->job))
			continue;
		o = open_at(fd, path, names[i], &st);
		if (o < 0 && is_foreign(fd, names[i], id->job, o))
			continue;
		if (o < 0) {
			r = ckpti_err(err, o, "cannot use the checkpoint directory '%s/%s': %s",
				      path, names[i],
				      o == -EPERM     ? "it is not closed to others"
				      : o == -EBADMSG ? "it is damaged"
						      : strerrordesc_np(-o));
			break;
		}
		if (!matches(&st.id, id) ||
		    (ret->dirfd >= 0 && st.id.submit_time < ret->id.submit_time)) {
			ckpti_step_close(&st);
			continue;
		}
		if (ret->dirfd >= 0 && (id->token[0] || st.id.submit_time == ret->id.submit_time)) {
			r = ckpti_err(err, -ENOTUNIQ,
				      "'%s' and '%s' say that they are of the same step", ret->path,
				      st.path);
			ckpti_step_close(&st);
			break;
		}
		ckpti_step_close(ret);
		*ret = st;
	}
	if (r == 0 && ret->dirfd < 0)
		r = ckpti_err(err, -ENOENT, "'%s' holds no checkpoint of this step", path);
	if (r < 0)
		ckpti_step_close(ret);
	ckpti_fs_free_names(names, n);
	close(fd);
	return r;
}

/* ---- making ------------------------------------------------------------------------------- */

static int step_name(const struct ckpti_step_id *id, unsigned clash, char ret[64])
{
	int n;

	if (id->step == CKPTI_STEP_BATCH)
		n = snprintf(ret, 64, "%" PRIu32 ".batch", id->job);
	else
		n = snprintf(ret, 64, "%" PRIu32 ".%" PRIu32, id->job, id->step);
	if (clash > 0)
		n += snprintf(ret + n, 64 - (size_t)n, ".%u", clash);
	return n;
}

/* Rename temp to the first name that is free. */
static int take_name(int basefd, const char *temp, const struct ckpti_step_id *id, char ret[64])
{
	for (unsigned clash = 0; clash < MAX_CLASHES; clash++) {
		step_name(id, clash, ret);
		if (renameat(basefd, temp, basefd, ret) == 0)
			return 0;
		if (errno != ENOTEMPTY && errno != EEXIST && errno != ENOTDIR && errno != EPERM &&
		    errno != EACCES)
			return -errno;
	}
	return -EEXIST;
}

int ckpti_step_make(const char *base, const struct ckpti_step_id *id, struct ckpti_step *ret,
		    struct ckpti_err *err)
{
	char path[PATH_MAX], temp[32], name[64];
	int basefd, dirfd = -1, r;
	bool named = false;
	uint64_t random = 0;

	ret->dirfd = -1;
	if (strlen(id->key) != sizeof(id->key) - 1 || id->ntasks == 0)
		return ckpti_err(err, -EINVAL, "the identity of the step is not complete");
	basefd = open_base(base, true, path, err);
	if (basefd < 0)
		return basefd;
	(void)getrandom(&random, sizeof(random), GRND_NONBLOCK);
	(void)snprintf(temp, sizeof(temp), ".ckpt-%016" PRIx64, random);
	dirfd = ckpti_fs_make_dir(basefd, temp);
	r = dirfd < 0 ? dirfd : write_id(dirfd, id);
	if (r == 0)
		r = take_name(basefd, temp, id, name);
	named = r == 0 && dirfd >= 0;
	if (r == 0 && fsync(basefd) < 0)
		r = -errno;
	if (r < 0 && dirfd >= 0) {
		(void)unlinkat(dirfd, STEP_FILE, 0);
		(void)unlinkat(basefd, named ? name : temp, AT_REMOVEDIR);
	}
	if (r == 0)
		r = open_at(basefd, path, name, ret);
	if (r < 0)
		(void)ckpti_err(err, r, "cannot make a checkpoint directory in '%s': %s", path,
				strerrordesc_np(-r));
	if (dirfd >= 0)
		close(dirfd);
	close(basefd);
	return r;
}

/* ---- epochs ------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int ckpti_step_numbers(int dirfd, const char *prefix, uint64_t **ret, size_t *ret_n)
{
	char **names = NULL;
	size_t n = 0, found = 0;
	uint64_t *number;
	int r = ckpti_fs_names(dirfd, &names, &n);

	if (r < 0)
		return r;
	number = calloc(n + 1, sizeof(*number));
	for (size_t i = 0; number && i < n; i++) {
		if (ckpti_fs_number(names[i], prefix, &number[found]) && number[found] > 0)
			found++;
	}
	ckpti_fs_free_names(names, n);
	if (!number)
		return -ENOMEM;
	qsort(number, found, sizeof(*number), compare);
	*ret = number;
	*ret_n = found;
	return 0;
}

static int newest_epoch(int dirfd, uint32_t *ret)
{
	uint64_t *epoch;
	size_t n;
	int r = ckpti_step_numbers(dirfd, LIFE_PREFIX, &epoch, &n);

	if (r < 0)
		return r;
	*ret = 0;
	while (n > 0 && *ret == 0) {
		if (epoch[--n] <= UINT32_MAX)
			*ret = (uint32_t)epoch[n];
	}
	free(epoch);
	return 0;
}

uint32_t ckpti_step_epoch(const struct ckpti_step *st)
{
	uint32_t epoch = 0;

	return newest_epoch(st->dirfd, &epoch) < 0 ? 0 : epoch;
}

int ckpti_step_take_epoch(struct ckpti_step *st, uint32_t *ret_epoch, struct ckpti_err *err)
{
	uint32_t epoch = 0;
	char name[32];
	int r = newest_epoch(st->dirfd, &epoch);

	if (r == 0 && epoch == UINT32_MAX)
		r = -EOVERFLOW;
	if (r < 0)
		return ckpti_step_fail(st, err, r, "list", ".");
	(void)snprintf(name, sizeof(name), LIFE_PREFIX "%" PRIu32, epoch + 1);
	if (mkdirat(st->dirfd, name, 0700) < 0)
		return errno == EEXIST ? ckpti_err(err, -EEXIST,
						   "another restart of '%s' was faster", st->path)
				       : ckpti_step_fail(st, err, -errno, "make", name);
	if (fchmodat(st->dirfd, name, 0700, 0) < 0 || fsync(st->dirfd) < 0)
		return ckpti_step_fail(st, err, -errno, "make", name);
	*ret_epoch = epoch + 1;
	return 0;
}

int ckpti_step_superseded(int step_dirfd, uint32_t epoch)
{
	uint32_t newest = 0;
	struct statx sx;
	int r;

	/* A network file system answers from memory for half a minute unless it is told to ask. */
	if (statx(step_dirfd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &sx) < 0)
		return -errno;
	r = newest_epoch(step_dirfd, &newest);
	return r < 0 ? r : newest > epoch;
}
