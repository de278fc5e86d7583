/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pseudo-terminals are made anew.  The kernel gives the lowest free number; the old one is had by
 * holding all lower ones for a moment, since programs remember /dev/pts/N.  Where it is taken the pair
 * gets another number, and the user is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/pty_private.h"

#define PTMX     "/dev/ptmx"
#define HOLD_MAX 256

static int open_master(const char *path, int *ret_index)
{
	int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (ioctl(fd, TIOCGPTN, ret_index) < 0) {
		(void)close(fd);
		return -ENOTTY;
	}
	return fd;
}

/* A master, with the number `want` if that is free.  fd or -errno. */
static int open_numbered(const char *path, int want, int *ret_index)
{
	int held[HOLD_MAX], n = 0, index = -1, best, r = -EMFILE;

	while (n < HOLD_MAX && index < want) {
		r = open_master(path, &index);
		if (r < 0)
			break;
		held[n++] = r;
	}
	if (n == 0)
		return r;
	best = index == want ? n - 1 : 0;
	for (int i = 0; i < n; i++)
		if (i != best)
			(void)close(held[i]);
	return ioctl(held[best], TIOCGPTN, ret_index) < 0 ? -errno : held[best];
}

static int set_modes(int fd, const struct ckpti_r_obj_ptm *rec)
{
	struct winsize size = {.ws_row = rec->winsize[0],
			       .ws_col = rec->winsize[1],
			       .ws_xpixel = rec->winsize[2],
			       .ws_ypixel = rec->winsize[3]};
	int unlock = 0;

	if (ioctl(fd, TIOCSPTLCK, &unlock) < 0 || ioctl(fd, TIOCSWINSZ, &size) < 0)
		return -errno;
	return ckpti_pty_set_settings(fd, rec);
}

/* The slave was open once, so it is now; what was under way comes with it. */
static int open_once(int fd, const struct ckpti_redesc *d, const struct ckpti_r_obj_ptm *rec)
{
	size_t nlines = (size_t)rec->nlines * sizeof(struct ckpti_pty_line);
	uint8_t *all = (uint8_t *)(uintptr_t)d->rec.array;
	struct ckpti_pty_queue q = {
		.nline = rec->nlines, .nin = rec->nin, .nout = rec->nout, .held = rec->held};
	int slave, r = 0;

	if (!(rec->flags & CKPTI_PTY_OPENED))
		return 0;
	q.line = malloc(nlines + 1);
	if (!q.line)
		return -ENOMEM;
	if (nlines)
		memcpy(q.line, all, nlines);
	q.in = all + nlines;
	q.out = q.in + q.nin;
	slave = ckpti_pty_open_slave(fd, O_RDWR | O_NONBLOCK);
	if (slave < 0) {
		r = slave;
		goto out;
	}
	/* The user may have allowed or forbidden messages, see mesg(1). */
	if (rec->mode && fchmod(slave, rec->mode) < 0)
		r = -errno;
	if (r == 0)
		r = ckpti_pty_put(fd, slave, rec, &q);
	(void)close(slave);
out:
	free(q.line);
	return r;
}

static void tell_number(struct ckpti_rebuild *rb, uint32_t old, int now)
{
	char text[96];

	if (!rb->note || (int)old == now)
		return;
	(void)snprintf(text, sizeof(text), "/dev/pts/%u is taken: that terminal is /dev/pts/%d now",
		       old, now);
	rb->note(rb, text);
}

int ckpti_ptm_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	const char *path = ckpti_view_str(&d->rec, 0);
	struct ckpti_r_obj_ptm rec;
	int fd, index = 0, r;

	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	fd = open_numbered(access(path, R_OK | W_OK) == 0 ? path : PTMX, (int)rec.index, &index);
	if (fd < 0)
		return ckpti_err(err, fd, "cannot make a pseudo-terminal: %s", strerror(-fd));
	r = set_modes(fd, &rec);
	if (r == 0)
		r = open_once(fd, d, &rec);
	if (r < 0) {
		(void)close(fd);
		return ckpti_err(err, r, "cannot rebuild the terminal /dev/pts/%u: %s", rec.index,
				 strerror(-r));
	}
	tell_number(rb, rec.index, index);
	d->fd = fd;
	return 0;
}

/* What keeps others from opening it, when all have. */
int ckpti_ptm_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_ptm rec;
	int on = 1, r = 0;

	(void)rb;
	CKPTI_FIXED(&d->rec, &rec);
	if ((rec.flags & CKPTI_PTY_PACKET) && ioctl(d->fd, TIOCPKT, &on) < 0)
		r = -errno;
	if ((rec.flags & CKPTI_PTY_EXCLUSIVE) && ioctl(d->fd, TIOCEXCL) < 0)
		r = -errno;
	if ((rec.flags & CKPTI_PTY_LOCKED) && ioctl(d->fd, TIOCSPTLCK, &on) < 0)
		r = -errno;
	if (r == 0)
		r = ckpti_obj_apply(d->fd, &rec.o);
	return r < 0 ? ckpti_err(err, r, "cannot set the modes of the terminal /dev/pts/%u: %s",
				 rec.index, strerror(-r))
		     : 0;
}

/* A terminal whose master is gone. */
static int open_hung_up(int oflags)
{
	int index, fd, master = open_master(PTMX, &index);

	if (master < 0)
		return master;
	fd = ckpti_pty_open_slave(master, oflags);
	(void)close(master);
	return fd;
}

int ckpti_pts_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_redesc *master;
	struct ckpti_r_obj_pts rec;
	int fd, r = 0;

	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	if (rec.master) {
		master = ckpti_redesc_by_id(rb, rec.master);
		r = master ? ckpti_ptm_restore(rb, master, err)
			   : ckpti_err(err, -EBADMSG, "the master of terminal '%s' is missing",
				       ckpti_view_str(&d->rec, 0));
		if (r < 0)
			return r;
		fd = ckpti_pty_open_slave(master->fd, (int)rec.o.oflags & O_ACCMODE);
	} else {
		fd = open_hung_up((int)rec.o.oflags & O_ACCMODE);
	}
	if (fd >= 0 && rec.master) /* a hung up one has no flags that mean anything */
		r = ckpti_obj_apply(fd, &rec.o);
	if (fd < 0 || r < 0) {
		if (fd >= 0)
			(void)close(fd);
		r = fd < 0 ? fd : r;
		return ckpti_err(err, r, "cannot open terminal '%s' again: %s",
				 ckpti_view_str(&d->rec, 0), strerror(-r));
	}
	d->fd = fd;
	return 0;
}

int ckpti_pts_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_pts rec;

	(void)rb;
	CKPTI_FIXED(&d->rec, &rec);
	if (rec.exclusive && ioctl(d->fd, TIOCEXCL) < 0)
		return ckpti_err(err, -errno, "terminal '%s' cannot be made exclusive: %s",
				 ckpti_view_str(&d->rec, 0), strerror(errno));
	return 0;
}

/* ---- controlling terminals ---------------------------------------------------------------- */

/* Any description of the slave. */
static int slave_fd(struct ckpti_rebuild *rb, uint32_t master)
{
	for (size_t i = 0; i < rb->ndesc; i++) {
		struct ckpti_r_obj_pts rec;

		if (rb->desc[i].rec.type != CKPTI_R_OBJ_PTS)
			continue;
		CKPTI_FIXED(&rb->desc[i].rec, &rec);
		if (rec.master == master)
			return rb->desc[i].fd;
	}
	return -1;
}

int ckpti_pty_take_control(struct ckpti_rebuild *rb, uint32_t master)
{
	return ioctl(slave_fd(rb, master), TIOCSCTTY, 0) < 0 ? -errno : 0;
}

int ckpti_pty_foreground(struct ckpti_rebuild *rb, uint32_t master)
{
	return tcsetpgrp(slave_fd(rb, master), getpgrp()) < 0 ? -errno : 0;
}
