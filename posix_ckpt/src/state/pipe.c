/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pipes and FIFOs.  A pipe is an inode; its ends are descriptions that carry the same inode number.
 * The queue is read without consuming it: tee(2) into a private pipe of the same capacity, and that is
 * emptied.  It is stored with the first description that can read.  In packet mode (O_DIRECT) the
 * lengths of the packets stand in front of the data.
 *
 * When the set holds only one direction of a pipe, the other is outside or closed.  A closed end is
 * restored as such; a pipe that leads outside can stand on descriptors 0 to 2 only, see stdio.c.
 * FIFOs have a name and are opened again by it.  A FIFO whose name is gone behaves as a pipe and is
 * saved as one.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/state_private.h"

/* ---- saving ------------------------------------------------------------------------------- */

static bool has_name(const struct ckpti_desc *d)
{
	char path[PATH_MAX];

	return !ckpti_desc_path(d, path) && path[0] == '/';
}

static int pipe_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return S_ISFIFO(d->st.st_mode) && !has_name(d);
}

static int fifo_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return S_ISFIFO(d->st.st_mode) && has_name(d);
}

static bool same_pipe(const struct ckpti_desc *a, const struct ckpti_desc *b)
{
	return S_ISFIFO(a->st.st_mode) && a->st.st_dev == b->st.st_dev &&
	       a->st.st_ino == b->st.st_ino;
}

/* Is the end opposite to d in the set, or closed everywhere? */
static bool is_inside(const struct ckpti_capture *cap, const struct ckpti_desc *d)
{
	bool reads = ckpti_oflags_read((uint32_t)d->oflags);
	bool writes = ckpti_oflags_write((uint32_t)d->oflags);
	struct pollfd p = {.fd = d->fd};

	if (reads && writes)
		return true;
	for (size_t i = 0; i < cap->ndesc; i++) {
		const struct ckpti_desc *e = &cap->desc[i];

		if (same_pipe(e, d) && (reads ? ckpti_oflags_write((uint32_t)e->oflags)
					      : ckpti_oflags_read((uint32_t)e->oflags)))
			return true;
	}
	return poll(&p, 1, 0) == 1 && (p.revents & (reads ? POLLHUP : POLLERR));
}

/* Is d the description that carries the queue? */
static bool carries_queue(const struct ckpti_capture *cap, const struct ckpti_desc *d)
{
	if (!ckpti_oflags_read((uint32_t)d->oflags))
		return false;
	for (const struct ckpti_desc *e = cap->desc; e < d; e++)
		if (same_pipe(e, d) && ckpti_oflags_read((uint32_t)e->oflags))
			return false;
	return true;
}

static bool packet_mode(const struct ckpti_capture *cap, const struct ckpti_desc *d)
{
	for (size_t i = 0; i < cap->ndesc; i++)
		if (same_pipe(&cap->desc[i], d) && (cap->desc[i].oflags & O_DIRECT))
			return true;
	return false;
}

struct queue {
	uint8_t *data;
	size_t len;
	uint32_t *packet; /* lengths of what single reads returned */
	size_t npackets;
};

/* Empty the private pipe.  A read ends at the end of a packet. */
static int read_all(int fd, struct queue *q)
{
	size_t done = 0;

	while (done < q->len) {
		ssize_t n = read(fd, q->data + done, q->len - done);
		uint32_t *p;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		p = realloc(q->packet, (q->npackets + 1) * sizeof(*p));
		if (!p)
			return -ENOMEM;
		q->packet = p;
		q->packet[q->npackets++] = (uint32_t)n;
		done += (size_t)n;
	}
	return 0;
}

static int read_queue(int fd, uint32_t capacity, struct queue *q)
{
	int copy[2] = {-1, -1}, avail = 0, r;
	ssize_t n;

	if (ioctl(fd, FIONREAD, &avail) < 0)
		return -errno;
	if (avail == 0)
		return 0;
	q->len = (size_t)avail;
	q->data = malloc(q->len);
	if (!q->data)
		return -ENOMEM;
	if (pipe2(copy, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	if (fcntl(copy[0], F_GETPIPE_SZ) != (int)capacity &&
	    fcntl(copy[0], F_SETPIPE_SZ, (int)capacity) < 0) {
		r = -errno;
		goto out;
	}
	/* One call takes everything or not: a second would start at the head of the queue again. */
	n = tee(fd, copy[1], q->len, SPLICE_F_NONBLOCK);
	if (n < 0)
		r = -errno;
	else if ((size_t)n != q->len)
		r = -EIO;
	else
		r = read_all(copy[0], q);
out:
	(void)close(copy[0]);
	(void)close(copy[1]);
	return r;
}

/* The record's array: lengths of packets, if any, and the data. */
static int pack_queue(struct queue *q, bool packets, struct ckpti_r_obj_pipe *rec)
{
	size_t head;
	uint8_t *p;

	if (!packets && q->npackets <= 1) {
		rec->nbytes = q->len;
		return 0;
	}
	head = q->npackets * sizeof(q->packet[0]);
	p = malloc(head + q->len + 1);
	if (!p)
		return -ENOMEM;
	if (q->len) {
		memcpy(p, q->packet, head);
		memcpy(p + head, q->data, q->len);
	}
	free(q->data);
	q->data = p;
	rec->npackets = (uint32_t)q->npackets;
	rec->nbytes = head + q->len;
	return 0;
}

static int pipe_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	bool fifo = d->kind == &ckpti_kind_fifo;
	struct ckpti_r_obj_pipe rec = {0};
	const char *str[1] = {d->link};
	struct queue q = {0};
	int capacity, r = 0;

	if (!fifo && !is_inside(cap, d)) {
		if (ckpti_stdio_number(cap, d) >= 0)
			return ckpti_kind_stdio.save(cap, d, err);
		return ckpti_desc_err(
			d, err, -ENOTSUP,
			"cannot be saved: the other end of the pipe is outside the set");
	}
	capacity = fcntl(d->fd, F_GETPIPE_SZ);
	if (capacity < 0)
		return ckpti_desc_err(d, err, -errno, "has no capacity: %s", strerror(errno));
	ckpti_obj_head(d, &rec.o);
	rec.pipe = d->st.st_ino;
	rec.is_read = ckpti_oflags_read((uint32_t)d->oflags);
	rec.is_write = ckpti_oflags_write((uint32_t)d->oflags);
	rec.capacity = (uint32_t)capacity;
	rec.mode = d->st.st_mode & 07777;
	if (carries_queue(cap, d)) {
		r = read_queue(d->fd, rec.capacity, &q);
		if (r == 0)
			r = pack_queue(&q, packet_mode(cap, d), &rec);
	}
	if (r == 0)
		r = ckpti_image_add(cap->img, fifo ? CKPTI_R_OBJ_FIFO : CKPTI_R_OBJ_PIPE, &rec,
				    sizeof(rec), str, fifo ? 1 : 0, q.data, 1, rec.nbytes);
	free(q.data);
	free(q.packet);
	return r < 0 ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r)) : 0;
}

/* ---- restoring ---------------------------------------------------------------------------- */

/* A pipe that is being rebuilt.  For a FIFO both ends are one O_RDWR description. */
struct ends {
	int end[2];    /* read, write */
	bool given[2]; /* handed out: the first description of an end is that of pipe2() */
	bool fifo;
};

static bool is_member(const struct ckpti_redesc *d, const struct ckpti_r_obj_pipe *of,
		      uint32_t type, struct ckpti_r_obj_pipe *ret)
{
	if (d->rec.type != type)
		return false;
	CKPTI_FIXED(&d->rec, ret);
	return ret->pipe == of->pipe && ret->o.dev == of->o.dev;
}

static int write_packet(int fd, const uint8_t *data, size_t len)
{
	ssize_t n = write(fd, data, len);

	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -ENOSPC;
}

/* Put the queue back; fd is non-blocking. */
static int fill(int fd, const struct ckpti_redesc *d, const struct ckpti_r_obj_pipe *rec)
{
	const uint8_t *p = d->rec.array;
	size_t left, head = (size_t)rec->npackets * sizeof(uint32_t);
	int r;

	if (rec->nbytes > d->rec.count || head > rec->nbytes)
		return -EBADMSG;
	left = (size_t)rec->nbytes - head;
	if (left == 0)
		return 0;
	if (!rec->npackets)
		return write_packet(fd, p, left);
	r = fcntl(fd, F_SETFL, O_NONBLOCK | O_DIRECT) < 0 ? -errno : 0;
	p += head;
	for (uint32_t i = 0; r == 0 && i < rec->npackets; i++) {
		uint32_t len;

		memcpy(&len, (const uint8_t *)d->rec.array + i * sizeof(len), sizeof(len));
		if (len > left)
			return -EBADMSG;
		r = write_packet(fd, p, len);
		p += len;
		left -= len;
	}
	return r;
}

/* One member's description; flags are set last, as the first write end filled the queue. */
static int open_member(struct ends *e, struct ckpti_redesc *d, const struct ckpti_r_obj_pipe *rec)
{
	int which = rec->is_write ? 1 : 0, fd, r;

	if (!e->fifo && !(rec->is_read && rec->is_write) && !e->given[which]) {
		fd = fcntl(e->end[which], F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return -errno;
		e->given[which] = true;
	} else {
		/* Non-blocking: an open of one end would wait for the other. */
		fd = ckpti_fd_reopen(e->end[which], ((int)rec->o.oflags & O_ACCMODE) | O_NONBLOCK);
		if (fd < 0)
			return fd;
	}
	r = ckpti_obj_apply(fd, &rec->o);
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	d->fd = fd;
	return 0;
}

static int open_members(struct ckpti_rebuild *rb, struct ends *e, const struct ckpti_redesc *first,
			const struct ckpti_r_obj_pipe *rec)
{
	struct ckpti_r_obj_pipe m;
	int r = 0;

	if (fcntl(e->end[1], F_GETPIPE_SZ) != (int)rec->capacity &&
	    fcntl(e->end[1], F_SETPIPE_SZ, (int)rec->capacity) < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i < rb->ndesc; i++)
		if (is_member(&rb->desc[i], rec, first->rec.type, &m))
			r = fill(e->end[1], &rb->desc[i], &m);
	for (size_t i = 0; r == 0 && i < rb->ndesc; i++)
		if (is_member(&rb->desc[i], rec, first->rec.type, &m) && rb->desc[i].fd < 0)
			r = open_member(e, &rb->desc[i], &m);
	return r;
}

static int pipe_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_pipe rec;
	struct ends e = {0};
	int r;

	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	if (pipe2(e.end, O_CLOEXEC | O_NONBLOCK) < 0)
		return ckpti_err(err, -errno, "cannot create a pipe: %s", strerror(errno));
	r = open_members(rb, &e, d, &rec);
	/* An end that no member holds is closed now, as it was. */
	(void)close(e.end[0]);
	(void)close(e.end[1]);
	return r < 0 ? ckpti_err(err, r, "cannot rebuild pipe %" PRIu64 ": %s", rec.pipe,
				 strerror(-r))
		     : 0;
}

static int fifo_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	const char *saved = ckpti_view_str(&d->rec, 0), *path;
	char buf[PATH_MAX];
	struct stat st;

	path = ckpti_relocate(rb, saved, buf);
	if (rb->clone && path == saved)
		return ckpti_err_obj(err, -EEXIST, 0, path,
				     "'%s' is a FIFO: a clone needs one of its own; restart with "
				     "--relocate",
				     path);
	if (stat(path, &st) == 0 && !S_ISFIFO(st.st_mode))
		return ckpti_err_obj(err, -ESTALE, 0, path, "'%s' is no FIFO any more", path);
	return 0;
}

static int make_fifo(const char *path, uint32_t mode)
{
	struct stat st;
	int r;

	if (stat(path, &st) == 0)
		return S_ISFIFO(st.st_mode) ? 0 : -ESTALE;
	r = ckpti_make_parents(path);
	if (r < 0)
		return r;
	return mkfifo(path, 0600) < 0 || chmod(path, mode) < 0 ? -errno : 0;
}

static int fifo_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ends e = {.end = {-1, -1}, .fifo = true};
	struct ckpti_r_obj_pipe rec;
	char buf[PATH_MAX];
	const char *path;
	int r;

	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	path = ckpti_relocate(rb, ckpti_view_str(&d->rec, 0), buf);
	r = make_fifo(path, rec.mode);
	if (r < 0)
		goto out;
	/* Linux opens both ends at once, so that nothing waits for a partner. */
	e.end[0] = e.end[1] = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (e.end[0] < 0) {
		r = -errno;
		goto out;
	}
	r = open_members(rb, &e, d, &rec);
out:
	if (e.end[0] >= 0)
		(void)close(e.end[0]);
	return r < 0 ? ckpti_err_obj(err, r, 0, path, "cannot rebuild FIFO '%s': %s", path,
				     strerror(-r))
		     : 0;
}

const struct ckpti_fd_kind ckpti_kind_pipe = {
	.name = "pipe",
	.rec_type = CKPTI_R_OBJ_PIPE,
	.probe = pipe_probe,
	.save = pipe_save,
	.restore = pipe_restore,
	.attach = ckpti_obj_attach,
};

const struct ckpti_fd_kind ckpti_kind_fifo = {
	.name = "fifo",
	.rec_type = CKPTI_R_OBJ_FIFO,
	.probe = fifo_probe,
	.save = pipe_save,
	.check = fifo_check,
	.restore = fifo_restore,
	.attach = ckpti_obj_attach,
};
