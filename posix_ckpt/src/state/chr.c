/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Character devices without state: /dev/null, zero, full, random, urandom.  They are known by their
 * number, so that a copy in a container's /dev is one, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/state_private.h"

#define MEM_MAJOR 1

static const struct {
	unsigned minor;
	const char *path;
} devices[] = {
	{3, "/dev/null"},   {5, "/dev/zero"},    {7, "/dev/full"},
	{8, "/dev/random"}, {9, "/dev/urandom"},
};

/* The usual path of a device, NULL when it is none of ours. */
static const char *usual_path(dev_t rdev)
{
	if (major(rdev) != MEM_MAJOR)
		return NULL;
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++)
		if (devices[i].minor == minor(rdev))
			return devices[i].path;
	return NULL;
}

static int chr_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return S_ISCHR(d->st.st_mode) && usual_path(d->st.st_rdev) != NULL;
}

static int chr_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_path rec = {0};
	const char *str[1] = {d->link};
	int r;

	ckpti_obj_head(d, &rec.o);
	rec.rdev = d->st.st_rdev;
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_CHR, &rec, sizeof(rec), str, 1, NULL, 0, 0);
	return r < 0 ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r)) : 0;
}

/* The recorded path where it still is that device, else the usual one. */
static const char *device_path(struct ckpti_rebuild *rb, struct ckpti_redesc *d, uint64_t rdev,
			       char *buf)
{
	const char *path = ckpti_relocate(rb, ckpti_view_str(&d->rec, 0), buf), *usual;
	struct stat st;

	if (stat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == rdev)
		return path;
	usual = usual_path(rdev);
	return usual ? usual : path;
}

static int chr_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_path rec;
	char buf[PATH_MAX];
	const char *path;
	struct stat st;

	CKPTI_FIXED(&d->rec, &rec);
	path = device_path(rb, d, rec.rdev, buf);
	if (stat(path, &st) < 0)
		return ckpti_err_obj(err, -errno, 0, path, "cannot find device '%s': %s", path,
				     strerror(errno));
	if (!S_ISCHR(st.st_mode) || st.st_rdev != rec.rdev)
		return ckpti_err_obj(err, -ENODEV, 0, path, "'%s' is not device %u:%u", path,
				     major(rec.rdev), minor(rec.rdev));
	return 0;
}

static int chr_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_path rec;
	char buf[PATH_MAX];
	const char *path;
	int fd, r;

	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	path = device_path(rb, d, rec.rdev, buf);
	fd = open(path, ((int)rec.o.oflags & O_ACCMODE) | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, path, "cannot open '%s': %s", path,
				     strerror(errno));
	r = ckpti_obj_apply(fd, &rec.o);
	if (r < 0) {
		(void)close(fd);
		return ckpti_err_obj(err, r, 0, path, "cannot set the flags of '%s': %s", path,
				     strerror(-r));
	}
	d->fd = fd;
	return 0;
}

const struct ckpti_fd_kind ckpti_kind_chr = {
	.name = "device",
	.rec_type = CKPTI_R_OBJ_CHR,
	.probe = chr_probe,
	.save = chr_save,
	.check = chr_check,
	.restore = chr_restore,
	.attach = ckpti_obj_attach,
};
