/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pseudo-terminals with both ends in the set.  There is one description of the master (opening it again
 * makes another pair), so its record has what belongs to the pair: settings, size, modes, and what has
 * been written and not read.  Slaves refer to it; one that was opened as /dev/tty is no different.
 *
 * A slave whose master is outside is somebody's terminal, see stdio.c.  A slave whose master has been
 * closed is hung up.  Whose controlling terminal a pair is stands in the records of the processes.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/pty_private.h"

#define TTY_AUX_MAJOR   5 /* minor 0: /dev/tty, 2: /dev/ptmx */
#define PTS_MAJOR_FIRST 136
#define PTS_MAJOR_LAST  143

static int ptm_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return S_ISCHR(d->st.st_mode) && d->st.st_rdev == makedev(TTY_AUX_MAJOR, 2);
}

static bool is_pts(dev_t rdev)
{
	return major(rdev) >= PTS_MAJOR_FIRST && major(rdev) <= PTS_MAJOR_LAST;
}

static int pts_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return S_ISCHR(d->st.st_mode) &&
	       (is_pts(d->st.st_rdev) || d->st.st_rdev == makedev(TTY_AUX_MAJOR, 0));
}

/* ---- which one is it? --------------------------------------------------------------------- */

/* The slave's inode.  O_PATH opens nothing that its users could see. */
static int stat_slave(int master, struct stat *ret_st)
{
	int fd = ioctl(master, TIOCGPTPEER, O_PATH | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = fstat(fd, ret_st) < 0 ? -errno : 0;
	(void)close(fd);
	return r;
}

/* Is d a master whose slave has this number?  There may be several: each devpts counts from 0. */
static bool has_number(const struct ckpti_desc *d, dev_t slave)
{
	int index;

	return is_pts(slave) && d->kind == &ckpti_kind_ptm && d->fd >= 0 &&
	       ioctl(d->fd, TIOCGPTN, &index) == 0 && index == (int)minor(slave);
}

/* The master of slave number `slave` of one devpts. */
static uint32_t master_on(const struct ckpti_capture *cap, dev_t slave, dev_t devpts)
{
	struct stat st;

	for (size_t i = 0; i < cap->ndesc; i++)
		if (has_number(&cap->desc[i], slave) && stat_slave(cap->desc[i].fd, &st) == 0 &&
		    st.st_dev == devpts)
			return cap->desc[i].id;
	return 0;
}

/* The master of what is the terminal of session sid, as in this process' /proc. */
static uint32_t master_of_session(const struct ckpti_capture *cap, dev_t slave, pid_t sid)
{
	pid_t session;

	for (size_t i = 0; sid > 0 && i < cap->ndesc; i++)
		if (has_number(&cap->desc[i], slave) &&
		    ioctl(cap->desc[i].fd, TIOCGSID, &session) == 0 && session == sid)
			return cap->desc[i].id;
	return 0;
}

/* Device number of the terminal behind d, 0 when that has been hung up. */
static dev_t terminal_of(const struct ckpti_desc *d)
{
	unsigned int dev = 0;

	return d->fd >= 0 && ioctl(d->fd, TIOCGDEV, &dev) == 0 ? dev : 0;
}

/* The only master that it can be going by the number, 0 when the number has several terminals. */
static uint32_t only_master(const struct ckpti_capture *cap, dev_t slave)
{
	uint32_t found = 0, id;

	for (size_t i = 0; i < cap->ndesc; i++) {
		const struct ckpti_desc *d = &cap->desc[i];

		if (has_number(d, slave))
			id = d->id;
		else if (S_ISCHR(d->st.st_mode) && d->st.st_rdev == slave &&
			 terminal_of(d) == slave)
			id = master_on(cap, slave, d->st.st_dev);
		else
			continue;
		if (id == 0 || (found && id != found))
			return 0;
		found = id;
	}
	return found;
}

/* OBJ id of the master of slave d, 0: outside the set, or hung up. */
static uint32_t master_of(const struct ckpti_capture *cap, const struct ckpti_desc *d)
{
	dev_t dev = terminal_of(d);
	uint32_t id;

	if (!is_pts(dev))
		return 0;
	if (is_pts(d->st.st_rdev))
		return master_on(cap, dev, d->st.st_dev);
	/* Of what was opened as /dev/tty only the number is known, and whose terminal it was. */
	id = master_of_session(cap, dev, getsid(d->pid));
	return id ? id : only_master(cap, dev);
}

bool ckpti_pty_inside(const struct ckpti_capture *cap, const struct ckpti_desc *d)
{
	return pts_probe(d, NULL) && master_of(cap, d) != 0;
}

static const struct ckpti_desc *a_slave(const struct ckpti_capture *cap, uint32_t master)
{
	for (size_t i = 0; i < cap->ndesc; i++)
		if (pts_probe(&cap->desc[i], NULL) && master_of(cap, &cap->desc[i]) == master)
			return &cap->desc[i];
	return NULL;
}

uint32_t ckpti_pty_control(const struct ckpti_capture *cap, dev_t slave, pid_t sid)
{
	uint32_t master = master_of_session(cap, slave, sid);

	/* It is taken by way of a slave. */
	return master && a_slave(cap, master) ? master : 0;
}

/* ---- saving ------------------------------------------------------------------------------- */

int ckpti_pty_open_slave(int master, int oflags)
{
	int lock = 0, unlock = 0, fd;

	if (ioctl(master, TIOCGPTLCK, &lock) < 0)
		return -errno;
	if (lock && ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	/* O_CLOEXEC would stay in the flags of the description, and fdinfo show it for each descriptor. */
	fd = ioctl(master, TIOCGPTPEER, oflags | O_NOCTTY);
	if (fd < 0)
		fd = -errno;
	else
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (lock && ioctl(master, TIOCSPTLCK, &lock) < 0) {
		if (fd >= 0)
			(void)close(fd);
		return -errno;
	}
	return fd;
}

/* The modes of a pair.  0, or -errno. */
static int get_modes(const struct ckpti_desc *d, struct ckpti_r_obj_ptm *rec)
{
	int lock = 0, packet = 0, excl = 0, index = 0;
	struct pollfd p = {.fd = d->fd, .events = POLLPRI};
	struct winsize size;
	int r;

	if (ioctl(d->fd, TIOCGPTN, &index) < 0 || ioctl(d->fd, TIOCGPTLCK, &lock) < 0 ||
	    ioctl(d->fd, TIOCGPKT, &packet) < 0 || ioctl(d->fd, TIOCGEXCL, &excl) < 0 ||
	    ioctl(d->fd, TIOCGWINSZ, &size) < 0)
		return -errno;
	rec->index = (uint32_t)index;
	rec->flags = (lock ? CKPTI_PTY_LOCKED : 0U) | (packet ? CKPTI_PTY_PACKET : 0U) |
		     (excl ? CKPTI_PTY_EXCLUSIVE : 0U);
	rec->winsize[0] = size.ws_row;
	rec->winsize[1] = size.ws_col;
	rec->winsize[2] = size.ws_xpixel;
	rec->winsize[3] = size.ws_ypixel;
	r = ckpti_pty_get_settings(d->fd, rec);
	if (r < 0)
		return r;
	/* A status that packet mode has to tell is gone when it has been read. */
	return packet && poll(&p, 1, 0) > 0 && (p.revents & POLLPRI) ? -EAGAIN : 0;
}

/* What is under way, out and in again. */
static int take_queue(const struct ckpti_desc *d, const struct ckpti_desc *slave,
		      const struct ckpti_r_obj_ptm *rec, struct ckpti_pty_queue *q)
{
	int excl = 0, on = 1, off = 0, fd, r, r2;

	if (slave && ioctl(slave->fd, TIOCGEXCL, &excl) == 0 && excl &&
	    ioctl(slave->fd, TIOCNXCL) < 0)
		return -errno;
	fd = ckpti_pty_open_slave(d->fd, O_RDWR | O_NONBLOCK);
	if (excl)
		(void)ioctl(slave->fd, TIOCEXCL);
	if (fd < 0)
		return fd;
	if (rec->flags & CKPTI_PTY_PACKET)
		(void)ioctl(d->fd, TIOCPKT, &off);
	r = ckpti_pty_take(d->fd, fd, rec, q);
	r2 = ckpti_pty_put(d->fd, fd, rec, q);
	if (rec->flags & CKPTI_PTY_PACKET)
		(void)ioctl(d->fd, TIOCPKT, &on);
	(void)close(fd);
	return r < 0 ? r : r2;
}

static int add_record(struct ckpti_capture *cap, const struct ckpti_desc *d,
		      struct ckpti_r_obj_ptm *rec, const struct ckpti_pty_queue *q)
{
	size_t nlines = q->nline * sizeof(*q->line), n = nlines + q->nin + q->nout;
	const char *str[1] = {d->link};
	uint8_t *all = malloc(n + 1);
	int r;

	if (!all)
		return -ENOMEM;
	if (nlines)
		memcpy(all, q->line, nlines);
	if (q->nin)
		memcpy(all + nlines, q->in, q->nin);
	if (q->nout)
		memcpy(all + nlines + q->nin, q->out, q->nout);
	rec->nlines = (uint32_t)q->nline;
	rec->nin = (uint32_t)q->nin;
	rec->nout = (uint32_t)q->nout;
	rec->held = q->held;
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_PTM, rec, sizeof(*rec), str, 1, all, 1, n);
	free(all);
	return r;
}

static int ptm_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	const struct ckpti_desc *slave = a_slave(cap, d->id);
	struct pollfd p = {.fd = d->fd, .events = POLLIN};
	struct ckpti_r_obj_ptm rec = {0};
	struct ckpti_pty_queue q = {0};
	sigset_t block, old;
	struct stat st;
	pid_t session;
	int r;

	ckpti_obj_head(d, &rec.o);
	r = stat_slave(d->fd, &st);
	if (r == 0)
		r = get_modes(d, &rec);
	if (r == -EAGAIN)
		return ckpti_desc_err(d, err, r, "has a status of packet mode to be read");
	if (r < 0)
		return ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r));
	if (rec.line != 0)
		return ckpti_desc_err(d, err, -ENOTSUP,
				      "has line discipline %u, which cannot be saved", rec.line);
	if (!slave && ioctl(d->fd, TIOCGSID, &session) == 0)
		return ckpti_desc_err(d, err, -ENOTSUP,
				      "cannot be saved: the processes of the terminal are outside "
				      "the set");
	if (slave)
		rec.mode = st.st_mode & 07777;
	/* A slave that has never been opened must not be by us: its end would be seen. */
	if (slave || (poll(&p, 1, 0) > 0 && (p.revents & POLLHUP))) {
		rec.flags |= CKPTI_PTY_OPENED;
		/* What has been taken must be put in again.  cpr may also run inside this terminal, and in
		 * its background. */
		(void)sigfillset(&block);
		(void)sigprocmask(SIG_BLOCK, &block, &old);
		r = take_queue(d, slave, &rec, &q);
		(void)sigprocmask(SIG_SETMASK, &old, NULL);
		if (r == -EOVERFLOW) {
			(void)ckpti_desc_err(d, err, r,
					     "is written to by a process outside the set");
			goto out;
		}
	}
	if (r == 0)
		r = add_record(cap, d, &rec, &q);
	if (r < 0)
		(void)ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r));
out:
	ckpti_pty_queue_free(&q);
	return r;
}

static int pts_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_pts rec = {0};
	const char *str[1] = {d->link};
	dev_t dev = terminal_of(d);
	int excl = 0, r;

	rec.master = master_of(cap, d);
	if (!rec.master && (dev || ckpti_stdio_number(cap, d) >= 0))
		return ckpti_kind_stdio.save(cap, d, err);
	if (rec.master && ioctl(d->fd, TIOCGEXCL, &excl) < 0)
		return ckpti_desc_err(d, err, -errno, "cannot be saved: %s", strerror(errno));
	ckpti_obj_head(d, &rec.o);
	rec.exclusive = excl != 0;
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_PTS, &rec, sizeof(rec), str, 1, NULL, 0, 0);
	return r < 0 ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r)) : 0;
}

const struct ckpti_fd_kind ckpti_kind_ptm = {
	.name = "pty master",
	.rec_type = CKPTI_R_OBJ_PTM,
	.probe = ptm_probe,
	.save = ptm_save,
	.restore = ckpti_ptm_restore,
	.finish = ckpti_ptm_finish,
	.attach = ckpti_obj_attach,
};

const struct ckpti_fd_kind ckpti_kind_pts = {
	.name = "pty slave",
	.rec_type = CKPTI_R_OBJ_PTS,
	.probe = pts_probe,
	.save = pts_save,
	.restore = ckpti_pts_restore,
	.finish = ckpti_pts_finish,
	.attach = ckpti_obj_attach,
};
