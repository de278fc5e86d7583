/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Frames over a stream socket.  Nothing here blocks but ckpti_wire_wait(): what cannot be sent at
 * once is queued, what has come incompletely stays in a buffer.  An error is final for its
 * direction: it is kept, and every later call returns it, because after it nobody knows where the
 * next frame begins.  What the other side had said before it hung up is still received.
 *
 * The other side may be anybody until it has proved who it is, so memory is taken as bytes arrive
 * and never for a length that was merely announced.
 */
#include "spank/lib/wire.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spank/lib/wire_private.h"
#include "util/clock.h"

#define MAGIC      0x31504b43U /* "CKP1" */
#define QUEUE_MAX  (4U << 20)
#define READ_CHUNK (64U << 10)

struct header {
	uint32_t magic;
	uint32_t length;
	uint16_t type;
	uint16_t version;
};
_Static_assert(sizeof(struct header) == 12, "the header is part of the protocol");

/* Bytes from..to of data are in use. */
struct buffer {
	char *data;
	size_t from, to, cap;
};

struct ckpti_wire {
	int fd;
	int in_error, out_error; /* -errno, final */
	size_t max;              /* bytes of a payload that comes in */
	struct buffer in, out;
};

static int reserve(struct buffer *b, size_t more)
{
	size_t used = b->to - b->from, cap;
	char *data;

	if (b->cap - b->to >= more)
		return 0;
	if (b->from > 0) {
		memmove(b->data, b->data + b->from, used);
		b->from = 0;
		b->to = used;
	}
	if (b->cap - used >= more)
		return 0;
	cap = 2 * b->cap > used + more ? 2 * b->cap : used + more;
	data = realloc(b->data, cap);
	if (!data)
		return -ENOMEM;
	b->data = data;
	b->cap = cap;
	return 0;
}

static void consume(struct buffer *b, size_t n)
{
	b->from += n;
	if (b->from < b->to)
		return;
	b->from = b->to = 0;
	/* One large frame should not cost memory for ever. */
	if (b->cap > 2 * READ_CHUNK) {
		free(b->data);
		*b = (struct buffer){0};
	}
}

struct ckpti_wire *ckpti_wire_new(int fd)
{
	struct ckpti_wire *w = calloc(1, sizeof(*w));
	int flags = fcntl(fd, F_GETFL);

	if (!w) {
		close(fd);
		return NULL;
	}
	w->fd = fd;
	w->max = CKPTI_WIRE_MAX_PAYLOAD;
	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		w->in_error = w->out_error = -errno;
	ckpti_wire_tune(fd);
	return w;
}

void ckpti_wire_limit(struct ckpti_wire *w, size_t max)
{
	w->max = max;
}

void ckpti_wire_free(struct ckpti_wire *w)
{
	if (!w)
		return;
	close(w->fd);
	free(w->in.data);
	free(w->out.data);
	free(w);
}

int ckpti_wire_fd(const struct ckpti_wire *w)
{
	return w->fd;
}

bool ckpti_wire_wants_write(const struct ckpti_wire *w)
{
	return w->out_error == 0 && w->out.to > w->out.from;
}

/* ---- sending ------------------------------------------------------------------------------ */

int ckpti_wire_flush(struct ckpti_wire *w)
{
	ssize_t n;

	while (ckpti_wire_wants_write(w)) {
		n = send(w->fd, w->out.data + w->out.from, w->out.to - w->out.from, MSG_NOSIGNAL);
		if (n >= 0)
			consume(&w->out, (size_t)n);
		else if (errno == EAGAIN)
			break;
		else if (errno != EINTR)
			w->out_error = -errno;
	}
	return w->out_error;
}

static int queue(struct ckpti_wire *w, unsigned type, const char *payload, size_t len)
{
	struct header h = {.magic = htole32(MAGIC),
			   .length = htole32((uint32_t)len),
			   .type = htole16((uint16_t)type),
			   .version = htole16(CKPTI_WIRE_VERSION)};
	int r;

	/* Somebody who does not read is as good as gone. */
	if (w->out.to - w->out.from + sizeof(h) + len > QUEUE_MAX)
		return -ENOBUFS;
	r = reserve(&w->out, sizeof(h) + len);
	if (r < 0)
		return r;
	memcpy(w->out.data + w->out.to, &h, sizeof(h));
	if (len > 0)
		memcpy(w->out.data + w->out.to + sizeof(h), payload, len);
	w->out.to += sizeof(h) + len;
	return 0;
}

int ckpti_wire_send(struct ckpti_wire *w, unsigned type, const struct ckpti_kv *kv)
{
	char *payload = NULL;
	size_t len = 0;
	int r = 0;

	if (w->out_error)
		return w->out_error;
	if (kv)
		r = ckpti_kv_write(kv, &payload, &len);
	/* A frame of our own that cannot be: the connection is as good as before. */
	if (r == 0 && len > CKPTI_WIRE_MAX_PAYLOAD)
		r = -EMSGSIZE;
	if (r < 0)
		goto out;
	w->out_error = queue(w, type, payload, len);
	r = ckpti_wire_flush(w);
out:
	free(payload);
	return r;
}

/* ---- receiving ---------------------------------------------------------------------------- */

/* 1: a frame was taken out of the buffer. */
static int take_frame(struct ckpti_wire *w, unsigned *ret_type, struct ckpti_kv *ret)
{
	size_t have = w->in.to - w->in.from, len;
	struct header h;
	int r;

	if (have < sizeof(h))
		return 0;
	memcpy(&h, w->in.data + w->in.from, sizeof(h));
	len = le32toh(h.length);
	if (le32toh(h.magic) != MAGIC || len > w->max)
		return -EBADMSG;
	if (have < sizeof(h) + len)
		return 0;
	ckpti_kv_init(ret);
	r = ckpti_kv_parse(ret, w->in.data + w->in.from + sizeof(h), len);
	if (r < 0) {
		ckpti_kv_free(ret);
		return r;
	}
	*ret_type = le16toh(h.type);
	consume(&w->in, sizeof(h) + len);
	return 1;
}

/* 1: there is more in the buffer than before, 0: nothing to read now. */
static int fill(struct ckpti_wire *w)
{
	ssize_t n;
	int r = reserve(&w->in, READ_CHUNK);

	if (r < 0)
		return r;
	do {
		n = recv(w->fd, w->in.data + w->in.to, READ_CHUNK, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	/* The end within a frame is no orderly one, but it makes no difference to anybody. */
	if (n == 0)
		return -EPIPE;
	w->in.to += (size_t)n;
	return 1;
}

int ckpti_wire_recv(struct ckpti_wire *w, unsigned *ret_type, struct ckpti_kv *ret)
{
	int r;

	while (w->in_error == 0) {
		r = take_frame(w, ret_type, ret);
		if (r > 0)
			return r;
		if (r == 0)
			r = fill(w);
		if (r < 0)
			w->in_error = r;
		else if (r == 0)
			return w->out_error;
	}
	return w->in_error;
}

int ckpti_wire_wait(struct ckpti_wire *w, int timeout_ms, unsigned *ret_type, struct ckpti_kv *ret)
{
	int64_t end = ckpti_now_ms() + timeout_ms, left;
	struct pollfd p = {.fd = w->fd};
	int r;

	for (;;) {
		r = ckpti_wire_recv(w, ret_type, ret);
		if (r != 0)
			return r;
		left = end - ckpti_now_ms();
		if (left <= 0)
			return -ETIMEDOUT;
		p.events = (short)(POLLIN | (ckpti_wire_wants_write(w) ? POLLOUT : 0));
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		(void)ckpti_wire_flush(w);
	}
}
