/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Removing what nobody needs any more.
 *
 * Order: manifests, then the directory on disk, then parts, so that a crash never leaves a manifest
 * without its parts.  Nothing but files with our names is removed, and nothing that is in use: a
 * task directory with a writer, or one whose files a restarted program has mapped, stays for the
 * next time.  If a manifest cannot be read for another reason than damage, no life is touched.
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
#include "spank/lib/step_private.h"
#include "store/store.h"

#define RANK_PREFIX "rank-" /* as docs/design/0008-mpirun.md has it */
#define TEMP_AGE    3600    /* seconds after which a file is not being written any more */

/* ---- lives -------------------------------------------------------------------------------- */

/* Has somebody a lock on a data file?  Then he has mapped it. */
static bool in_use(int taskfd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	char **names = NULL;
	bool used = false;
	size_t n = 0;
	int fd;

	if (ckpti_fs_names(taskfd, &names, &n) < 0)
		return true;
	for (size_t i = 0; !used && i < n; i++) {
		if (strncmp(names[i], "data-", 5) != 0 && strncmp(names[i], "pin-", 4) != 0)
			continue;
		fd = openat(taskfd, names[i], O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0)
			continue;
		lock.l_type = F_WRLCK;
		used = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
		close(fd);
	}
	ckpti_fs_free_names(names, n);
	return used;
}

/* A statefile directory of cpr. */
static int remove_statefile(int lifefd, const char *name)
{
	char path[64];
	int fd, r;

	fd = ckpti_fs_open_dir(lifefd, name);
	if (fd < 0)
		return fd;
	r = in_use(fd) ? -EBUSY : 0;
	close(fd);
	if (r < 0)
		return r;
	/* By the descriptor, so that no part of the path can be another one by now. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", lifefd, name);
	r = ckpti_store_remove(path, NULL);
	/* Nothing was ever written to it. */
	if (r == -ENODATA)
		r = unlinkat(lifefd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
	return r;
}

/* The ranks of an mpirun have a statefile each, and a file says for each generation which of theirs it is. */
static int remove_ranks(int taskfd, char **names, size_t n)
{
	uint64_t rank;
	int r = 0, one;

	for (size_t i = 0; i < n; i++) {
		if (ckpti_fs_number(names[i], RANK_PREFIX, &rank))
			one = remove_statefile(taskfd, names[i]);
		else
			one = unlinkat(taskfd, names[i], 0) < 0 ? -errno : 0;
		if (one < 0 && r == 0)
			r = one;
	}
	return r;
}

/* What a checkpoint of a task is. */
static int remove_task(int lifefd, const char *name)
{
	int fd = ckpti_fs_open_dir(lifefd, name), r;
	char **names = NULL;
	bool ranks = false;
	uint64_t rank;
	size_t n = 0;

	if (fd < 0)
		return fd;
	r = ckpti_fs_names(fd, &names, &n);
	for (size_t i = 0; r == 0 && i < n; i++)
		ranks |= ckpti_fs_number(names[i], RANK_PREFIX, &rank);
	if (ranks)
		r = remove_ranks(fd, names, n);
	ckpti_fs_free_names(names, n);
	close(fd);
	if (r < 0 || !ranks)
		return r < 0 ? r : remove_statefile(lifefd, name);
	return unlinkat(lifefd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int remove_pins(int lifefd)
{
	char **names = NULL;
	size_t n = 0;
	int fd, r;

	fd = ckpti_fs_open_dir(lifefd, PINS_DIR);
	if (fd < 0)
		return fd;
	r = ckpti_fs_names(fd, &names, &n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		/* pin-<hash>, and what a writer of one left. */
		if (strncmp(names[i], "pin", 3) == 0 && unlinkat(fd, names[i], 0) < 0)
			r = -errno;
	}
	ckpti_fs_free_names(names, n);
	close(fd);
	if (r == 0 && unlinkat(lifefd, PINS_DIR, AT_REMOVEDIR) < 0)
		r = -errno;
	return r;
}

static bool is_one_of(const char *name, const char *const *list)
{
	while (*list && strcmp(*list, name) != 0)
		list++;
	return *list != NULL;
}

/* 0, -EBUSY: something is in use, -ENOTEMPTY: holds foreign files; what could go is gone. */
static int remove_life(const struct ckpti_step *st, uint64_t epoch)
{
	static const char *const ours[] = {"alive", "over", NULL};
	char life[32], **names = NULL;
	uint64_t rank;
	int fd, r, first = 0;
	size_t n = 0;

	(void)snprintf(life, sizeof(life), LIFE_PREFIX "%" PRIu64, epoch);
	fd = ckpti_fs_open_dir(st->dirfd, life);
	if (fd < 0)
		return fd;
	first = ckpti_fs_names(fd, &names, &n);
	for (size_t i = 0; i < n; i++) {
		if (ckpti_fs_number(names[i], TASK_PREFIX, &rank))
			r = remove_task(fd, names[i]);
		else if (strcmp(names[i], PINS_DIR) == 0)
			r = remove_pins(fd);
		else if (is_one_of(names[i], ours) ||
			 strncmp(names[i], CKPTI_STEP_INCLUDE, strlen(CKPTI_STEP_INCLUDE)) == 0 ||
			 strncmp(names[i], CKPTI_FS_TEMP, strlen(CKPTI_FS_TEMP)) == 0)
			r = unlinkat(fd, names[i], 0) < 0 ? -errno : 0;
		else
			r = -ENOTEMPTY;
		if (r < 0 && first == 0)
			first = r;
	}
	ckpti_fs_free_names(names, n);
	close(fd);
	if (first == 0 && unlinkat(st->dirfd, life, AT_REMOVEDIR) < 0)
		first = -errno;
	return first;
}

void ckpti_step_sweep_included(const struct ckpti_step *st, uint32_t epoch, uint64_t round)
{
	char life[32], now[48], **names = NULL;
	size_t n = 0;
	int fd;

	(void)snprintf(life, sizeof(life), LIFE_PREFIX "%" PRIu32, epoch);
	(void)snprintf(now, sizeof(now), CKPTI_STEP_INCLUDE "%" PRIu64 "-", round);
	fd = ckpti_fs_open_dir(st->dirfd, life);
	if (fd < 0)
		return;
	if (ckpti_fs_names(fd, &names, &n) < 0)
		n = 0;
	for (size_t i = 0; i < n; i++)
		if (strncmp(names[i], CKPTI_STEP_INCLUDE, strlen(CKPTI_STEP_INCLUDE)) == 0 &&
		    strncmp(names[i], now, strlen(now)) != 0)
			(void)unlinkat(fd, names[i], 0);
	ckpti_fs_free_names(names, n);
	(void)close(fd);
}

/* ---- what is needed ----------------------------------------------------------------------- */

struct needs {
	uint64_t *epoch; /* of manifests that stay */
	size_t n;
	bool known;
};

/* Drop manifests beyond the newest `keep` good ones; notes the lives that the others need. */
static int drop_manifests(struct ckpti_step *st, const uint64_t *gen, size_t n, unsigned keep,
			  struct needs *needs)
{
	struct ckpti_kv rejected;
	struct ckpti_manifest m;
	unsigned kept = 0;
	char name[32];
	bool good;
	int r;

	(void)ckpti_fs_read_kv(st->dirfd, REJECTED_FILE, &rejected);
	for (r = 0; r == 0 && n > 0;) {
		n--;
		r = ckpti_step_read_manifest(st, gen[n], &m);
		good = r == 0 && !ckpti_step_rejected(&rejected, gen[n]);
		if (r == 0)
			needs->epoch[needs->n] = m.epoch;
		else if (r != -EBADMSG)
			needs->known = false;
		/* One that is damaged or was rejected goes as soon as there is a newer good one. */
		if (kept >= (good ? keep : 1) && (r == 0 || r == -EBADMSG)) {
			(void)snprintf(name, sizeof(name), GEN_PREFIX "%" PRIu64, gen[n]);
			r = unlinkat(st->dirfd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
			ckpti_manifest_free(&m);
			continue;
		}
		needs->n += r == 0;
		kept += good;
		r = 0;
		ckpti_manifest_free(&m);
	}
	ckpti_kv_free(&rejected);
	return r;
}

static bool needed(const struct needs *needs, uint64_t epoch)
{
	for (size_t i = 0; i < needs->n; i++) {
		if (needs->epoch[i] == epoch)
			return true;
	}
	return false;
}

static void drop_temporary(struct ckpti_step *st)
{
	char **names = NULL;
	struct stat sb;
	size_t n = 0;

	if (ckpti_fs_names(st->dirfd, &names, &n) < 0)
		return;
	for (size_t i = 0; i < n; i++) {
		if (strncmp(names[i], CKPTI_FS_TEMP, strlen(CKPTI_FS_TEMP)) == 0 &&
		    fstatat(st->dirfd, names[i], &sb, AT_SYMLINK_NOFOLLOW) == 0 &&
		    sb.st_mtime + TEMP_AGE < time(NULL))
			(void)unlinkat(st->dirfd, names[i], 0);
	}
	ckpti_fs_free_names(names, n);
}

/* Lives before the current one that no manifest needs. */
static int remove_lives(struct ckpti_step *st, uint32_t current_epoch, const struct needs *needs)
{
	uint64_t *life = NULL;
	size_t nlives = 0;
	int r = ckpti_step_numbers(st->dirfd, LIFE_PREFIX, &life, &nlives);

	for (size_t i = 0; r == 0 && needs->known && i < nlives; i++) {
		if (life[i] >= current_epoch || needed(needs, life[i]))
			continue;
		r = remove_life(st, life[i]);
		/* Later, or never: it is nobody's fault. */
		if (r == -EBUSY || r == -ENOTEMPTY || r == -EEXIST)
			r = 0;
	}
	free(life);
	return r;
}

static int prune(struct ckpti_step *st, unsigned keep, uint32_t current_epoch, bool lives,
		 struct ckpti_err *err)
{
	struct needs needs = {.known = true};
	uint64_t *gen = NULL;
	size_t ngens = 0;
	int r;

	r = ckpti_step_superseded(st->dirfd, current_epoch);
	if (r > 0)
		return ckpti_err(err, -ESTALE, "'%s' has been restarted elsewhere", st->path);
	if (r == 0)
		r = ckpti_step_numbers(st->dirfd, GEN_PREFIX, &gen, &ngens);
	needs.epoch = calloc(ngens + 1, sizeof(*needs.epoch));
	if (r == 0 && !needs.epoch)
		r = -ENOMEM;
	if (r == 0)
		r = drop_manifests(st, gen, ngens, keep, &needs);
	if (r == 0 && fsync(st->dirfd) < 0)
		r = -errno;
	if (r == 0 && lives)
		r = remove_lives(st, current_epoch, &needs);
	if (r == 0)
		drop_temporary(st);
	else
		(void)ckpti_err(err, r, "cannot remove old generations of '%s': %s", st->path,
				strerrordesc_np(-r));
	free(needs.epoch);
	free(gen);
	return r;
}

int ckpti_step_prune_manifests(struct ckpti_step *st, unsigned keep, uint32_t current_epoch,
			       struct ckpti_err *err)
{
	return prune(st, keep ? keep : 1, current_epoch, false, err);
}

int ckpti_step_prune(struct ckpti_step *st, unsigned keep, uint32_t current_epoch,
		     struct ckpti_err *err)
{
	return prune(st, keep ? keep : 1, current_epoch, true, err);
}

int ckpti_step_prune_lives(struct ckpti_step *st, uint32_t current_epoch, struct ckpti_err *err)
{
	return prune(st, UINT_MAX, current_epoch, true, err);
}

int ckpti_step_forget(struct ckpti_step *st, struct ckpti_err *err)
{
	uint64_t *gen = NULL;
	char name[32] = ".";
	size_t n = 0;
	int r;

	r = ckpti_step_numbers(st->dirfd, GEN_PREFIX, &gen, &n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		(void)snprintf(name, sizeof(name), GEN_PREFIX "%" PRIu64, gen[i]);
		if (unlinkat(st->dirfd, name, 0) < 0 && errno != ENOENT)
			r = -errno;
	}
	if (r == 0 && fsync(st->dirfd) < 0)
		r = -errno;
	free(gen);
	return r < 0 ? ckpti_step_fail(st, err, r, "remove", name) : 0;
}

/* ---- all of it ---------------------------------------------------------------------------- */

static bool is_small_file(const char *name)
{
	static const char *const ours[] = {REJECTED_FILE, "disabled", "last", "restarts", NULL};

	return is_one_of(name, ours) || strncmp(name, CKPTI_FS_TEMP, strlen(CKPTI_FS_TEMP)) == 0;
}

/* Everything of ours but the file that says that it is. */
static int remove_inside(struct ckpti_step *st, const char **ret_name, char **names, size_t n)
{
	uint64_t number;
	int r = 0, first = 0;

	for (size_t i = 0; r == 0 && i < n; i++) {
		*ret_name = names[i];
		if (ckpti_fs_number(names[i], GEN_PREFIX, &number) &&
		    unlinkat(st->dirfd, names[i], 0) < 0)
			r = -errno;
	}
	if (r == 0 && fsync(st->dirfd) < 0)
		r = -errno;
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (ckpti_fs_number(names[i], LIFE_PREFIX, &number))
			r = remove_life(st, number);
		else if (is_small_file(names[i]))
			r = unlinkat(st->dirfd, names[i], 0) < 0 ? -errno : 0;
		else if (strcmp(names[i], STEP_FILE) != 0 &&
			 !ckpti_fs_number(names[i], GEN_PREFIX, &number))
			r = -ENOTEMPTY;
		/* Foreign files do not keep the rest. */
		if (r == -ENOTEMPTY || r == -EBUSY) {
			if (first == 0)
				*ret_name = names[i];
			first = first ? first : r;
			r = 0;
		} else if (r < 0) {
			*ret_name = names[i];
		}
	}
	return r < 0 ? r : first;
}

int ckpti_step_remove(struct ckpti_step *st, struct ckpti_err *err)
{
	const char *name = ".";
	char **names = NULL;
	size_t n = 0;
	int r;

	r = ckpti_fs_names(st->dirfd, &names, &n);
	if (r == 0)
		r = remove_inside(st, &name, names, n);
	if (r == 0) {
		name = STEP_FILE;
		r = unlinkat(st->dirfd, STEP_FILE, 0) < 0 && errno != ENOENT ? -errno : 0;
	}
	if (r < 0)
		(void)ckpti_step_fail(st, err, r, "remove", name);
	else if (rmdir(st->path) < 0)
		r = ckpti_err(err, -errno, "cannot remove the directory '%s': %s", st->path,
			      strerrordesc_np(errno));
	ckpti_fs_free_names(names, n);
	return r;
}
