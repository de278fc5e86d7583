/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Restoring TCP sockets (tcp.c saves them).
 *
 * A connection is made anew between its old addresses: one end listens for the moment, or the
 * restored listener of that port accepts; the other takes its old port and connects.  Sequence
 * numbers are new, the data on its way is sent again from the other end.  All sockets have
 * SO_REUSEADDR until finish(), so that several may share a port as before.
 *
 * The former life may have left one end in TIME_WAIT.  Then, in this order: the kernel allows the port
 * again when it is asked to choose it (a second later, on the loopback device); the other end
 * connects; the minute is waited for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/sock.h"
#include "state/tcp_private.h"

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51 /* Linux 6.3 */
#endif

#define ACCEPT_MS    3000
#define LINGER_PAUSE 100000000L /* ns between two tries */
#define LINGER_TRIES 650        /* TIME_WAIT lasts 60 s */

struct sock {
	struct ckpti_redesc *d;
	struct ckpti_r_obj_tcp rec;
	struct ckpti_tcp_addr here, there;
};

static void get_sock(struct ckpti_redesc *d, struct sock *ret)
{
	ret->d = d;
	CKPTI_FIXED(&d->rec, &ret->rec);
	(void)ckpti_tcp_addr_of(ret->rec.local, &ret->here);
	(void)ckpti_tcp_addr_of(ret->rec.remote, &ret->there);
}

static int get_peer(struct ckpti_rebuild *rb, const struct sock *s, struct sock *ret)
{
	struct ckpti_redesc *d = ckpti_redesc_by_id(rb, s->rec.peer);

	if (!d || d == s->d || d->rec.type != CKPTI_R_OBJ_TCP)
		return -EBADMSG;
	get_sock(d, ret);
	return ret->rec.peer == s->rec.o.id ? 0 : -EBADMSG;
}

static socklen_t addr_len(const struct sock *s)
{
	return s->rec.family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

/* "address port N" for messages. */
static const char *show(const struct sock *s, char *buf, size_t size)
{
	char ip[INET6_ADDRSTRLEN] = "?";

	(void)inet_ntop(AF_INET6, s->here.ip, ip, sizeof(ip));
	(void)snprintf(buf, size, "%s port %u", strncmp(ip, "::ffff:", 7) == 0 ? ip + 7 : ip,
		       ntohs(s->here.port));
	return buf;
}

/* Does the port only wait for the end of a connection that is no more? */
static bool port_lingers(const struct sock *s)
{
	static const char *const tables[] = {"/proc/self/net/tcp", "/proc/self/net/tcp6"};
	bool found = false;
	char line[512];
	size_t i;

	for (i = 0; !found && i < 2; i++) {
		FILE *f = fopen(tables[i], "re");
		unsigned port, st;

		while (f && !found && fgets(line, sizeof(line), f))
			found = sscanf(line, " %*d: %*[^:]:%x %*[^:]:%*x %x", &port, &st) == 2 &&
				port == ntohs(s->here.port) &&
				(st == TCP_TIME_WAIT || st == TCP_FIN_WAIT1 ||
				 st == TCP_FIN_WAIT2 || st == TCP_LAST_ACK || st == TCP_CLOSING);
		if (f)
			(void)fclose(f);
	}
	return found;
}

/* Is the port one of those that the kernel chooses? */
static bool port_is_ephemeral(const struct sock *s)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	unsigned lo = 1, hi = 0, port = ntohs(s->here.port);

	if (!f)
		return false;
	if (fscanf(f, "%u %u", &lo, &hi) != 2)
		hi = 0;
	(void)fclose(f);
	return lo <= port && port <= hi;
}

/* A socket like s, bound to its address unless it had none; with_port false: the port not yet. */
static int make_bound(const struct sock *s, bool with_port, int *ret_fd)
{
	uint8_t addr[sizeof(s->rec.local)];
	int fd, r;

	memcpy(addr, s->rec.local, sizeof(addr));
	if (!with_port) /* at the same place for both families */
		memset(addr + offsetof(struct sockaddr_in, sin_port), 0, sizeof(in_port_t));

	fd = socket(s->rec.family, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	r = ckpti_sock_setopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (r == 0 && s->rec.opt[0] > 0)
		r = ckpti_sock_setopt(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	if (r == 0 && s->rec.family == AF_INET6)
		r = ckpti_sock_setopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, (int)s->rec.v6only);
	/* Decides about the window, which is agreed on while connecting. */
	if (r == 0 && s->rec.rcvbuf)
		r = ckpti_sock_setopt(fd, SOL_SOCKET, SO_RCVBUF, s->rec.rcvbuf / 2);
	if (r == 0 && !with_port)
		r = ckpti_sock_setopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	if (r == 0 && s->here.port &&
	    bind(fd, (const struct sockaddr *)(const void *)addr, addr_len(s)) < 0)
		r = -errno;
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

static void pause_lingering(void)
{
	const struct timespec ts = {0, LINGER_PAUSE};

	(void)nanosleep(&ts, NULL);
}

static int restore_single(const struct sock *s, struct ckpti_err *err)
{
	char text[80];
	int fd = -1, r, i;

	r = make_bound(s, true, &fd);
	for (i = 0; r == -EADDRINUSE && i < LINGER_TRIES && port_lingers(s); i++) {
		pause_lingering();
		r = make_bound(s, true, &fd);
	}
	if (r < 0)
		return ckpti_err(err, r, "cannot bind a TCP socket to %s: %s",
				 show(s, text, sizeof(text)), strerror(-r));
	if (s->rec.listening && listen(fd, (int)s->rec.backlog) < 0) {
		r = ckpti_err(err, -errno, "cannot listen on %s: %s", show(s, text, sizeof(text)),
			      strerror(errno));
		(void)close(fd);
		return r;
	}
	s->d->fd = fd;
	return 0;
}

/* Would a connection to s come in at the listener l? */
static bool is_listener_of(const struct sock *l, const struct sock *s)
{
	static const uint8_t any4[16] = {[10] = 0xff, [11] = 0xff}, any6[16];

	return l->rec.listening && l->rec.family == s->rec.family && l->here.port == s->here.port &&
	       (memcmp(l->here.ip, s->here.ip, 16) == 0 || memcmp(l->here.ip, any4, 16) == 0 ||
		memcmp(l->here.ip, any6, 16) == 0);
}

/* The restored listeners of s, which may be several (SO_REUSEPORT); at most max.  One that fails
 * reports that when its own turn comes. */
static size_t find_listeners(struct ckpti_rebuild *rb, const struct sock *s, struct pollfd *ret,
			     size_t max)
{
	struct sock l;
	size_t n = 0, i;

	for (i = 0; i < rb->ndesc && n < max; i++) {
		if (rb->desc[i].rec.type != CKPTI_R_OBJ_TCP)
			continue;
		get_sock(&rb->desc[i], &l);
		if (!is_listener_of(&l, s) || ckpti_tcp_restore(rb, l.d, NULL) < 0)
			continue;
		ret[n++] = (struct pollfd){.fd = l.d->fd, .events = POLLIN};
	}
	return n;
}

/* Accept the connection that comes from client; a stranger's is dropped, as if the program had
 * ended, which it had. */
static int accept_from(struct pollfd *listener, size_t n, const struct sock *client, int *ret_fd)
{
	struct sockaddr_in6 addr;
	struct ckpti_tcp_addr a;
	socklen_t len;
	size_t i;
	int fd;

	while (poll(listener, n, ACCEPT_MS) > 0) {
		for (i = 0; i < n; i++) {
			if (!(listener[i].revents & POLLIN))
				continue;
			len = sizeof(addr);
			fd = accept4(listener[i].fd, (struct sockaddr *)&addr, &len, SOCK_CLOEXEC);
			if (fd < 0)
				return -errno;
			if (ckpti_tcp_addr_of(&addr, &a) &&
			    ckpti_tcp_addr_equal(&a, &client->here)) {
				*ret_fd = fd;
				return 0;
			}
			(void)close(fd);
		}
	}
	return -ETIMEDOUT;
}

static int connect_bound(const struct sock *s, int fd)
{
	int r;

	/* All on this machine: it answers at once or not at all. */
	(void)ckpti_sock_set_timeout(fd, SO_SNDTIMEO, ACCEPT_MS * INT64_C(1000));
	r = connect(fd, (const struct sockaddr *)(const void *)s->rec.remote, addr_len(s));
	if (r < 0)
		r = errno == EINPROGRESS ? -ETIMEDOUT : -errno;
	(void)ckpti_sock_set_timeout(fd, SO_SNDTIMEO, 0);
	return r;
}

/* Connect s to its other end from its old port.  The kernel is stricter with a port that is bound
 * than with one that it chooses itself, so it is first made to choose from a range of one. */
static int make_client(const struct sock *s, int *ret_fd)
{
	const unsigned port = ntohs(s->here.port);
	int fd = -1, r = -EADDRNOTAVAIL, how;

	for (how = 0; how < 2 && (r == -EADDRNOTAVAIL || r == -ENOPROTOOPT); how++) {
		if (how == 0 && !port_is_ephemeral(s))
			continue;
		r = make_bound(s, how == 1, &fd);
		if (r < 0)
			continue;
		if (how == 0)
			r = ckpti_sock_setopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE,
					      (int)(port << 16 | port));
		if (r == 0)
			r = connect_bound(s, fd);
		if (how == 0)
			(void)ckpti_sock_setopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, 0);
		if (r < 0)
			(void)close(fd);
	}
	if (r == 0)
		*ret_fd = fd;
	return r;
}

/* Connect client to server through the n restored listeners, or one for the moment when n is 0. */
static int connect_ends(struct sock *server, struct sock *client, struct pollfd *listener, size_t n)
{
	int lfd = -1, cfd = -1, sfd = -1, r;
	struct pollfd own;

	if (n == 0) {
		r = make_bound(server, true, &lfd);
		if (r == 0 && listen(lfd, 1) < 0)
			r = -errno;
		if (r < 0)
			goto out;
		own = (struct pollfd){.fd = lfd, .events = POLLIN};
		listener = &own;
		n = 1;
	}
	r = make_client(client, &cfd);
	if (r == 0)
		r = accept_from(listener, n, client, &sfd);
	if (r < 0)
		goto out;
	server->d->fd = sfd;
	client->d->fd = cfd;
	cfd = -1;
out:
	if (lfd >= 0)
		(void)close(lfd);
	if (cfd >= 0)
		(void)close(cfd);
	return r;
}

static int restore_connection(struct ckpti_rebuild *rb, struct sock *s, struct ckpti_err *err)
{
	struct pollfd listener[64];
	struct sock peer, *server = s, *client = &peer;
	char from[80], to[80];
	int r, i;
	size_t n;

	r = get_peer(rb, s, &peer);
	if (r < 0)
		return ckpti_err(err, r, "the other end of a TCP connection is missing");
	n = find_listeners(rb, s, listener, 64);
	if (!n) {
		server = &peer;
		client = s;
		n = find_listeners(rb, &peer, listener, 64);
	}
	for (i = 0; i < LINGER_TRIES; i++) {
		r = connect_ends(server, client, listener, n);
		if ((r == -EADDRNOTAVAIL || r == -EADDRINUSE) && !n)
			r = connect_ends(client, server, listener, 0);
		if ((r != -EADDRNOTAVAIL && r != -EADDRINUSE) ||
		    (!port_lingers(server) && !port_lingers(client)))
			break;
		pause_lingering();
	}
	if (r < 0)
		return ckpti_err(err, r, "cannot connect %s and %s again: %s",
				 show(s, from, sizeof(from)), show(&peer, to, sizeof(to)),
				 strerror(-r));
	return 0;
}

/* Is the address there, the port free?  Which port is free for a connection shows only in making
 * it: it depends on the other end, too. */
int ckpti_tcp_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct sock s, peer;
	char text[80];
	int fd, r;

	get_sock(d, &s);
	if (s.rec.peer && get_peer(rb, &s, &peer) < 0)
		return ckpti_err(err, -EBADMSG, "the other end of a TCP connection is missing");
	r = make_bound(&s, !s.rec.peer, &fd);
	if (r == -EADDRINUSE && port_lingers(&s))
		return 0;
	if (r < 0)
		return ckpti_err(err, r, "cannot bind a TCP socket to %s: %s",
				 show(&s, text, sizeof(text)), strerror(-r));
	(void)close(fd);
	return 0;
}

int ckpti_tcp_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct sock s;

	if (d->fd >= 0)
		return 0;
	get_sock(d, &s);
	return s.rec.peer ? restore_connection(rb, &s, err) : restore_single(&s, err);
}

static int apply_options(const struct sock *s)
{
	const struct ckpti_r_obj_tcp *rec = &s->rec;
	struct linger linger = {.l_onoff = rec->linger >= 0,
				.l_linger = rec->linger >= 0 ? rec->linger : 0};
	const struct {
		int level, name, value, wanted;
	} list[] = {
		{SOL_SOCKET, SO_SNDBUF, rec->sndbuf / 2, rec->sndbuf != 0},
		{SOL_SOCKET, SO_RCVBUF, rec->rcvbuf / 2, rec->rcvbuf != 0},
		{SOL_SOCKET, SO_REUSEADDR, (int)rec->reuseaddr, 1},
		{SOL_SOCKET, SO_KEEPALIVE, (int)rec->keepalive, 1},
		{SOL_SOCKET, SO_RCVLOWAT, rec->rcvlowat, rec->rcvlowat > 1},
		{IPPROTO_TCP, TCP_NODELAY, (int)rec->nodelay, 1},
	};
	int fd = s->d->fd, r = 0;
	size_t i;

	for (i = 0; r == 0 && i < sizeof(list) / sizeof(list[0]); i++)
		if (list[i].wanted)
			r = ckpti_sock_setopt(fd, list[i].level, list[i].name, list[i].value);
	for (i = 0; r == 0 && i < sizeof(rec->opt) / sizeof(rec->opt[0]); i++)
		if (rec->opt[i] >= 0)
			r = ckpti_sock_setopt(fd, ckpti_tcp_options[i].level,
					      ckpti_tcp_options[i].name, rec->opt[i]);
	if (r == 0 && setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) < 0)
		r = -errno;
	if (r == 0)
		r = ckpti_sock_set_timeout(fd, SO_RCVTIMEO, rec->rcvtimeo_us);
	if (r == 0)
		r = ckpti_sock_set_timeout(fd, SO_SNDTIMEO, rec->sndtimeo_us);
	return r == 0 ? ckpti_obj_apply(fd, &rec->o) : r;
}

/* Send the data that was on its way to s.  What the former sender held may be more than a new socket
 * may hold, so it is the receiver that is made to take it: SO_RCVLOWAT needs no privilege.
 * apply_options() gives both the sizes that the program had chosen. */
static int fill(const struct sock *s, const struct sock *peer)
{
	int fd = s->d->fd, r;

	(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_BUF_LOCK, 0);
	(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_RCVLOWAT, (int)s->rec.nbytes);
	r = ckpti_sock_send(peer->d->fd, s->d->rec.array, s->rec.nbytes, 1000, NULL, 0);
	(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
	return r;
}

int ckpti_tcp_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct sock s, peer;
	int r;

	get_sock(d, &s);
	if (s.rec.nbytes) {
		r = get_peer(rb, &s, &peer);
		if (r == 0)
			r = fill(&s, &peer);
		if (r < 0)
			return ckpti_err(err, r,
					 "cannot put %zu bytes of a TCP connection back: %s",
					 (size_t)s.rec.nbytes, strerror(-r));
	}
	r = apply_options(&s);
	if (r < 0)
		return ckpti_err(err, r, "cannot set up a TCP socket: %s", strerror(-r));
	return 0;
}
