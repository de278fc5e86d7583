/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Putting files back at the point of no return.  Nothing of the user's is lost: what is cut off is
 * kept as FILE.ckpt-tail.GENERATION, what is overwritten as FILE.ckpt-old.GENERATION (with .1, .2 …
 * when that exists), or in the statefile directory when the file's own does not take it.  The copy is
 * on disk before the file is touched.  The inode stays: the restored processes have it open already.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "state/file_private.h"

#define NSEC      1000000000LL
#define MAX_TRIES 1000

/* Make an empty file BASE.ckpt-WHAT.GENERATION[.n] that did not exist.  fd or -errno. */
static int make_kept(const struct ckpti_rebuild *rb, const char *base, const char *what, char *name,
		     size_t size)
{
	for (int i = 0; i < MAX_TRIES; i++) {
		int n = snprintf(name, size, "%s.ckpt-%s.%" PRIu64, base, what, rb->generation);

		if (i > 0 && n < (int)size)
			n += snprintf(name + n, size - (size_t)n, ".%d", i);
		if (n >= (int)size)
			return -ENAMETOOLONG;
		n = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (n >= 0 || errno != EEXIST)
			return n < 0 ? -errno : n;
	}
	return -EEXIST;
}

/* Keep bytes [from, st_size) of the file before they go. */
static int keep(struct ckpti_rebuild *rb, const char *path, int fd, const struct stat *st,
		uint64_t from, const char *what, struct ckpti_err *err)
{
	const char *slash = strrchr(path, '/');
	char name[PATH_MAX], base[PATH_MAX];
	int out, r;

	out = make_kept(rb, path, what, name, sizeof(name));
	if (out == -EACCES || out == -EPERM || out == -EROFS) {
		r = snprintf(base, sizeof(base), "%s/%s", ckpti_store_path(rb->store),
			     slash ? slash + 1 : path);
		if (r < (int)sizeof(base))
			out = make_kept(rb, base, what, name, sizeof(name));
	}
	if (out < 0)
		return ckpti_err_obj(err, out, 0, path,
				     "cannot keep what '%.200s' holds now as %s: %s", path, what,
				     strerror(-out));
	r = ckpti_fd_copy(fd, from, out, 0, (uint64_t)st->st_size - from);
	if (r == 0 && (fchmod(out, st->st_mode & 0777) < 0 || fdatasync(out) < 0))
		r = -errno;
	/* Only root can give files away; then the copy stays with the one who restarts. */
	if (r == 0 && fchown(out, st->st_uid, st->st_gid) < 0 && errno != EPERM)
		r = -errno;
	if (r < 0) {
		(void)unlink(name);
		(void)ckpti_err_obj(err, r, 0, path,
				    "cannot keep what '%.200s' holds now in '%.100s': %s", path,
				    name, strerror(-r));
	}
	(void)close(out);
	return r;
}

int ckpti_file_keep(struct ckpti_rebuild *rb, const char *path, int fd, const struct stat *st,
		    struct ckpti_err *err)
{
	return keep(rb, path, fd, st, 0, "old", err);
}

static int put_back(struct ckpti_rebuild *rb, const struct ckpti_file *f, int fd,
		    struct ckpti_err *err)
{
	int r, equal = 1;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return ckpti_err_obj(err, -errno, 0, f->path, "cannot stat '%.200s': %s", f->path,
				     strerror(errno));
	if (f->rec.content) {
		equal = ckpti_content_equal(rb, (uint32_t)f->rec.content, fd, err);
		if (equal < 0)
			return equal;
	} else if ((uint64_t)st.st_size < f->rec.size) {
		return ckpti_err_obj(err, -ESTALE, 0, f->path,
				     "'%.200s' has become shorter during the restart", f->path);
	}
	if (!equal) {
		r = keep(rb, f->path, fd, &st, 0, "old", err);
		/* First: another file of that name may be open to those who could not read this one. */
		if (r == 0 && (st.st_mode & 07777) != f->rec.mode && fchmod(fd, f->rec.mode) < 0)
			r = ckpti_err_obj(err, -errno, 0, f->path,
					  "cannot set the mode of '%.200s': %s", f->path,
					  strerror(errno));
		return r < 0 ? r : ckpti_content_restore(rb, (uint32_t)f->rec.content, fd, err);
	}
	if ((uint64_t)st.st_size == f->rec.size)
		return 0;
	r = keep(rb, f->path, fd, &st, f->rec.size, "tail", err);
	if (r == 0 && ftruncate(fd, (off_t)f->rec.size) < 0)
		r = ckpti_err_obj(err, -errno, 0, f->path, "cannot truncate '%.200s': %s", f->path,
				  strerror(errno));
	return r;
}

int ckpti_file_fit(struct ckpti_rebuild *rb, const struct ckpti_file *f, int fd,
		   struct ckpti_err *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};
	int r = put_back(rb, f, fd, err);

	if (r < 0)
		return r;
	/* So that make and the like see it as old as it is; not ours to set when the owner differs. */
	times[1].tv_sec = f->rec.mtime_ns / NSEC;
	times[1].tv_nsec = f->rec.mtime_ns % NSEC;
	(void)futimens(fd, times);
	return 0;
}

int ckpti_file_settle(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_file *f;
	struct stat a, b;
	int fd, r;

	r = ckpti_file_get(rb, d, &f, err);
	if (r == 0 && f->rec.included)
		return ckpti_file_settle_included(rb, f, err);
	if (r < 0 || f->plan != CKPTI_FILE_FIT)
		return r;
	fd = open(f->path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, f->path, "cannot open '%.200s': %s", f->path,
				     strerror(errno));
	if (fstat(fd, &a) < 0 || fstat(d->fd, &b) < 0 || a.st_dev != b.st_dev ||
	    a.st_ino != b.st_ino) {
		r = ckpti_err_obj(err, -ESTALE, 0, f->path,
				  "'%.200s' was replaced during the restart", f->path);
		goto out;
	}
	r = ckpti_file_fit(rb, f, fd, err);
out:
	(void)close(fd);
	return r;
}
