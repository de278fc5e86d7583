/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the set was started with and does not own: the terminal, a pipe or a socket whose other end
 * is outside.  It cannot be recreated; the restarting command's own descriptor of the same number
 * takes its place.  A terminal that was opened under a higher number (a shell's descriptor 255,
 * /dev/tty) becomes the first of 0, 1, 2 that is a terminal.
 *
 * Rows for pipes and sockets call .save of this row when they find that the other end is outside.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/state_private.h"

/* Terminals by major number (Documentation/admin-guide/devices.txt): a probe has no descriptor to
 * ask.  5:2 is /dev/ptmx, the other side of one. */
static bool is_tty(const struct ckpti_desc *d)
{
	unsigned maj = major(d->st.st_rdev), min = minor(d->st.st_rdev);

	if (!S_ISCHR(d->st.st_mode))
		return false;
	return maj == 4 || (maj == 5 && min != 2) || (maj >= 136 && maj <= 143) || maj == 188 ||
	       maj == 204 || maj == 229;
}

static int stdio_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	if (is_tty(d))
		return 1;
	return d->num <= STDERR_FILENO && (S_ISFIFO(d->st.st_mode) || S_ISSOCK(d->st.st_mode));
}

/* Another description of the same object, open in the same direction? */
static bool same_object(const struct ckpti_desc *a, const struct ckpti_desc *b)
{
	return a->st.st_dev == b->st.st_dev && a->st.st_ino == b->st.st_ino &&
	       (a->oflags & O_ACCMODE) == (b->oflags & O_ACCMODE);
}

int ckpti_stdio_number(const struct ckpti_capture *cap, const struct ckpti_desc *d)
{
	if (d->num <= STDERR_FILENO)
		return d->num;
	/* The description may be known by a higher number only where it was found first. */
	for (size_t i = 0; i < cap->ndesc; i++)
		for (int n = 0; n <= STDERR_FILENO; n++)
			if (cap->lookup && cap->lookup(cap, cap->desc[i].pid, n) == d->id)
				return n;
	for (int n = 0; n <= STDERR_FILENO; n++)
		for (size_t i = 0; i < cap->ndesc; i++) {
			const struct ckpti_desc *e = &cap->desc[i];

			if (e->num == n && (is_tty(d) ? is_tty(e) && !ckpti_pty_inside(cap, e)
						      : same_object(d, e)))
				return n;
		}
	return -1;
}

static int stdio_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_stdio rec = {0};
	const char *str[1] = {d->link};
	int r;

	rec.fd = ckpti_stdio_number(cap, d);
	if (rec.fd < 0)
		return ckpti_desc_err(d, err, -ENOTSUP, "%s",
				      is_tty(d) ? "is a terminal, and none of descriptors 0 to 2 is"
						: "leads outside the set");
	d->kind = &ckpti_kind_stdio;
	ckpti_obj_head(d, &rec.o);
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_STDIO, &rec, sizeof(rec), str, 1, NULL, 0, 0);
	return r < 0 ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r)) : 0;
}

static int stdio_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_stdio rec;

	(void)rb;
	CKPTI_FIXED(&d->rec, &rec);
	if (rec.fd < 0 || rec.fd > STDERR_FILENO)
		return ckpti_err(err, -EBADMSG, "object %u wants descriptor %d of the command",
				 d->id, rec.fd);
	if (fcntl(rec.fd, F_GETFD) < 0)
		return ckpti_err_obj(err, -EBADF, 0, ckpti_view_str(&d->rec, 0),
				     "descriptor %d takes the place of '%s', but it is closed",
				     rec.fd, ckpti_view_str(&d->rec, 0));
	return 0;
}

static int stdio_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_stdio rec;
	int fd, flags, r;

	if (d->fd >= 0)
		return 0;
	r = stdio_check(rb, d, err);
	if (r < 0)
		return r;
	CKPTI_FIXED(&d->rec, &rec);
	fd = fcntl(rec.fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot duplicate descriptor %d: %s", rec.fd,
				 strerror(errno));
	/* The description is the caller's: its O_APPEND is its own affair, but whether read() blocks
	 * is what the program relies on. */
	flags = fcntl(fd, F_GETFL);
	if (flags >= 0 && (flags ^ (int)rec.o.oflags) & O_NONBLOCK)
		(void)fcntl(fd, F_SETFL, flags ^ O_NONBLOCK);
	d->fd = fd;
	return 0;
}

const struct ckpti_fd_kind ckpti_kind_stdio = {
	.name = "stdio",
	.rec_type = CKPTI_R_OBJ_STDIO,
	.probe = stdio_probe,
	.save = stdio_save,
	.check = stdio_check,
	.restore = stdio_restore,
};
