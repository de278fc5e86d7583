/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regular files: path, offset, flags, and a copy of the content while it is small enough, for whatever
 * happens to the file until the restart.  Files without a name are always saved in full.  Two
 * descriptions of one path are two opens; two of one deleted file share the file that takes its
 * place.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ckpt.h"
#include "state/file_private.h"
#include "state/kinds.h"

#define NSEC 1000000000LL

/* What may be given to open() again; the rest of the flags takes F_SETFL. */
#define OPEN_FLAGS (O_ACCMODE | O_SYNC | O_DSYNC | O_PATH)

/* ---- saving ------------------------------------------------------------------------------- */

static int file_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	const char *lock = d->fdinfo;
	char path[PATH_MAX];

	if (!S_ISREG(d->st.st_mode))
		return 0;
	(void)ckpti_desc_path(d, path);
	if (path[0] != '/')
		return ckpti_desc_err(d, err, -ENOTSUP, "is a file outside the root");
	/* Before the file is touched: a second open breaks a lease. */
	while ((lock = ckpti_fdinfo_field(lock, "lock")) != NULL) {
		const char *colon = strchr(lock, ':');

		if (colon && strncmp(colon, ": LEASE", 7) == 0)
			return ckpti_desc_err(d, err, -ENOTSUP, "holds a lease");
		lock += strcspn(lock, "\n");
	}
	return 1;
}

bool ckpti_fd_volatile(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC);
}

/* A file that is only read and that the user cannot change is part of the system. */
static bool can_change(const struct ckpti_desc *d, const struct stat *st, const char *path)
{
	struct statvfs fs;

	if (ckpti_oflags_write((uint32_t)d->oflags) || st->st_uid == geteuid())
		return fstatvfs(d->fd, &fs) < 0 || !(fs.f_flag & ST_RDONLY);
	return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
}

/* Content of the same inode that an earlier description has brought into the image. */
static uint32_t earlier_content(const struct ckpti_capture *cap, const struct ckpti_desc *d)
{
	for (size_t i = 0; i < cap->ndesc; i++) {
		const struct ckpti_desc *e = &cap->desc[i];

		if (e != d && e->kind == &ckpti_kind_file && e->priv &&
		    e->st.st_dev == d->st.st_dev && e->st.st_ino == d->st.st_ino)
			return *(const uint32_t *)e->priv;
	}
	return 0;
}

static int save_content(struct ckpti_capture *cap, struct ckpti_desc *d, uint64_t size, bool must,
			uint32_t *ret_id, struct ckpti_err *err)
{
	struct ckpti_err why = {0};
	uint32_t id = earlier_content(cap, d), *priv;
	int r;

	if (!id) {
		r = ckpti_content_save(cap, d->fd, size, &id, &why);
		/* A file that the program may write but nobody may read: as if it were too large. */
		if ((r == -EACCES || r == -EPERM) && !must)
			return 0;
		if (r < 0)
			return ckpti_desc_err(d, err, r, "cannot be saved: %s", why.text);
	}
	priv = malloc(sizeof(*priv));
	if (!priv)
		return ckpti_desc_err(d, err, -ENOMEM, "cannot be saved: no memory");
	*priv = id;
	free(d->priv);
	d->priv = priv;
	*ret_id = id;
	return 0;
}

int ckpti_file_policy(const struct ckpti_capture *cap, const char *path)
{
	for (size_t i = 0; i < cap->nrules; i++)
		if (fnmatch(cap->rules[i].glob, path, 0) == 0)
			return cap->rules[i].action;
	return 0;
}

/* Must the image have a copy, however large? */
static bool needs_copy(const struct ckpti_desc *d, const struct ckpti_r_obj_file *rec)
{
	return rec->gone || rec->policy == CKPT_FILE_REPLACE ||
	       rec->policy == CKPT_FILE_SUBSTITUTE || ckpti_fd_volatile(d->fd);
}

static bool saves_content(const struct ckpti_capture *cap, const struct ckpti_desc *d,
			  const struct ckpti_r_obj_file *rec, const struct stat *st,
			  const char *path)
{
	if (d->oflags & O_PATH) /* a mere name, unless nothing else leads to the file any more */
		return rec->gone;
	return needs_copy(d, rec) ||
	       (!ckpti_file_pseudo(path) && (uint64_t)st->st_size <= cap->copy_limit &&
		can_change(d, st, path));
}

static int file_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_file rec = {0};
	char path[PATH_MAX];
	const char *str[1] = {path};
	uint32_t content = 0;
	struct stat st;
	int r;

	if (ckpti_shm_of(cap, d->st.st_dev, d->st.st_ino))
		return ckpti_kind_memfd.save(cap, d, err);
	if (fstat(d->fd, &st) < 0)
		return ckpti_desc_err(d, err, -errno, "cannot be read: %s", strerror(errno));
	rec.gone = ckpti_desc_path(d, path);
	rec.policy = (uint32_t)ckpti_file_policy(cap, path);
	r = ckpti_desc_pos(d, &rec.pos, err);
	if (r < 0)
		return r;
	if (saves_content(cap, d, &rec, &st, path)) {
		r = save_content(cap, d, (uint64_t)st.st_size, rec.gone, &content, err);
		if (r < 0)
			return r;
	}
	ckpti_obj_head(d, &rec.o);
	rec.size = (uint64_t)st.st_size;
	rec.mtime_ns = (int64_t)st.st_mtim.tv_sec * NSEC + st.st_mtim.tv_nsec;
	rec.content = content;
	rec.mode = st.st_mode & 07777;
	rec.uid = st.st_uid;
	rec.gid = st.st_gid;
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_FILE, &rec, sizeof(rec), str, 1, NULL, 0, 0);
	return r < 0 ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r)) : 0;
}

/* ---- restoring ---------------------------------------------------------------------------- */

static int file_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_file *f;

	return ckpti_file_get(rb, d, &f, err);
}

/* Offset and flags; takes fd over. */
static int take(struct ckpti_redesc *d, const struct ckpti_file *f, int fd, struct ckpti_err *err)
{
	off_t pos = (off_t)f->rec.pos;
	int whence = SEEK_SET, r = 0;

	if (f->rec.policy == CKPT_FILE_IGNORE)
		pos = 0;
	if (f->rec.policy == CKPT_FILE_APPEND) {
		pos = 0;
		whence = SEEK_END;
	}
	if (!(f->rec.o.oflags & O_PATH) && lseek(fd, pos, whence) < 0)
		r = -errno;
	if (r == 0)
		r = ckpti_obj_apply(fd, &f->rec.o);
	if (r < 0) {
		(void)close(fd);
		return ckpti_err_obj(err, r, 0, f->path, "cannot set up '%.200s': %s", f->path,
				     strerror(-r));
	}
	d->fd = fd;
	return 0;
}

int ckpti_file_make_named(const struct ckpti_file *f)
{
	int fd, r;

	r = ckpti_make_parents(f->path);
	if (r < 0)
		return r;
	fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return fd < 0 ? -errno : fd;
}

static int make_and_unlink(char *path)
{
	int fd = mkostemp(path, O_CLOEXEC);

	if (fd < 0)
		return -errno;
	(void)unlink(path);
	return fd;
}

static bool same_file(const struct ckpti_file *a, const struct ckpti_file *b)
{
	return a->plan == b->plan && a->rec.o.dev == b->rec.o.dev && a->rec.o.ino == b->rec.o.ino &&
	       a->rec.gone == b->rec.gone &&
	       (a->plan == CKPTI_FILE_UNNAMED || strcmp(a->path, b->path) == 0);
}

/* Open every description of the file that was just made.  Its mode is still 0600: a program may hold
 * what a new open() would refuse. */
static int open_all(struct ckpti_rebuild *rb, const struct ckpti_file *f, int made,
		    struct ckpti_err *err)
{
	for (size_t i = 0; i < rb->ndesc; i++) {
		struct ckpti_redesc *d = &rb->desc[i];
		struct ckpti_file *g;
		int r;

		if (d->rec.type != CKPTI_R_OBJ_FILE || d->fd >= 0)
			continue;
		r = ckpti_file_get(rb, d, &g, err);
		if (r < 0)
			return r;
		if (!same_file(f, g) || g->rec.included)
			continue;
		r = ckpti_fd_reopen(made, (int)g->rec.o.oflags & OPEN_FLAGS);
		if (r < 0)
			return ckpti_err_obj(err, r, 0, g->path, "cannot open '%.200s' anew: %s",
					     g->path, strerror(-r));
		r = take(d, g, r, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int ckpti_file_set_attributes(const struct ckpti_file *f, int fd, struct ckpti_err *err)
{
	struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}};

	/* Owner first: it clears set-user-id bits.  Only root can give files away. */
	if ((fchown(fd, f->rec.uid, f->rec.gid) < 0 && errno != EPERM) ||
	    fchmod(fd, f->rec.mode) < 0)
		return ckpti_err_obj(err, -errno, 0, f->path,
				     "cannot set owner and mode of '%.200s': %s", f->path,
				     strerror(errno));
	times[1].tv_sec = f->rec.mtime_ns / NSEC;
	times[1].tv_nsec = f->rec.mtime_ns % NSEC;
	(void)futimens(fd, times);
	return 0;
}

/* MAKE and UNNAMED: a new file from saved content. */
static int remake(struct ckpti_rebuild *rb, const struct ckpti_file *f, struct ckpti_err *err)
{
	bool named = f->plan == CKPTI_FILE_MAKE;
	int fd, r;

	fd = named ? ckpti_file_make_named(f)
		   : ckpti_make_unnamed(rb->store, f->path, make_and_unlink);
	if (fd == -EEXIST)
		return fd; /* another task of the job has just made it */
	if (fd < 0)
		return ckpti_err_obj(err, fd, 0, f->path, "cannot make '%.200s' anew: %s", f->path,
				     strerror(-fd));
	r = ckpti_content_restore(rb, (uint32_t)f->rec.content, fd, err);
	if (r == 0)
		r = open_all(rb, f, fd, err);
	if (r == 0)
		r = ckpti_file_set_attributes(f, fd, err);
	if (r < 0 && named)
		(void)unlink(f->path);
	(void)close(fd);
	return r;
}

bool ckpti_redesc_is_included(const struct ckpti_redesc *d)
{
	struct ckpti_r_obj_file rec;

	if (d->rec.type != CKPTI_R_OBJ_FILE)
		return false;
	CKPTI_FIXED(&d->rec, &rec);
	return rec.included;
}

static int file_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_file *f;
	int fd, r;

	if (d->fd >= 0)
		return 0;
	r = ckpti_file_get(rb, d, &f, err);
	if (r < 0 || f->rec.included)
		return r;
	if (f->plan == CKPTI_FILE_MAKE || f->plan == CKPTI_FILE_UNNAMED) {
		r = remake(rb, f, err);
		if (r != -EEXIST)
			return r;
		f->plan = CKPTI_FILE_FIT;
	}
	fd = open(f->path, ((int)f->rec.o.oflags & OPEN_FLAGS) | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, f->path, "cannot open '%.200s': %s", f->path,
				     strerror(errno));
	return take(d, f, fd, err);
}

const struct ckpti_fd_kind ckpti_kind_file = {
	.name = "file",
	.rec_type = CKPTI_R_OBJ_FILE,
	.probe = file_probe,
	.save = file_save,
	.check = file_check,
	.restore = file_restore,
	.attach = ckpti_obj_attach,
	.settle = ckpti_file_settle,
};
