/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pidfd: the process that it stands for.  It can be opened when that process exists, which is when
 * the tree has been forked: until then an empty place is kept.  So processes that shared one
 * description each get one of their own; there is nothing in it that they could share.
 *
 * A process that has ended and been waited for is any such process: one is made for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/state_private.h"

/* What pidfd_open() takes: PIDFD_NONBLOCK and, from Linux 6.9 on, PIDFD_THREAD. */
#define OPEN_FLAGS (O_NONBLOCK | O_EXCL)

static int pidfd_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return strcmp(d->link, "anon_inode:[pidfd]") == 0;
}

static int pidfd_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	const char *text = ckpti_fdinfo_field(d->fdinfo, "Pid");
	struct ckpti_r_obj_pidfd rec = {0};
	int pid;

	if (!text)
		return ckpti_desc_err(d, err, -ENOTSUP,
				      "is a pidfd: the kernel does not show whose");
	pid = atoi(text);
	if (pid >= 0) {
		rec.pid = cap->member ? cap->member(cap, pid, false) : 0;
		if (!rec.pid)
			return ckpti_desc_err(d, err, -ENOTSUP,
					      "is a pidfd of a process outside the set, or of a "
					      "single thread");
	}
	ckpti_obj_head(d, &rec.o);
	return ckpti_image_add(cap->img, CKPTI_R_OBJ_PIDFD, &rec, sizeof(rec), NULL, 0, NULL, 0, 0);
}

static int open_pid(pid_t pid, uint32_t oflags)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, oflags & OPEN_FLAGS);

	return fd < 0 ? -errno : fd;
}

/* The pidfd of a process that is gone.  Its end signals nobody. */
static int open_ended(uint32_t oflags)
{
	struct clone_args args = {0};
	pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof(args));
	int fd;

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(0);
	fd = open_pid(pid, oflags);
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
	return fd;
}

static int pidfd_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_pidfd rec;

	(void)rb;
	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	d->fd = rec.pid ? open("/dev/null", O_RDONLY | O_CLOEXEC) : open_ended(rec.o.oflags);
	return d->fd < 0 ? ckpti_err(err, rec.pid ? -errno : d->fd, "cannot create a pidfd") : 0;
}

static int pidfd_place(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_pidfd rec;
	int fd;

	CKPTI_FIXED(&d->rec, &rec);
	if (!rec.pid)
		return d->fd;
	fd = open_pid(rb->pid_now(rb, rec.pid), rec.o.oflags);
	return fd < 0 ? ckpti_err(err, fd, "cannot open a pidfd of process %d: %s", rec.pid,
				  strerror(-fd))
		      : fd;
}

const struct ckpti_fd_kind ckpti_kind_pidfd = {
	.name = "pidfd",
	.rec_type = CKPTI_R_OBJ_PIDFD,
	.probe = pidfd_probe,
	.save = pidfd_save,
	.restore = pidfd_restore,
	.place = pidfd_place,
	.attach = ckpti_obj_attach,
};
