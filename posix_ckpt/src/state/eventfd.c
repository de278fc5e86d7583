/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * eventfd: a counter and a mode.  Both stand in fdinfo; only kernels before 6.5 do not tell the mode,
 * there it is found by adding two and taking them away again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "state/kinds.h"

static int eventfd_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return strcmp(d->link, "anon_inode:[eventfd]") == 0;
}

/* With two added the counter is at least 2: a semaphore hands out 1, a counter everything. */
static int find_mode(int fd, uint32_t *ret_semaphore)
{
	const uint64_t two = 2;
	uint64_t got;

	if (write(fd, &two, sizeof(two)) != sizeof(two))
		return -errno;
	if (read(fd, &got, sizeof(got)) != sizeof(got))
		return -errno;
	*ret_semaphore = got == 1;
	if (got == 1)
		return read(fd, &got, sizeof(got)) == sizeof(got) ? 0 : -errno;
	got -= two;
	return !got || write(fd, &got, sizeof(got)) == sizeof(got) ? 0 : -errno;
}

static int eventfd_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_eventfd rec = {0};
	const char *text;
	int r;

	text = ckpti_fdinfo_field(d->fdinfo, "eventfd-count");
	if (!text)
		return ckpti_err_obj(err, -ENOTSUP, d->pid, d->link,
				     "descriptor %d: the kernel does not show the counter", d->num);
	rec.count = strtoull(text, NULL, 16);
	text = ckpti_fdinfo_field(d->fdinfo, "eventfd-semaphore");
	if (text) {
		rec.semaphore = atoi(text) != 0;
	} else if (d->fd >= 0) {
		r = find_mode(d->fd, &rec.semaphore);
		if (r < 0)
			return ckpti_err_obj(err, r, d->pid, d->link,
					     "descriptor %d: cannot tell whether it is a semaphore",
					     d->num);
	}
	ckpti_obj_head(d, &rec.o);
	return ckpti_image_add(cap->img, CKPTI_R_OBJ_EVENTFD, &rec, sizeof(rec), NULL, 0, NULL, 0,
			       0);
}

static int eventfd_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_eventfd rec;
	int fd, r;

	(void)rb;
	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	fd = eventfd(0, EFD_CLOEXEC | (rec.semaphore ? EFD_SEMAPHORE : 0));
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot create an eventfd: %s", strerror(errno));
	if (rec.count && write(fd, &rec.count, sizeof(rec.count)) != sizeof(rec.count)) {
		r = ckpti_err(err, -errno, "cannot set an eventfd to %" PRIu64 ": %s", rec.count,
			      strerror(errno));
		(void)close(fd);
		return r;
	}
	return ckpti_obj_take(d, fd, &rec.o, "an eventfd", err);
}

const struct ckpti_fd_kind ckpti_kind_eventfd = {
	.name = "eventfd",
	.rec_type = CKPTI_R_OBJ_EVENTFD,
	.probe = eventfd_probe,
	.save = eventfd_save,
	.restore = eventfd_restore,
	.attach = ckpti_obj_attach,
};
