/* SPDX-License-Identifier: BSD-3-Clause */
/* The sockets below the frames: how they are made, found and named. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "spank/lib/wire.h"
#include "spank/lib/wire_private.h"
#include "util/clock.h"

void ckpti_wire_tune(int fd)
{
	/* A node that was switched off answers nothing: without traffic of ours TCP would never
	 * notice. */
	const int on = 1, idle = 10, interval = 5, count = 3;

	(void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof(count));
	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

int ckpti_wire_server_end(int fd, bool server, char *ret, size_t size)
{
	struct sockaddr_storage ss = {0};
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)&ss;
	const struct sockaddr_in *in = (const struct sockaddr_in *)&ss;
	socklen_t len = sizeof(ss);
	char text[INET6_ADDRSTRLEN] = "";
	unsigned port = 0;
	int r;

	r = server ? getsockname(fd, (struct sockaddr *)&ss, &len)
		   : getpeername(fd, (struct sockaddr *)&ss, &len);
	if (r < 0)
		return -errno;
	if (ss.ss_family == AF_INET) {
		(void)inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
		port = ntohs(in->sin_port);
	} else if (ss.ss_family == AF_INET6) {
		/* One side may have an IPv4 socket, the other one for both. */
		if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
			(void)inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], text, sizeof(text));
		else
			(void)inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
		port = ntohs(in6->sin6_port);
	} else {
		return -EAFNOSUPPORT;
	}
	(void)snprintf(ret, size, "%s %u", text, port);
	return 0;
}

/* ---- listening ---------------------------------------------------------------------------- */

/* One socket for IPv6 and IPv4, or for IPv4 where there is nothing else; fd or -errno. */
static int listen_on(unsigned port, bool reuse)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	const int on = 1, off = 0;
	bool v6 = true;
	int fd, r;

	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		v6 = false;
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	}
	if (fd < 0)
		return -errno;
	if (reuse)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (v6)
		r = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0 ||
		    bind(fd, (struct sockaddr *)&in6, sizeof(in6)) < 0;
	else
		r = bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0;
	/* Two that bind at once learn only here that one of them is late. */
	if (r || listen(fd, SOMAXCONN) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	/* For the connections: their last packets must not keep the next one from the port. */
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return fd;
}

static int port_of(int fd, unsigned *ret_port)
{
	char text[CKPTI_WIRE_END_SIZE];
	int r = ckpti_wire_server_end(fd, true, text, sizeof(text));

	if (r < 0)
		return r;
	return sscanf(text, "%*s %u", ret_port) == 1 ? 0 : -EBADMSG;
}

int ckpti_wire_listen(unsigned low, unsigned high, unsigned *ret_port, struct ckpti_err *err)
{
	unsigned start = 0, n = high - low + 1;
	int fd = -EADDRINUSE;

	if (low > high || high > 65535)
		return ckpti_err(err, -EINVAL, "%u-%u is no range of ports", low, high);
	/* Coordinators that start together should not all try the same ports first. */
	if (getrandom(&start, sizeof(start), GRND_NONBLOCK) < 0)
		start = (unsigned)getpid();
	/*
	 * srun may bind in the same range at this moment.  Had both asked for SO_REUSEADDR, both could bind,
	 * and the later one of the two, maybe srun, would fail to listen: only when no port is left do
	 * those count that wait for their last packets.
	 */
	for (unsigned i = 0; i < 2 * n; i++) {
		fd = listen_on(low + (start % n + i) % n, i >= n);
		if (fd != -EADDRINUSE)
			break;
	}
	if (fd >= 0 && port_of(fd, ret_port) < 0) {
		close(fd);
		fd = -EADDRNOTAVAIL;
	}
	if (fd < 0)
		return ckpti_err(err, fd, "cannot listen on a port in %u-%u: %s", low, high,
				 strerrordesc_np(-fd));
	return fd;
}

/* ---- connecting --------------------------------------------------------------------------- */

/* fd or -errno; end: when to give up. */
static int connect_to(const struct addrinfo *ai, int64_t end)
{
	struct pollfd p = {.events = POLLOUT};
	socklen_t len = sizeof(int);
	int64_t left;
	int r = 0;

	p.fd = socket(ai->ai_family, ai->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
		      ai->ai_protocol);
	if (p.fd < 0)
		return -errno;
	if (connect(p.fd, ai->ai_addr, ai->ai_addrlen) == 0)
		return p.fd;
	if (errno != EINPROGRESS && errno != EINTR)
		r = -errno;
	while (r == 0) {
		left = end - ckpti_now_ms();
		r = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (r == 0) {
			r = -ETIMEDOUT;
		} else if (r > 0) {
			if (getsockopt(p.fd, SOL_SOCKET, SO_ERROR, &r, &len) < 0)
				r = errno;
			r = -r;
			break;
		} else {
			r = errno == EINTR ? 0 : -errno;
		}
	}
	if (r < 0) {
		close(p.fd);
		return r;
	}
	return p.fd;
}

int ckpti_wire_connect(const char *host, unsigned port, int timeout_ms, struct ckpti_err *err)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	int64_t end = ckpti_now_ms() + timeout_ms;
	struct addrinfo *list = NULL;
	int fd = -EHOSTUNREACH, r;
	char service[16];

	(void)snprintf(service, sizeof(service), "%u", port);
	/* The resolver has time limits of its own (resolv.conf(5)). */
	r = getaddrinfo(host, service, &hints, &list);
	if (r != 0)
		return ckpti_err(err, -EHOSTUNREACH, "cannot find the host '%s': %s", host,
				 gai_strerror(r));
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		fd = connect_to(ai, end);
		if (fd >= 0)
			break;
	}
	freeaddrinfo(list);
	if (fd < 0)
		return ckpti_err(err, fd, "cannot connect to '%s' port %u: %s", host, port,
				 strerrordesc_np(-fd));
	return fd;
}
