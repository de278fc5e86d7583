/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * UDP and UDP-Lite: addresses, options, multicast groups, and the datagrams that wait to be read, which
 * are peeked at with SO_PEEK_OFF and stay where they are.  Restoring is in udp_restore.c.
 *
 * Limits: an error that waits to be reported (ICMP) is taken; the kernel skips an empty datagram behind
 * others when it is looked at for the second time.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "state/kinds.h"
#include "state/sock.h"
#include "state/sock_options.h"
#include "state/state_private.h"
#include "state/udp_private.h"

#define DATAGRAM_MAX  65536
#define SEND_WAIT_MS  20 /* until what was sent has left */
#define SEND_ATTEMPTS 20

static int fail(struct ckpti_err *err, int code, const struct ckpti_desc *d, const char *what)
{
	return ckpti_err_obj(err, code, d->pid, d->link, "UDP socket at descriptor %d: %s", d->num,
			     what);
}

static int udp_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	static const char *const names[] = {"UDP", "UDPv6", "UDP-Lite", "UDPLITEv6"};
	char protocol[CKPTI_SOCK_PROTOCOL_SIZE];

	(void)err;
	if (!S_ISSOCK(d->st.st_mode))
		return 0;
	(void)ckpti_sock_protocol(d, protocol);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(protocol, names[i]) == 0)
			return 1;
	return 0;
}

struct queue {
	struct ckpti_e_datagram *msg;
	uint32_t n;
	uint8_t *data;
	size_t len, cap;
};

static int add_message(struct queue *q, const uint8_t *data, size_t len, const uint8_t from[28])
{
	struct ckpti_e_datagram *grown = realloc(q->msg, (q->n + 1) * sizeof(*grown));
	uint8_t *more;

	if (!grown)
		return -ENOMEM;
	q->msg = grown;
	if (q->cap - q->len < len) {
		more = realloc(q->data, 2 * q->cap + len);
		if (!more)
			return -ENOMEM;
		q->data = more;
		q->cap = 2 * q->cap + len;
	}
	q->msg[q->n].len = (uint32_t)len;
	memcpy(q->msg[q->n++].from, from, 28);
	if (len)
		memcpy(q->data + q->len, data, len);
	q->len += len;
	return 0;
}

/* Several datagrams that came together (UDP_GRO): the length of each but the last; 0: only one. */
static size_t segment_size(struct msghdr *mh)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		int size;

		if (c->cmsg_level != IPPROTO_UDP || c->cmsg_type != UDP_GRO)
			continue;
		memcpy(&size, CMSG_DATA(c), sizeof(size));
		return size > 0 ? (size_t)size : 0;
	}
	return 0;
}

/* Look at the next message.  1: added, 0: there is none. */
static int peek_one(int fd, uint8_t *buf, struct queue *q)
{
	char control[1024];
	uint8_t from[28] = {0};
	struct iovec iov = {.iov_base = buf, .iov_len = DATAGRAM_MAX};
	struct msghdr mh = {.msg_name = from,
			    .msg_namelen = sizeof(from),
			    .msg_iov = &iov,
			    .msg_iovlen = 1,
			    .msg_control = control,
			    .msg_controllen = sizeof(control)};
	size_t part, off = 0;
	ssize_t n = -1;
	int r;

	/* An error that waits is reported once, in place of a message. */
	for (int i = 0; n < 0 && i < 2; i++)
		n = recvmsg(fd, &mh, MSG_PEEK | MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	part = segment_size(&mh);
	do {
		size_t len = (size_t)n - off;

		if (part && part < len)
			len = part;
		r = add_message(q, buf + off, len, from);
		off += len;
	} while (r == 0 && off < (size_t)n);
	return r < 0 ? r : 1;
}

static int peek_queue(int fd, struct queue *q)
{
	const int old = ckpti_sock_getopt(fd, SOL_SOCKET, SO_PEEK_OFF, -1);
	uint8_t *buf = malloc(DATAGRAM_MAX);
	int r;

	if (!buf)
		return -ENOMEM;
	r = ckpti_sock_setopt(fd, SOL_SOCKET, SO_PEEK_OFF, 0);
	if (r == 0) {
		do
			r = peek_one(fd, buf, q);
		while (r > 0);
		(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_PEEK_OFF, old);
	}
	free(buf);
	return r;
}

/* Does it hold parts of a datagram that is not complete (MSG_MORE, UDP_CORK)? */
static bool holds_parts(int fd)
{
	const struct timespec ts = {0, SEND_WAIT_MS * 1000000L / SEND_ATTEMPTS};
	int n = 0;

	for (int i = 0; i < SEND_ATTEMPTS; i++) {
		if (ioctl(fd, SIOCOUTQ, &n) < 0 || n == 0)
			return false;
		(void)nanosleep(&ts, NULL);
	}
	return true;
}

static int check_state(const struct ckpti_desc *d, struct ckpti_err *err)
{
	void *filter = NULL;
	uint32_t n;

	if (ckpti_sock_getopt(d->fd, IPPROTO_UDP, UDP_ENCAP, 0) > 0)
		return fail(err, -ENOTSUP, d, "it unpacks a tunnel, which cannot be saved");
	if (ckpti_sock_filter_save(d->fd, &filter, &n) < 0 || n) {
		free(filter);
		return fail(err, -ENOTSUP, d, "it has a packet filter");
	}
	if (holds_parts(d->fd))
		return fail(err, -EAGAIN, d, "an incomplete datagram waits to be sent");
	return 0;
}

/* options, groups, messages, data: the array of the record. */
static uint8_t *pack(const struct ckpti_e_sockopt *opts, const struct ckpti_e_membership *groups,
		     const struct queue *q, const struct ckpti_r_obj_udp *rec, size_t *ret_size)
{
	const struct {
		const void *from;
		size_t len;
	} parts[] = {{opts, rec->nopts * sizeof(*opts)},
		     {groups, rec->ngroups * sizeof(*groups)},
		     {q->msg, q->n * sizeof(*q->msg)},
		     {q->data, q->len}};
	uint8_t *buf, *p;
	size_t i;

	*ret_size = 0;
	for (i = 0; i < 4; i++)
		*ret_size += parts[i].len;
	p = buf = malloc(*ret_size + 1);
	for (i = 0; buf && i < 4; i++) {
		if (parts[i].len)
			memcpy(p, parts[i].from, parts[i].len);
		p += parts[i].len;
	}
	return buf;
}

static int udp_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_e_sockopt opts[CKPTI_SOCK_OPTIONS_MAX];
	struct ckpti_e_membership *groups = NULL;
	struct ckpti_r_obj_udp rec = {0};
	char device[32] = "";
	const char *str = device;
	struct queue q = {0};
	uint8_t *array = NULL;
	socklen_t len;
	size_t size;
	int r;

	r = check_state(d, err);
	if (r < 0)
		return r;
	ckpti_obj_head(d, &rec.o);
	rec.family = ckpti_sock_getopt(d->fd, SOL_SOCKET, SO_DOMAIN, AF_INET);
	rec.protocol = ckpti_sock_getopt(d->fd, SOL_SOCKET, SO_PROTOCOL, IPPROTO_UDP);
	len = sizeof(rec.local);
	if (getsockname(d->fd, (struct sockaddr *)(void *)rec.local, &len) < 0)
		return fail(err, -errno, d, strerror(errno));
	len = sizeof(rec.remote);
	if (getpeername(d->fd, (struct sockaddr *)(void *)rec.remote, &len) < 0)
		memset(rec.remote, 0, sizeof(rec.remote));
	len = sizeof(device) - 1;
	(void)getsockopt(d->fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len);
	ckpti_sock_buffers_save(d->fd, &rec.sndbuf, &rec.rcvbuf);
	rec.cork = ckpti_sock_getopt(d->fd, IPPROTO_UDP, UDP_CORK, 0) > 0;
	rec.rcvtimeo_us = ckpti_sock_get_timeout(d->fd, SO_RCVTIMEO);
	rec.sndtimeo_us = ckpti_sock_get_timeout(d->fd, SO_SNDTIMEO);
	rec.nopts = ckpti_sock_options_save(d->fd, opts);
	r = ckpti_sock_groups_save(d->fd, rec.family, &groups, &rec.ngroups);
	if (r < 0) {
		r = fail(err, r, d, "its multicast groups cannot be read");
		goto out;
	}
	r = peek_queue(d->fd, &q);
	if (r < 0) {
		r = fail(err, r, d, "cannot look at its queue");
		goto out;
	}
	rec.nmsgs = q.n;
	rec.nbytes = q.len;
	array = pack(opts, groups, &q, &rec, &size);
	r = array ? ckpti_image_add(cap->img, CKPTI_R_OBJ_UDP, &rec, sizeof(rec), &str, 1, array, 1,
				    size)
		  : -ENOMEM;
	if (r < 0)
		r = ckpti_err(err, r, "out of memory");
out:
	free(array);
	free(groups);
	free(q.msg);
	free(q.data);
	return r;
}

const struct ckpti_fd_kind ckpti_kind_udp = {
	.name = "UDP socket",
	.rec_type = CKPTI_R_OBJ_UDP,
	.probe = udp_probe,
	.save = udp_save,
	.check = ckpti_udp_check,
	.restore = ckpti_udp_restore,
	.finish = ckpti_udp_finish,
	.attach = ckpti_obj_attach,
};
