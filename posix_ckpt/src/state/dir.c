/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Open directories: path, and the cookie where getdents() goes on.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/state_private.h"

static int dir_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	char path[PATH_MAX];

	if (!S_ISDIR(d->st.st_mode))
		return 0;
	if (ckpti_desc_path(d, path))
		return ckpti_desc_err(d, err, -ENOTSUP, "is a directory that has been removed");
	if (path[0] != '/')
		return ckpti_desc_err(d, err, -ENOTSUP, "is a directory outside the root");
	if (ckpti_path_of_process(path))
		return ckpti_desc_err(d, err, -ENOTSUP, "belongs to one process in /proc");
	return 1;
}

static int dir_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_path rec = {0};
	const char *str[1] = {d->link};
	off_t pos = 0;
	int r;

	if (!(d->oflags & O_PATH)) {
		pos = lseek(d->fd, 0, SEEK_CUR);
		if (pos < 0)
			return ckpti_desc_err(d, err, -errno, "has no readable position: %s",
					      strerror(errno));
	}
	ckpti_obj_head(d, &rec.o);
	rec.pos = (uint64_t)pos;
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_DIR, &rec, sizeof(rec), str, 1, NULL, 0, 0);
	return r < 0 ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r)) : 0;
}

static int dir_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	const char *saved = ckpti_view_str(&d->rec, 0), *path;
	char buf[PATH_MAX];
	struct stat st;

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
	fd = open(path, O_DIRECTORY | O_RDONLY | O_CLOEXEC | ((int)rec.o.oflags & O_PATH));
	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, path, "cannot open directory '%s': %s", path,
				     strerror(errno));
	if (rec.pos && lseek(fd, (off_t)rec.pos, SEEK_SET) < 0)
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
