/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open directories: path, and the cookie where getdents() goes on.  One that has been removed is empty for
 * ever: another such directory takes its place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/state_private.h"

static int dir_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	char path[PATH_MAX];

	if (!S_ISDIR(d->st.st_mode))
		return 0;
	(void)ckpti_desc_path(d, path);
	if (path[0] != '/')
		return ckpti_desc_err(d, err, -ENOTSUP, "is a directory outside the root");
	return 1;
}

static int dir_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_path rec = {0};
	char path[PATH_MAX];
	const char *str[1] = {path};
	int r;

	r = ckpti_desc_pos(d, &rec.pos, err);
	if (r < 0)
		return r;
	ckpti_obj_head(d, &rec.o);
	rec.gone = ckpti_desc_path(d, path);
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_DIR, &rec, sizeof(rec), str, 1, NULL, 0, 0);
	return r < 0 ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r)) : 0;
}

static int make_and_remove(char *path)
{
	int fd;

	if (!mkdtemp(path))
		return -errno;
	fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	if (rmdir(path) < 0 && fd >= 0) {
		(void)close(fd);
		fd = -errno;
	}
	return fd;
}

int ckpti_dir_make_removed(const struct ckpti_store *store, const char *path)
{
	return ckpti_make_unnamed(store, path, make_and_remove);
}

/* The removed directory of d: descriptions of one directory stay together. */
static int open_removed(struct ckpti_rebuild *rb, const struct ckpti_redesc *d,
			const struct ckpti_r_obj_path *rec, const char *path)
{
	int fd, r;

	for (size_t i = 0; i < rb->ndesc; i++) {
		const struct ckpti_redesc *e = &rb->desc[i];
		struct ckpti_r_obj_path other;

		if (e == d || e->fd < 0 || e->rec.type != CKPTI_R_OBJ_DIR)
			continue;
		CKPTI_FIXED(&e->rec, &other);
		if (other.gone && other.o.dev == rec->o.dev && other.o.ino == rec->o.ino)
			return ckpti_fd_reopen(e->fd, O_DIRECTORY | ((int)rec->o.oflags & O_PATH));
	}
	fd = ckpti_dir_make_removed(rb->store, path);
	if (fd < 0 || !(rec->o.oflags & O_PATH))
		return fd;
	r = ckpti_fd_reopen(fd, O_DIRECTORY | O_PATH);
	(void)close(fd);
	return r;
}

static int dir_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	const char *saved = ckpti_view_str(&d->rec, 0), *path;
	struct ckpti_r_obj_path rec;
	char buf[PATH_MAX];
	struct stat st;

	CKPTI_FIXED(&d->rec, &rec);
	if (rec.gone)
		return 0;
	path = ckpti_relocate(rb, saved, buf);
	if (stat(path, &st) < 0)
		return ckpti_err_obj(
			err, -errno, 0, path,
			"directory '%s' was open: %s; create it or restart with --relocate", path,
			strerror(errno));
	if (!S_ISDIR(st.st_mode))
		return ckpti_err_obj(err, -ESTALE, 0, path, "'%s' is no directory any more", path);
	return 0;
}

static int dir_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_path rec;
	char buf[PATH_MAX];
	const char *path;
	int fd, r = 0;

	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	path = ckpti_relocate(rb, ckpti_view_str(&d->rec, 0), buf);
	if (rec.gone) {
		fd = open_removed(rb, d, &rec, path);
	} else {
		fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC | ((int)rec.o.oflags & O_PATH));
		fd = fd < 0 ? -errno : fd;
	}
	if (fd < 0)
		return ckpti_err_obj(err, fd, 0, path, "cannot open directory '%s': %s", path,
				     strerror(-fd));
	if (rec.pos && !rec.gone && lseek(fd, (off_t)rec.pos, SEEK_SET) < 0)
		r = -errno;
	if (r == 0)
		r = ckpti_obj_apply(fd, &rec.o);
	if (r < 0) {
		(void)close(fd);
		return ckpti_err_obj(err, r, 0, path, "cannot set up directory '%s': %s", path,
				     strerror(-r));
	}
	d->fd = fd;
	return 0;
}

const struct ckpti_fd_kind ckpti_kind_dir = {
	.name = "directory",
	.rec_type = CKPTI_R_OBJ_DIR,
	.probe = dir_probe,
	.save = dir_save,
	.check = dir_check,
	.restore = dir_restore,
	.attach = ckpti_obj_attach,
};
