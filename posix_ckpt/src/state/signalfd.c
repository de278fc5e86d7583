/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * signalfd: nothing but a set of signals.  The pending ones belong to the process that reads.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "state/kinds.h"

static int signalfd_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return strcmp(d->link, "anon_inode:[signalfd]") == 0;
}

static int signalfd_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_signalfd rec = {0};
	const char *text = ckpti_fdinfo_field(d->fdinfo, "sigmask");

	if (!text)
		return ckpti_err_obj(err, -ENOTSUP, d->pid, d->link,
				     "descriptor %d: the kernel does not show its signals", d->num);
	rec.mask = strtoull(text, NULL, 16);
	ckpti_obj_head(d, &rec.o);
	return ckpti_image_add(cap->img, CKPTI_R_OBJ_SIGNALFD, &rec, sizeof(rec), NULL, 0, NULL, 0,
			       0);
}

static int signalfd_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_signalfd rec;
	sigset_t set;
	int fd;

	(void)rb;
	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	/* The first 64 bits of a sigset_t are the kernel's; sigaddset() refuses libc's own. */
	memset(&set, 0, sizeof(set));
	memcpy(&set, &rec.mask, sizeof(rec.mask));
	fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot create a signalfd: %s", strerror(errno));
	return ckpti_obj_take(d, fd, &rec.o, "a signalfd", err);
}

const struct ckpti_fd_kind ckpti_kind_signalfd = {
	.name = "signalfd",
	.rec_type = CKPTI_R_OBJ_SIGNALFD,
	.probe = signalfd_probe,
	.save = signalfd_save,
	.restore = signalfd_restore,
	.attach = ckpti_obj_attach,
};
