/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening and closing a statefile directory.
 *
 * The path may come from a job script and lie in /tmp, so nothing about it is believed: the last
 * component must be a real directory (no link) that belongs to the caller and that nobody else can
 * write to; from then on every access goes through its descriptor.  Root may read a user's directory
 * and never writes to it: what root would write there is under the user's control.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "store/store_private.h"

int ckpti_store_fail(const struct ckpti_store *st, struct ckpti_err *err, int code,
		     const char *verb, const char *name)
{
	return ckpti_err(err, code, "cannot %s '%s' in '%s': %s", verb, name, st->path,
			 strerrordesc_np(-code));
}

/* ---- the path ----------------------------------------------------------------------------- */

static char *absolute(const char *path)
{
	char *cwd = NULL, *ret = NULL;
	const char *last = strrchr(path, '/');
	size_t len = strlen(path);

	/* A directory that goes by another name in its parent: removing needs that name. */
	last = last ? last + 1 : path;
	if (strcmp(last, ".") == 0 || strcmp(last, "..") == 0)
		return realpath(path, NULL);
	/* A slash at the end would make the kernel follow a link. */
	while (len > 1 && path[len - 1] == '/')
		len--;
	if (path[0] == '/')
		return strndup(path, len);
	cwd = getcwd(NULL, 0);
	if (cwd && asprintf(&ret, "%s/%.*s", strcmp(cwd, "/") ? cwd : "", (int)len, path) < 0)
		ret = NULL;
	free(cwd);
	return ret;
}

static int open_parent(struct ckpti_store *st, struct ckpti_err *err)
{
	char *slash = strrchr(st->path, '/');

	st->base = slash[1] ? slash + 1 : slash;
	if (slash == st->path) {
		st->parentfd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	} else {
		*slash = '\0';
		st->parentfd = open(st->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
		*slash = '/';
	}
	if (st->parentfd < 0)
		return ckpti_err(err, -errno, "cannot open the directory above '%s': %s", st->path,
				 strerrordesc_np(errno));
	return 0;
}

/* ---- who may use it ----------------------------------------------------------------------- */

/* Layout of the attribute: linux/posix_acl_xattr.h. */
struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};
#define ACL_VERSION 2
#define ACL_USER    0x02
#define ACL_GROUP   0x08
#define ACL_MASK    0x10

/* Does an access list let a user or group in that mode bits do not show? */
static bool acl_grants(const struct ckpti_store *st)
{
	struct {
		uint32_t version;
		struct acl_entry entry[1024];
	} acl;
	uint16_t named = 0, mask = 7;
	ssize_t len, i, n;

	len = fgetxattr(st->dirfd, "system.posix_acl_access", &acl, sizeof(acl));
	if (len < 0) /* too long for us is too long to be harmless */
		return errno == ERANGE;
	if (len < (ssize_t)sizeof(acl.version) || acl.version != ACL_VERSION)
		return true;
	n = (len - (ssize_t)sizeof(acl.version)) / (ssize_t)sizeof(acl.entry[0]);
	for (i = 0; i < n; i++) {
		if (acl.entry[i].tag == ACL_MASK)
			mask = acl.entry[i].perm;
		else if (acl.entry[i].tag == ACL_GROUP ||
			 (acl.entry[i].tag == ACL_USER && acl.entry[i].id != st->owner))
			named |= acl.entry[i].perm;
	}
	return (named & mask) != 0;
}

static int check_owner(struct ckpti_store *st, bool write, struct ckpti_err *err)
{
	uid_t me = geteuid();
	struct stat sb;

	if (fstat(st->dirfd, &sb) < 0)
		return ckpti_err(err, -errno, "cannot examine '%s': %s", st->path,
				 strerrordesc_np(errno));
	st->owner = sb.st_uid;
	if (sb.st_uid != me && (write || me != 0))
		return ckpti_err(err, -EPERM,
				 "'%s' belongs to user %" PRIu32 ", not to you (%" PRIu32 ")",
				 st->path, (uint32_t)sb.st_uid, (uint32_t)me);
	if (sb.st_mode & (S_IWGRP | S_IWOTH))
		return ckpti_err(err, -EPERM, "'%s' can be written by others (mode %04o)", st->path,
				 (unsigned)(sb.st_mode & 07777));
	if (acl_grants(st))
		return ckpti_err(err, -EPERM, "'%s' has an access list that lets others in",
				 st->path);
	return 0;
}

int ckpti_store_open_dir(const char *path, bool write, unsigned flags, struct ckpti_store **ret,
			 struct ckpti_err *err)
{
	struct ckpti_store *st = calloc(1, sizeof(*st));
	int r;

	if (!st)
		return ckpti_err(err, -ENOMEM, "no memory");
	st->parentfd = st->dirfd = st->lockfd = -1;
	if (path[0] == '\0') {
		r = ckpti_err(err, -ENOENT, "the path of the statefile directory is empty");
		goto out;
	}
	st->path = absolute(path);
	if (!st->path) {
		r = ckpti_err(err, -errno, "cannot find '%s': %s", path, strerrordesc_np(errno));
		goto out;
	}
	r = open_parent(st, err);
	if (r < 0)
		goto out;
	if (flags & CKPTI_STORE_CREATE) {
		if (mkdirat(st->parentfd, st->base, 0700) == 0)
			st->created = true;
		else if (errno != EEXIST) {
			r = ckpti_err(err, -errno, "cannot make the directory '%s': %s", st->path,
				      strerrordesc_np(errno));
			goto out;
		}
	}
	st->dirfd = openat(st->parentfd, st->base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (st->dirfd < 0) {
		r = -errno;
		if (r == -ENOENT)
			(void)ckpti_err(err, r, "there is no directory '%s'", st->path);
		else if (r == -ENOTDIR || r == -ELOOP)
			r = ckpti_err(err, -EPERM, "'%s' is not a directory, or a link", st->path);
		else
			(void)ckpti_err(err, r, "cannot open the directory '%s': %s", st->path,
					strerrordesc_np(-r));
		goto out;
	}
	/* The umask and a default access list of the parent have had their say; undo it. */
	if (st->created && fchmod(st->dirfd, 0700) < 0) {
		r = ckpti_err(err, -errno, "cannot set the mode of '%s': %s", st->path,
			      strerrordesc_np(errno));
		goto out;
	}
	r = check_owner(st, write, err);
out:
	if (r < 0)
		ckpti_store_close(st);
	else
		*ret = st;
	return r;
}

/* ---- entries ------------------------------------------------------------------------------ */

int ckpti_store_each(struct ckpti_store *st,
		     int (*fn)(struct ckpti_store *st, const char *name, void *arg), void *arg,
		     struct ckpti_err *err)
{
	struct names all = {0};
	char name[NAME_SIZE];
	struct dirent *de;
	DIR *dir = NULL;
	int fd, r = 0;
	size_t i;

	/* A description of its own: that of dirfd has one position for all. */
	fd = openat(st->dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		dir = fdopendir(fd);
	if (!dir) {
		r = ckpti_err(err, -errno, "cannot list '%s': %s", st->path,
			      strerrordesc_np(errno));
		if (fd >= 0)
			close(fd);
		return r;
	}
	/* First list, then act: fn may remove entries. */
	while (r == 0) {
		errno = 0;
		de = readdir(dir);
		if (!de) {
			r = -errno;
			break;
		}
		if (strcmp(de->d_name, ".") == 0 || strcmp(de->d_name, "..") == 0)
			continue;
		/* No name of ours is that long; the cut name is foreign as well. */
		(void)snprintf(name, sizeof(name), "%.*s", NAME_SIZE - 1, de->d_name);
		r = ckpti_names_add(&all, name);
	}
	closedir(dir);
	if (r < 0)
		(void)ckpti_err(err, r, "cannot list '%s': %s", st->path, strerrordesc_np(-r));
	for (i = 0; i < all.n && r == 0; i++)
		r = fn(st, all.v[i], arg);
	ckpti_names_free(&all);
	return r;
}

static int note_generation(struct ckpti_store *st, const char *name, void *arg)
{
	uint64_t number, *gens;

	(void)arg;
	switch (ckpti_store_name(name, &number)) {
	case NAME_GEN:
		gens = reallocarray(st->gens, st->ngens + 1, sizeof(*gens));
		if (!gens)
			return -ENOMEM;
		st->gens = gens;
		gens[st->ngens++] = number;
		return 0;
	case NAME_DATA:
		if (number > st->last_data)
			st->last_data = (uint32_t)number;
		return 0;
	case NAME_FOREIGN:
	case NAME_LOCK:
	case NAME_PIN:
	case NAME_HASHES:
	case NAME_TEMP:
		break;
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

int ckpti_store_scan(struct ckpti_store *st, struct ckpti_err *err)
{
	int r;

	st->ngens = 0;
	r = ckpti_store_each(st, note_generation, NULL, err);
	if (r < 0)
		return ckpti_err(err, r, "cannot list '%s': %s", st->path, strerrordesc_np(-r));
	if (st->ngens > 0)
		qsort(st->gens, st->ngens, sizeof(st->gens[0]), compare);
	return 0;
}

int ckpti_store_open_ours(const struct ckpti_store *st, const char *name, int flags,
			  struct stat *ret_st, struct ckpti_err *err)
{
	struct stat sb;
	int fd, r;

	/* O_NONBLOCK: a FIFO under the name of a data file must not make us hang. */
	fd = openat(st->dirfd, name, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ELOOP)
		return ckpti_err(err, -EPERM, "'%s' in '%s' is a link", name, st->path);
	if (fd < 0)
		return ckpti_store_fail(st, err, -errno, "open", name);
	if (fstat(fd, &sb) < 0) {
		r = ckpti_store_fail(st, err, -errno, "examine", name);
	} else if (!S_ISREG(sb.st_mode)) {
		r = ckpti_err(err, -EPERM, "'%s' in '%s' is not a regular file", name, st->path);
	} else if (sb.st_uid != st->owner || (sb.st_mode & (S_IWGRP | S_IWOTH))) {
		r = ckpti_err(err, -EPERM,
			      "'%s' in '%s' has another owner or can be written by others", name,
			      st->path);
	} else {
		if (ret_st)
			*ret_st = sb;
		return fd;
	}
	close(fd);
	return r;
}

/* ---- open and close ----------------------------------------------------------------------- */

static int refuse_foreign(struct ckpti_store *st, const char *name, void *arg)
{
	uint64_t number;

	if (ckpti_store_name(name, &number) != NAME_FOREIGN)
		return 0;
	return ckpti_err(arg, -ENOTEMPTY,
			 "'%s' holds other files ('%s'): not a statefile directory", st->path,
			 name);
}

int ckpti_store_open_write(const char *path, unsigned flags, struct ckpti_store **ret,
			   struct ckpti_err *err)
{
	struct ckpti_store *st = NULL;
	struct stat sb;
	int r;

	r = ckpti_store_open_dir(path, true, flags, &st, err);
	if (r < 0 || !st)
		return r;
	/* Our lock file marks a directory as ours; without it there must be nothing of others', so
	 * that a home directory given by mistake stays clean. */
	if (fstatat(st->dirfd, LOCK_FILE, &sb, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
		r = ckpti_store_each(st, refuse_foreign, err, err);
		if (r < 0)
			goto out;
	}
	r = ckpti_store_lock_writer(st, err);
	if (r < 0)
		goto out;
	st->writer = true;
	r = ckpti_store_scan(st, err);
	if (r < 0)
		goto out;
	if (st->ngens > 0 && !(flags & CKPTI_STORE_FORCE)) {
		r = ckpti_err(err, -EEXIST, "'%s' holds a checkpoint already", st->path);
		goto out;
	}
	st->generation = ckpti_store_newest(st) + 1;
	r = ckpti_store_tidy(st, err);
out:
	if (r < 0)
		ckpti_store_close(st);
	else
		*ret = st;
	return r;
}

int ckpti_store_open_read(const char *path, struct ckpti_store **ret, struct ckpti_err *err)
{
	struct ckpti_store *st = NULL;
	int r;

	r = ckpti_store_open_dir(path, false, 0, &st, err);
	if (r < 0 || !st)
		return r;
	r = ckpti_store_scan(st, err);
	if (r < 0)
		goto out;
	if (st->ngens == 0) {
		r = ckpti_err(err, -ENODATA, "'%s' holds no complete checkpoint", st->path);
		goto out;
	}
	st->lockfd = openat(st->dirfd, LOCK_FILE, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (st->lockfd < 0 && errno != ENOENT)
		r = ckpti_store_fail(st, err, -errno, "open", LOCK_FILE);
out:
	if (r < 0)
		ckpti_store_close(st);
	else
		*ret = st;
	return r;
}

void ckpti_store_abandon(struct ckpti_store *st)
{
	size_t i;

	(void)unlinkat(st->dirfd, GEN_TEMP, 0);
	(void)unlinkat(st->dirfd, PIN_TEMP, 0);
	for (i = 0; i < st->nfiles; i++)
		(void)unlinkat(st->dirfd, st->files[i].name, 0);
	for (i = 0; i < st->pins.n; i++)
		(void)unlinkat(st->dirfd, st->pins.v[i], 0);
}

void ckpti_store_close(struct ckpti_store *st)
{
	int saved = errno;

	if (!st)
		return;
	if (st->writer && !st->committed)
		ckpti_store_abandon(st);
	/* Leave no trace of a directory that was made for nothing. */
	if (st->created && !st->committed) {
		if (st->writer)
			(void)unlinkat(st->dirfd, LOCK_FILE, 0);
		(void)unlinkat(st->parentfd, st->base, AT_REMOVEDIR);
	}
	ckpti_store_drop_files(st);
	ckpti_store_close(st->shared);
	if (st->lockfd >= 0)
		close(st->lockfd);
	if (st->dirfd >= 0)
		close(st->dirfd);
	if (st->parentfd >= 0)
		close(st->parentfd);
	free(st->spare);
	ckpti_names_free(&st->pins);
	free(st->files);
	free(st->hashes);
	free(st->gens);
	free(st->path);
	free(st);
	errno = saved;
}

int ckpti_store_dirfd(const struct ckpti_store *st)
{
	return st->dirfd;
}

const char *ckpti_store_path(const struct ckpti_store *st)
{
	return st->path;
}

uint64_t ckpti_store_newest(const struct ckpti_store *st)
{
	return st->ngens ? st->gens[st->ngens - 1] : 0;
}

size_t ckpti_store_list(const struct ckpti_store *st, uint64_t *ret, size_t max)
{
	size_t i;

	for (i = 0; i < st->ngens && i < max; i++)
		ret[i] = st->gens[i];
	return st->ngens;
}

uint64_t ckpti_store_generation(const struct ckpti_store *st)
{
	return st->generation;
}
