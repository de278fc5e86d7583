/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * O_PATH of a device, fifo, socket or symbolic link: a mere name.  Regular files and directories stay
 * with their own rows.  It is opened when everything else has been made, because a restart may have to
 * make the fifo or the socket anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/state_private.h"

static int opath_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	char path[PATH_MAX];

	if (!(d->oflags & O_PATH) || S_ISREG(d->st.st_mode) || S_ISDIR(d->st.st_mode))
		return 0;
	if (ckpti_desc_path(d, path) || path[0] != '/' || ckpti_path_of_process(path))
		return ckpti_desc_err(d, err, -ENOTSUP,
				      "was opened with O_PATH, and no name leads to it");
	return 1;
}

static int opath_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_path rec = {0};
	const char *str[1] = {d->link};
	int r;

	ckpti_obj_head(d, &rec.o);
	rec.rdev = d->st.st_rdev;
	rec.mode = d->st.st_mode;
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_OPATH, &rec, sizeof(rec), str, 1, NULL, 0, 0);
	return r < 0 ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r)) : 0;
}

static int opath_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	(void)rb, (void)d, (void)err;
	return 0;
}

static int opath_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_path rec;
	char buf[PATH_MAX];
	const char *path;
	struct stat st;
	int fd;

	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	path = ckpti_relocate(rb, ckpti_view_str(&d->rec, 0), buf);
	fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, path,
				     "'%.200s' was open: %s; create it or restart with --relocate",
				     path, strerror(errno));
	if (fstat(fd, &st) < 0 || ((st.st_mode ^ rec.mode) & S_IFMT)) {
		(void)close(fd);
		return ckpti_err_obj(err, -ESTALE, 0, path,
				     "'%.200s' was open and is of another type now", path);
	}
	d->fd = fd;
	return 0;
}

const struct ckpti_fd_kind ckpti_kind_opath = {
	.name = "O_PATH",
	.rec_type = CKPTI_R_OBJ_OPATH,
	.probe = opath_probe,
	.save = opath_save,
	.restore = opath_restore,
	.finish = opath_finish,
};
