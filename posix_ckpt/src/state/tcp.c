/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * TCP: connections whose both ends are in the set, listening sockets, and sockets that are not yet
 * connected.  The other end is the socket whose addresses are the same, exchanged.  Data in flight is
 * copied by tcp_queue.c, restoring is in tcp_restore.c.
 *
 * Refused by name: other ends outside the set, half-closed and broken connections, connections in the
 * making, urgent data, TLS in the kernel.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "state/kinds.h"
#include "state/sock.h"
#include "state/state_private.h"
#include "state/tcp_private.h"

const struct ckpti_tcp_option ckpti_tcp_options[8] = {
	{SOL_SOCKET, SO_REUSEPORT},   {SOL_SOCKET, SO_OOBINLINE}, {IPPROTO_TCP, TCP_KEEPIDLE},
	{IPPROTO_TCP, TCP_KEEPINTVL}, {IPPROTO_TCP, TCP_KEEPCNT}, {IPPROTO_TCP, TCP_USER_TIMEOUT},
	{IPPROTO_TCP, TCP_CORK},      {IPPROTO_IP, IP_TOS},
};

bool ckpti_tcp_addr_of(const void *sockaddr, struct ckpti_tcp_addr *ret)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;
	sa_family_t family;

	memset(ret, 0, sizeof(*ret));
	memcpy(&family, sockaddr, sizeof(family));
	if (family == AF_INET) {
		memcpy(&in, sockaddr, sizeof(in));
		ret->ip[10] = ret->ip[11] = 0xff;
		memcpy(ret->ip + 12, &in.sin_addr, 4);
		ret->port = in.sin_port;
	} else if (family == AF_INET6) {
		memcpy(&in6, sockaddr, sizeof(in6));
		memcpy(ret->ip, &in6.sin6_addr, 16);
		ret->port = in6.sin6_port;
	}
	return family == AF_INET || family == AF_INET6;
}

bool ckpti_tcp_addr_equal(const struct ckpti_tcp_addr *a, const struct ckpti_tcp_addr *b)
{
	return a->port == b->port && memcmp(a->ip, b->ip, sizeof(a->ip)) == 0;
}

/* What saving needs to know of each TCP socket of the set, asked once. */
struct view {
	struct tcp_info info;
	uint8_t local[28], remote[28];
	struct ckpti_tcp_addr here, there;
};

static int fail(struct ckpti_err *err, int code, const struct ckpti_desc *d, const char *what)
{
	return ckpti_err_obj(err, code, d->pid, d->link, "TCP socket at descriptor %d: %s", d->num,
			     what);
}

static int tcp_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	char protocol[CKPTI_SOCK_PROTOCOL_SIZE];

	if (!S_ISSOCK(d->st.st_mode))
		return 0;
	(void)ckpti_sock_protocol(d, protocol);
	if (strncmp(protocol, "MPTCP", 5) == 0)
		return fail(err, -ENOTSUP, d, "multipath TCP cannot be saved");
	return strcmp(protocol, "TCP") == 0 || strcmp(protocol, "TCPv6") == 0;
}

static int get_view(struct ckpti_desc *d, struct view **ret)
{
	socklen_t len = sizeof((*ret)->info);
	struct view *v;
	int r = 0;

	if (d->priv) {
		*ret = d->priv;
		return 0;
	}
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	if (getsockopt(d->fd, IPPROTO_TCP, TCP_INFO, &v->info, &len) < 0)
		r = -errno;
	len = sizeof(v->local);
	if (r == 0 && getsockname(d->fd, (struct sockaddr *)(void *)v->local, &len) < 0)
		r = -errno;
	len = sizeof(v->remote);
	if (r == 0 && getpeername(d->fd, (struct sockaddr *)(void *)v->remote, &len) < 0 &&
	    errno != ENOTCONN)
		r = -errno;
	if (r < 0) {
		free(v);
		return r;
	}
	(void)ckpti_tcp_addr_of(v->local, &v->here);
	(void)ckpti_tcp_addr_of(v->remote, &v->there);
	*ret = d->priv = v;
	return 0;
}

static struct ckpti_desc *find_peer(struct ckpti_capture *cap, const struct ckpti_desc *self,
				    const struct view *v)
{
	struct view *other;
	size_t i;

	for (i = 0; i < cap->ndesc; i++) {
		struct ckpti_desc *d = &cap->desc[i];

		if (d == self || d->kind != &ckpti_kind_tcp || d->fd < 0 || get_view(d, &other) < 0)
			continue;
		if (ckpti_tcp_addr_equal(&v->here, &other->there) &&
		    ckpti_tcp_addr_equal(&v->there, &other->here))
			return d;
	}
	return NULL;
}

/* Can a socket in this state be saved? */
static int check_state(const struct ckpti_desc *d, const struct view *v, struct ckpti_err *err)
{
	struct pollfd pfd = {.fd = d->fd, .events = POLLPRI | POLLRDHUP};
	char ulp[16] = "";
	socklen_t len = sizeof(ulp);
	int ends;

	(void)poll(&pfd, 1, 0);
	ends = pfd.revents & POLLRDHUP;
	switch (v->info.tcpi_state) {
	case TCP_LISTEN:
		if (v->info.tcpi_unacked)
			return fail(err, -EAGAIN, d, "a connection waits to be accepted");
		return 0;
	case TCP_CLOSE:
		return ends ? fail(err, -ENOTSUP, d, "its connection is broken") : 0;
	case TCP_ESTABLISHED:
		break;
	case TCP_SYN_SENT:
	case TCP_SYN_RECV:
		return fail(err, -EAGAIN, d, "it is being connected");
	default:
		return fail(err, -ENOTSUP, d, "its connection is half closed");
	}
	if (ends)
		return fail(err, -ENOTSUP, d, "its connection is half closed");
	if (pfd.revents & POLLERR)
		return fail(err, -EAGAIN, d, "an error waits to be reported");
	if (pfd.revents & POLLPRI)
		return fail(err, -EAGAIN, d, "urgent data waits in it");
	if (getsockopt(d->fd, IPPROTO_TCP, TCP_ULP, ulp, &len) == 0 && len && ulp[0])
		return fail(err, -ENOTSUP, d, "TLS in the kernel cannot be saved");
	return 0;
}

static void save_options(int fd, struct ckpti_r_obj_tcp *rec)
{
	const int lock = ckpti_sock_buf_lock(fd);
	struct linger linger = {0};
	socklen_t len = sizeof(linger);
	size_t i;

	if (lock & 1)
		rec->sndbuf = ckpti_sock_getopt(fd, SOL_SOCKET, SO_SNDBUF, 0);
	if (lock & 2)
		rec->rcvbuf = ckpti_sock_getopt(fd, SOL_SOCKET, SO_RCVBUF, 0);
	rec->nodelay = ckpti_sock_getopt(fd, IPPROTO_TCP, TCP_NODELAY, 0) > 0;
	rec->keepalive = ckpti_sock_getopt(fd, SOL_SOCKET, SO_KEEPALIVE, 0) > 0;
	rec->reuseaddr = ckpti_sock_getopt(fd, SOL_SOCKET, SO_REUSEADDR, 0) > 0;
	rec->v6only = ckpti_sock_getopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0) > 0;
	rec->rcvlowat = ckpti_sock_getopt(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
	(void)getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &len);
	rec->linger = linger.l_onoff ? linger.l_linger : -1;
	rec->rcvtimeo_us = ckpti_sock_get_timeout(fd, SO_RCVTIMEO);
	rec->sndtimeo_us = ckpti_sock_get_timeout(fd, SO_SNDTIMEO);
	for (i = 0; i < sizeof(rec->opt) / sizeof(rec->opt[0]); i++)
		rec->opt[i] = ckpti_sock_getopt(fd, ckpti_tcp_options[i].level,
						ckpti_tcp_options[i].name, -1);
}

static int tcp_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_tcp rec = {0};
	struct ckpti_desc *peer = NULL;
	uint8_t *queue = NULL;
	size_t len = 0;
	struct view *v;
	int r;

	ckpti_obj_head(d, &rec.o);
	if (d->fd < 0) /* a mere check: the other end and the state cannot be asked for */
		return ckpti_image_add(cap->img, CKPTI_R_OBJ_TCP, &rec, sizeof(rec), NULL, 0, NULL,
				       0, 0);
	r = get_view(d, &v);
	if (r < 0)
		return fail(err, r, d, strerror(-r));
	if (v->info.tcpi_state != TCP_LISTEN && v->info.tcpi_state != TCP_CLOSE) {
		peer = find_peer(cap, d, v);
		if (!peer && ckpti_stdio_number(cap, d) >= 0)
			return ckpti_kind_stdio.save(cap, d, err);
	}
	r = check_state(d, v, err);
	if (r < 0)
		return r;
	if (v->info.tcpi_state == TCP_ESTABLISHED) {
		if (!peer)
			return fail(err, -ENOTSUP, d,
				    "the other end of the connection is outside the set");
		r = check_state(peer, peer->priv, err);
		if (r < 0)
			return r;
		r = ckpti_tcp_queue(d->fd, peer->fd, &queue, &len);
		if (r < 0)
			return fail(err, r, d, "cannot copy the data on its way to it");
		rec.peer = peer->id;
	}
	save_options(d->fd, &rec);
	rec.family = ckpti_sock_getopt(d->fd, SOL_SOCKET, SO_DOMAIN, AF_INET);
	rec.listening = v->info.tcpi_state == TCP_LISTEN;
	rec.backlog = rec.listening ? v->info.tcpi_sacked : 0;
	memcpy(rec.local, v->local, sizeof(rec.local));
	memcpy(rec.remote, v->remote, sizeof(rec.remote));
	rec.nbytes = len;
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_TCP, &rec, sizeof(rec), NULL, 0, queue, 1, len);
	free(queue);
	return r;
}

const struct ckpti_fd_kind ckpti_kind_tcp = {
	.name = "TCP socket",
	.rec_type = CKPTI_R_OBJ_TCP,
	.probe = tcp_probe,
	.save = tcp_save,
	.check = ckpti_tcp_check,
	.restore = ckpti_tcp_restore,
	.finish = ckpti_tcp_finish,
	.attach = ckpti_obj_attach,
};
