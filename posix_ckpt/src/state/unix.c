/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Unix sockets whose both ends are in the set: pairs, connections through a named listener,
 * datagram sockets, listeners.  The kernel names the other end (sock_diag); queued data is peeked at
 * with SO_PEEK_OFF and stays where it is.  Restoring is in unix_restore.c.
 *
 * Limit: the kernel skips an empty datagram behind others when it is looked at for the second time:
 * the generation after the first one lacks it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/sock.h"
#include "state/state_private.h"
#include "state/unix_private.h"

/* ---- names: in a record "@" and escapes stand for an abstract name ------------------------- */

static void encode_name(const struct ckpti_unix_diag *diag, char ret[4 * sizeof(diag->name) + 2])
{
	char *p = ret;
	size_t i;

	if (!diag->name_len || diag->name[0]) {
		(void)snprintf(ret, sizeof(diag->name), "%.*s", (int)diag->name_len, diag->name);
		return;
	}
	*p++ = '@';
	for (i = 1; i < diag->name_len; i++) {
		unsigned char c = (unsigned char)diag->name[i];

		if (c > ' ' && c < 0x7f && c != '\\')
			*p++ = (char)c;
		else
			p += sprintf(p, "\\x%02x", c);
	}
	*p = '\0';
}

/* ---- saving ------------------------------------------------------------------------------- */

static int unix_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	char protocol[CKPTI_SOCK_PROTOCOL_SIZE];

	(void)err;
	if (!S_ISSOCK(d->st.st_mode))
		return 0;
	(void)ckpti_sock_protocol(d, protocol);
	return strcmp(protocol, "UNIX") == 0 || strcmp(protocol, "UNIX-STREAM") == 0;
}

static int fail(struct ckpti_err *err, int code, const struct ckpti_desc *d, const char *what)
{
	return ckpti_err_obj(err, code, d->pid, d->link, "unix socket at descriptor %d: %s", d->num,
			     what);
}

/* The kernel's view of d, asked once. */
static int get_diag(struct ckpti_desc *d, const struct ckpti_unix_diag **ret)
{
	int r;

	if (!d->priv) {
		struct ckpti_unix_diag *diag = malloc(sizeof(*diag));

		if (!diag)
			return -ENOMEM;
		r = ckpti_unix_diag((uint32_t)d->st.st_ino, diag);
		if (r < 0) {
			free(diag);
			return r;
		}
		d->priv = diag;
	}
	*ret = d->priv;
	return 0;
}

static struct ckpti_desc *find_socket(const struct ckpti_capture *cap, uint32_t ino)
{
	size_t i;

	for (i = 0; i < cap->ndesc; i++)
		if (S_ISSOCK(cap->desc[i].st.st_mode) && (uint32_t)cap->desc[i].st.st_ino == ino)
			return &cap->desc[i];
	return NULL;
}

/* Descriptors on their way cannot be saved; peeking has made copies of them, which are closed. */
static int has_rights(struct msghdr *mh)
{
	struct cmsghdr *c;
	int found = 0;

	for (c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int), i;
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		found = 1;
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			(void)close(fd);
		}
	}
	return found || (mh->msg_flags & MSG_CTRUNC);
}

struct queue {
	uint8_t *buf; /* data, without the lengths */
	size_t len;
	uint32_t *lens;    /* of messages */
	uint32_t *senders; /* OBJ ids of who sent them, 0: a socket without a name */
	uint32_t nmsgs;
	bool strangers;          /* not all are from the other end */
	struct sockaddr_un from; /* sender of the message that was peeked at last */
	socklen_t from_len;
};

/* Peek at what stands behind the peek offset, which advances.  size 0: length only. */
static ssize_t peek(int fd, struct queue *q, size_t size, const struct ckpti_desc *d,
		    struct ckpti_err *err)
{
	char control[CMSG_SPACE(253 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
	struct iovec iov = {.iov_len = size};
	struct msghdr mh = {
		.msg_name = &q->from,
		.msg_namelen = sizeof(q->from),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	uint8_t *grown;
	ssize_t n;

	grown = realloc(q->buf, q->len + size + 1);
	if (!grown)
		return ckpti_err(err, -ENOMEM, "out of memory");
	q->buf = grown;
	iov.iov_base = q->buf + q->len;
	n = recvmsg(fd, &mh, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC | (size ? 0 : MSG_TRUNC));
	if (n < 0)
		return -errno; /* no failure in itself: the caller decides */
	q->from_len = mh.msg_namelen;
	if (has_rights(&mh))
		return fail(err, -ENOTSUP, d, "a descriptor that was sent has not been received");
	return n;
}

static int peek_stream(int fd, struct queue *q, const struct ckpti_desc *d, struct ckpti_err *err)
{
	int total = 0;
	ssize_t n;

	if (ioctl(fd, SIOCINQ, &total) < 0)
		return fail(err, -errno, d, "cannot get the length of its queue");
	while (q->len < (size_t)total) {
		n = peek(fd, q, (size_t)total - q->len, d, err);
		if (n <= 0)
			return fail(err, n == 0 || n == -EAGAIN ? -ENOTSUP : (int)n, d,
				    "cannot look at its queue");
		q->len += (size_t)n;
	}
	return 0;
}

/* Did the last message come from a socket of this name? */
static bool is_sender(const struct queue *q, const char *name, size_t len)
{
	size_t have = 0;

	if (q->from_len > offsetof(struct sockaddr_un, sun_path))
		have = q->from_len - offsetof(struct sockaddr_un, sun_path);
	return have == len && memcmp(q->from.sun_path, name, len) == 0;
}

/* Who sent the last message: OBJ id, 0 for a socket without a name, or -EAGAIN when it is not in the
 * set.  The other end of a pair is the only one that can be sent from when the pair stands again. */
static int64_t find_sender(struct ckpti_capture *cap, const struct ckpti_desc *d, struct queue *q,
			   const struct ckpti_unix_diag *peer, uint32_t peer_id)
{
	const struct ckpti_unix_diag *diag;
	size_t i;

	if (peer ? is_sender(q, peer->name, peer->name_len) : is_sender(q, "", 0))
		return peer_id;
	if (peer && peer->peer == (uint32_t)d->st.st_ino)
		return -EAGAIN;
	q->strangers = true;
	if (is_sender(q, "", 0))
		return 0;
	for (i = 0; i < cap->ndesc; i++)
		if (cap->desc[i].kind == &ckpti_kind_unix && get_diag(&cap->desc[i], &diag) == 0 &&
		    diag->type == SOCK_DGRAM && is_sender(q, diag->name, diag->name_len))
			return cap->desc[i].id;
	return -EAGAIN;
}

static int add_message(struct queue *q, uint32_t len, uint32_t sender)
{
	size_t size = (q->nmsgs + 1) * sizeof(uint32_t);
	uint32_t *grown = realloc(q->lens, size);

	if (!grown)
		return -ENOMEM;
	q->lens = grown;
	grown = realloc(q->senders, size);
	if (!grown)
		return -ENOMEM;
	q->senders = grown;
	q->lens[q->nmsgs] = len;
	q->senders[q->nmsgs++] = sender;
	q->len += len;
	return 0;
}

static int peek_messages(struct ckpti_capture *cap, const struct ckpti_desc *d, struct queue *q,
			 const struct ckpti_unix_diag *self, const struct ckpti_unix_diag *peer,
			 uint32_t peer_id, struct ckpti_err *err)
{
	int64_t sender = 0;
	ssize_t n, got;

	for (;;) {
		n = peek(d->fd, q, 0, d, err);
		if (n == -EAGAIN || (n == 0 && self->type == SOCK_SEQPACKET && (self->shut & 1)))
			return 0;
		if (n < 0)
			return fail(err, (int)n, d, "cannot look at its queue");
		if (self->type == SOCK_DGRAM)
			sender = find_sender(cap, d, q, peer, peer_id);
		if (sender < 0)
			return fail(err, (int)sender, d,
				    "a datagram waits in it whose sender is not in the set");
		/* Looking at an empty message has already gone past it. */
		got = n ? peek(d->fd, q, (size_t)n, d, err) : 0;
		if (got != n)
			return fail(err, got < 0 ? (int)got : -EIO, d, "cannot look at its queue");
		if (add_message(q, (uint32_t)n, (uint32_t)sender) < 0)
			return ckpti_err(err, -ENOMEM, "out of memory");
	}
}

/* Copy the queue of d without taking anything out of it. */
static int peek_queue(struct ckpti_capture *cap, const struct ckpti_desc *d,
		      const struct ckpti_unix_diag *self, const struct ckpti_unix_diag *peer,
		      uint32_t peer_id, struct queue *q, struct ckpti_err *err)
{
	int old, r;

	old = ckpti_sock_getopt(d->fd, SOL_SOCKET, SO_PEEK_OFF, -1);
	r = ckpti_sock_setopt(d->fd, SOL_SOCKET, SO_PEEK_OFF, 0);
	if (r < 0)
		return fail(err, r, d, "cannot set SO_PEEK_OFF");
	r = self->type == SOCK_STREAM ? peek_stream(d->fd, q, d, err)
				      : peek_messages(cap, d, q, self, peer, peer_id, err);
	(void)ckpti_sock_setopt(d->fd, SOL_SOCKET, SO_PEEK_OFF, old);
	return r;
}

/* The other end: *ret_peer (NULL when none), or rec->gone.  1: d is recorded as standard input or
 * output instead. */
static int save_peer(struct ckpti_capture *cap, struct ckpti_desc *d,
		     const struct ckpti_unix_diag *self, struct ckpti_r_obj_unix *rec,
		     const struct ckpti_unix_diag **ret_peer, struct ckpti_err *err)
{
	struct pollfd pfd = {.fd = d->fd};
	struct ckpti_desc *peer;
	int r;

	*ret_peer = NULL;
	if (!self->connected)
		return 0;
	if (!self->peer) {
		if (self->type != SOCK_DGRAM && self->shut != 3)
			return fail(err, -EAGAIN, d, "its connection has not been accepted yet");
		/* Only a reset makes poll() report an error here; it stays pending. */
		rec->gone = d->fd >= 0 && poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLERR) ? 2 : 1;
		return 0;
	}
	peer = find_socket(cap, self->peer);
	if (!peer) {
		if (ckpti_stdio_number(cap, d) < 0)
			return fail(err, -ENOTSUP, d,
				    "the other end of the socket is outside the set");
		r = ckpti_kind_stdio.save(cap, d, err);
		return r < 0 ? r : 1;
	}
	rec->peer = peer->id;
	r = get_diag(peer, ret_peer);
	if (r < 0)
		return fail(err, r, d, "the kernel does not show its other end");
	if (self->type == SOCK_DGRAM && (*ret_peer)->peer != (uint32_t)d->st.st_ino &&
	    !(*ret_peer)->name_len)
		return fail(err, -ENOTSUP, d, "the socket that it sends to has no name");
	return 0;
}

static int save_name(const struct ckpti_desc *d, const struct ckpti_unix_diag *self,
		     struct ckpti_r_obj_unix *rec, char *name, struct ckpti_err *err)
{
	struct stat st;

	encode_name(self, name);
	if (!self->name_len)
		return 0;
	rec->bound = 1;
	if (name[0] == '@' && !self->name[0])
		return 0;
	if (name[0] != '/')
		return fail(err, -ENOTSUP, d, "it is bound to a relative path");
	if (stat(name, &st) == 0 && S_ISSOCK(st.st_mode) && (uint32_t)st.st_ino == self->vfs_ino)
		rec->mode = st.st_mode;
	return 0;
}

/* Lengths and senders in front of the data, as the record wants them. */
static int pack(struct queue *q, size_t *ret_size)
{
	size_t part = q->nmsgs * sizeof(uint32_t);
	size_t head = q->strangers ? 2 * part : part;
	uint8_t *grown;

	*ret_size = head + q->len;
	if (!head)
		return 0;
	grown = realloc(q->buf, head + q->len);
	if (!grown)
		return -ENOMEM;
	memmove(grown + head, grown, q->len);
	memcpy(grown, q->lens, part);
	if (q->strangers)
		memcpy(grown + part, q->senders, part);
	q->buf = grown;
	return 0;
}

static void save_options(int fd, struct ckpti_r_obj_unix *rec)
{
	rec->sndbuf = ckpti_sock_getopt(fd, SOL_SOCKET, SO_SNDBUF, 0);
	rec->rcvbuf = ckpti_sock_getopt(fd, SOL_SOCKET, SO_RCVBUF, 0);
	rec->passcred = ckpti_sock_getopt(fd, SOL_SOCKET, SO_PASSCRED, 0) > 0;
	rec->rcvtimeo_us = ckpti_sock_get_timeout(fd, SO_RCVTIMEO);
	rec->sndtimeo_us = ckpti_sock_get_timeout(fd, SO_SNDTIMEO);
}

static int unix_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	char name[4 * sizeof(((struct ckpti_unix_diag *)0)->name) + 2];
	const struct ckpti_unix_diag *self = NULL, *peer = NULL;
	struct ckpti_r_obj_unix rec = {0};
	const char *str = name;
	struct queue q = {0};
	size_t size;
	int r;

	r = get_diag(d, &self);
	if (r < 0)
		return fail(err, r == -ENOENT ? -ENOTSUP : r, d,
			    "the kernel does not show it (another network namespace?)");
	rec.type = (int32_t)self->type;
	rec.shut = self->shut;
	r = save_peer(cap, d, self, &rec, &peer, err);
	if (r != 0)
		return r < 0 ? r : 0;
	r = save_name(d, self, &rec, name, err);
	if (r < 0)
		return r;
	if (self->state == TCP_LISTEN) {
		rec.listening = 1;
		rec.backlog = self->wqueue;
		if (self->rqueue)
			return fail(err, -EAGAIN, d, "a connection waits to be accepted");
	} else if (d->fd >= 0 && (rec.peer || rec.gone || rec.type == SOCK_DGRAM)) {
		r = peek_queue(cap, d, self, peer, rec.peer, &q, err);
		if (r < 0)
			goto out;
	}
	if (d->fd >= 0)
		save_options(d->fd, &rec);
	rec.nbytes = q.len;
	rec.nmsgs = q.nmsgs;
	rec.senders = q.strangers;
	if (rec.passcred && (rec.nbytes || rec.nmsgs)) {
		r = fail(err, -EAGAIN, d, "data with the sender's credentials waits in it");
		goto out;
	}
	if (q.nmsgs && rec.type == SOCK_DGRAM && !rec.peer && !rec.gone && !rec.bound) {
		r = fail(err, -ENOTSUP, d, "datagrams wait in it, but it has no name");
		goto out;
	}
	ckpti_obj_head(d, &rec.o);
	r = pack(&q, &size);
	if (r == 0)
		r = ckpti_image_add(cap->img, CKPTI_R_OBJ_UNIX, &rec, sizeof(rec), &str, 1, q.buf,
				    1, size);
out:
	free(q.buf);
	free(q.lens);
	free(q.senders);
	return r;
}

const struct ckpti_fd_kind ckpti_kind_unix = {
	.name = "unix socket",
	.rec_type = CKPTI_R_OBJ_UNIX,
	.probe = unix_probe,
	.save = unix_save,
	.check = ckpti_unix_check,
	.restore = ckpti_unix_restore,
	.finish = ckpti_unix_finish,
	.attach = ckpti_obj_attach,
	.settle = ckpti_unix_settle,
};
