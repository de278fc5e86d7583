/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Restoring UDP sockets (udp.c saves them).
 *
 * Datagrams that waited to be read are sent again by the restored socket that had sent them, so that
 * their sender is what it was.  Nobody else can do that without privileges: what came from outside the
 * set is dropped, which UDP allows and the user is told.  Nothing leaves this machine.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/sock.h"
#include "state/sock_options.h"
#include "state/tcp_private.h"
#include "state/udp_private.h"

struct sock {
	struct ckpti_redesc *d;
	struct ckpti_r_obj_udp rec;
	struct ckpti_tcp_addr here;
	const uint8_t *opts, *groups, *msgs, *data; /* parts of the record's array */
};

static int get_sock(struct ckpti_redesc *d, struct sock *ret)
{
	ret->d = d;
	CKPTI_FIXED(&d->rec, &ret->rec);
	(void)ckpti_tcp_addr_of(ret->rec.local, &ret->here);
	ret->opts = d->rec.array;
	ret->groups = ret->opts + ret->rec.nopts * sizeof(struct ckpti_e_sockopt);
	ret->msgs = ret->groups + ret->rec.ngroups * sizeof(struct ckpti_e_membership);
	ret->data = ret->msgs + ret->rec.nmsgs * sizeof(struct ckpti_e_datagram);
	return ret->data + ret->rec.nbytes == (const uint8_t *)d->rec.array + d->rec.count
		       ? 0
		       : -EBADMSG;
}

static socklen_t addr_len(const struct sock *s)
{
	return s->rec.family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static const struct sockaddr *addr_of(const uint8_t *bytes)
{
	return (const struct sockaddr *)(const void *)bytes;
}

static bool is_connected(const struct sock *s)
{
	struct ckpti_tcp_addr a;

	return ckpti_tcp_addr_of(s->rec.remote, &a);
}

/* "address port N" for messages. */
static const char *show(const uint8_t *sockaddr, char *buf, size_t size)
{
	char ip[INET6_ADDRSTRLEN] = "?";
	struct ckpti_tcp_addr a;

	(void)ckpti_tcp_addr_of(sockaddr, &a);
	(void)inet_ntop(AF_INET6, a.ip, ip, sizeof(ip));
	(void)snprintf(buf, size, "%s port %u", strncmp(ip, "::ffff:", 7) == 0 ? ip + 7 : ip,
		       ntohs(a.port));
	return buf;
}

/* A connected socket has the address of the machine's that leads to the other end, which connect()
 * chooses again where it has changed. */
static int bind_again(const struct sock *s, int fd)
{
	uint8_t any[sizeof(s->rec.local)] = {0};
	const size_t head = offsetof(struct sockaddr_in, sin_addr); /* family and port */

	if (bind(fd, addr_of(s->rec.local), addr_len(s)) == 0)
		return 0;
	if (errno != EADDRNOTAVAIL || !is_connected(s))
		return -errno;
	memcpy(any, s->rec.local, head);
	return bind(fd, addr_of(any), addr_len(s)) < 0 ? -errno : 0;
}

/* A socket like s with all that decides about its address. */
static int make_bound(const struct sock *s, int *ret_fd, struct ckpti_err *err)
{
	const char *device = ckpti_view_str(&s->d->rec, 0);
	char text[80];
	int fd, r;

	fd = socket(s->rec.family, SOCK_DGRAM | SOCK_CLOEXEC, s->rec.protocol);
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot create a UDP socket: %s", strerror(errno));
	r = ckpti_sock_options_apply(fd, s->opts, s->rec.nopts, err);
	if (r == 0 && *device &&
	    setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
		r = ckpti_err(err, -errno, "cannot bind a UDP socket to device '%s': %s", device,
			      strerror(errno));
	if (r == 0 && s->here.port) {
		r = bind_again(s, fd);
		if (r < 0)
			r = ckpti_err(err, r, "cannot bind a UDP socket to %s: %s",
				      show(s->rec.local, text, sizeof(text)), strerror(-r));
	}
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	*ret_fd = fd;
	return 0;
}

int ckpti_udp_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct sock s;
	int fd, r;

	(void)rb;
	if (get_sock(d, &s) < 0)
		return ckpti_err(err, -EBADMSG, "the record of a UDP socket is incomplete");
	r = make_bound(&s, &fd, err);
	if (r == 0)
		(void)close(fd);
	return r;
}

int ckpti_udp_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	char text[80];
	struct sock s;
	int fd = -1, r;

	(void)rb;
	if (d->fd >= 0)
		return 0;
	if (get_sock(d, &s) < 0)
		return ckpti_err(err, -EBADMSG, "the record of a UDP socket is incomplete");
	r = make_bound(&s, &fd, err);
	if (r < 0)
		return r;
	r = ckpti_sock_groups_apply(fd, s.groups, s.rec.ngroups, err);
	if (r == 0 && is_connected(&s) && connect(fd, addr_of(s.rec.remote), addr_len(&s)) < 0)
		r = ckpti_err(err, -errno, "cannot connect a UDP socket to %s: %s",
			      show(s.rec.remote, text, sizeof(text)), strerror(errno));
	if (r == 0) {
		r = ckpti_sock_buffers_apply(fd, s.rec.sndbuf, s.rec.rcvbuf);
		if (r < 0)
			r = ckpti_err(err, r, "cannot set the buffers of a UDP socket: %s",
				      strerror(-r));
	}
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	d->fd = fd;
	return 0;
}

/* ---- datagrams ---------------------------------------------------------------------------- */

static bool is_any(const struct ckpti_tcp_addr *a)
{
	static const uint8_t any4[16] = {[10] = 0xff, [11] = 0xff}, any6[16];

	return memcmp(a->ip, any4, 16) == 0 || memcmp(a->ip, any6, 16) == 0;
}

static bool is_v4(const struct ckpti_tcp_addr *a)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return memcmp(a->ip, mapped, sizeof(mapped)) == 0;
}

/* The restored socket that sends from this address; one for all addresses only may: see is_seen_as(). */
static bool find_sender(struct ckpti_rebuild *rb, const struct ckpti_tcp_addr *from,
			struct sock *ret)
{
	bool found = false;
	struct sock s;

	for (size_t i = 0; i < rb->ndesc; i++) {
		if (rb->desc[i].rec.type != CKPTI_R_OBJ_UDP || get_sock(&rb->desc[i], &s) < 0)
			continue;
		if (ckpti_tcp_addr_equal(&s.here, from)) {
			*ret = s;
			return true;
		}
		if (s.here.port == from->port && is_any(&s.here)) {
			*ret = s;
			found = true;
		}
	}
	return found;
}

/* Do several sockets of the set have the port of s (SO_REUSEPORT)?  Then the kernel may give to another
 * one. */
static bool shares_port(struct ckpti_rebuild *rb, const struct sock *s)
{
	struct sock o;

	for (size_t i = 0; i < rb->ndesc; i++)
		if (&rb->desc[i] != s->d && rb->desc[i].rec.type == CKPTI_R_OBJ_UDP &&
		    get_sock(&rb->desc[i], &o) == 0 && o.here.port == s->here.port &&
		    (is_any(&o.here) || is_any(&s->here) ||
		     ckpti_tcp_addr_equal(&o.here, &s->here)))
			return true;
	return false;
}

/* Is this an address of the machine's?  The routes tell it from those of other machines, groups and
 * broadcasts; bind() would accept all of them on some machines. */
static bool is_of_machine(const struct ckpti_tcp_addr *a)
{
	const bool v4 = is_v4(a);
	struct {
		struct nlmsghdr h;
		struct rtmsg m;
		struct rtattr attr;
		uint8_t ip[16];
	} req = {.h = {.nlmsg_type = RTM_GETROUTE, .nlmsg_flags = NLM_F_REQUEST},
		 .attr = {.rta_type = RTA_DST}};
	union {
		struct nlmsghdr h;
		char space[4096];
	} reply = {0};
	ssize_t n;
	int fd;

	req.m.rtm_family = v4 ? AF_INET : AF_INET6;
	req.m.rtm_dst_len = v4 ? 32 : 128;
	req.attr.rta_len = RTA_LENGTH(v4 ? 4 : 16);
	memcpy(req.ip, v4 ? a->ip + 12 : a->ip, v4 ? 4 : 16);
	req.h.nlmsg_len = NLMSG_LENGTH(sizeof(req.m)) + req.attr.rta_len;
	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	if (fd < 0)
		return false;
	n = send(fd, &req, req.h.nlmsg_len, 0);
	if (n >= 0)
		n = recv(fd, &reply, sizeof(reply), 0);
	(void)close(fd);
	return n >= (ssize_t)NLMSG_LENGTH(sizeof(req.m)) && reply.h.nlmsg_type == RTM_NEWROUTE &&
	       ((const struct rtmsg *)NLMSG_DATA(&reply.h))->rtm_type == RTN_LOCAL;
}

/* Does who receives at `to` see `from` as the sender?  For a socket with all addresses the kernel
 * chooses one for each destination, and tells it by connect(). */
static bool is_seen_as(const struct sock *sender, const struct ckpti_tcp_addr *from,
		       const struct sockaddr_in6 *to, socklen_t to_len)
{
	struct sockaddr_in6 name = {0};
	socklen_t len = sizeof(name);
	struct ckpti_tcp_addr seen;
	bool ok;
	int fd;

	if (getsockname(sender->d->fd, (struct sockaddr *)&name, &len) < 0 ||
	    !ckpti_tcp_addr_of(&name, &seen) || seen.port != from->port)
		return false;
	if (!is_any(&seen))
		return ckpti_tcp_addr_equal(&seen, from);
	fd = socket(sender->rec.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	len = sizeof(name);
	ok = connect(fd, (const struct sockaddr *)to, to_len) == 0 &&
	     getsockname(fd, (struct sockaddr *)&name, &len) == 0 &&
	     ckpti_tcp_addr_of(&name, &seen) && memcmp(seen.ip, from->ip, sizeof(seen.ip)) == 0;
	(void)close(fd);
	return ok;
}

/* Where `sender` reaches s, in its own family.  A socket for all addresses of the machine is reached
 * by the address that the datagram came from, if that is one of them.  false: it does not, or not in a
 * way that it had been. */
static bool reach(const struct sock *s, const struct sock *sender,
		  const struct ckpti_e_datagram *msg, struct sockaddr_in6 *ret, socklen_t *ret_len)
{
	struct sockaddr_in *in = (void *)ret;
	struct ckpti_tcp_addr to = s->here, from;
	struct sockaddr_in6 scope;

	(void)ckpti_tcp_addr_of(msg->from, &from);
	if (is_any(&to))
		memcpy(to.ip, from.ip, sizeof(to.ip));
	memset(ret, 0, sizeof(*ret));
	*ret_len = addr_len(sender);
	if (sender->rec.family == AF_INET) {
		if (!is_v4(&to))
			return false;
		in->sin_family = AF_INET;
		in->sin_port = to.port;
		memcpy(&in->sin_addr, to.ip + 12, 4);
	} else {
		memcpy(&scope, msg->from, sizeof(scope));
		ret->sin6_family = AF_INET6;
		ret->sin6_port = to.port;
		ret->sin6_scope_id = scope.sin6_family == AF_INET6 ? scope.sin6_scope_id : 0;
		memcpy(&ret->sin6_addr, to.ip, 16);
	}
	return is_of_machine(&to) && is_seen_as(sender, &from, ret, *ret_len);
}

/* Send the datagrams that waited in s again; returns how many could not be. */
static uint32_t fill(struct ckpti_rebuild *rb, const struct sock *s)
{
	const bool shared = shares_port(rb, s);
	const uint8_t *data = s->data;
	uint64_t left = s->rec.nbytes;
	struct ckpti_e_datagram msg;
	struct ckpti_tcp_addr from;
	uint32_t lost = 0;
	struct sockaddr_in6 to;
	struct sock sender;
	socklen_t len;

	for (uint32_t i = 0; i < s->rec.nmsgs; i++, data += msg.len, left -= msg.len) {
		memcpy(&msg, s->msgs + i * sizeof(msg), sizeof(msg));
		if (msg.len > left)
			return lost + s->rec.nmsgs - i;
		if (shared || !ckpti_tcp_addr_of(msg.from, &from) ||
		    !find_sender(rb, &from, &sender) || !reach(s, &sender, &msg, &to, &len) ||
		    ckpti_sock_send(sender.d->fd, data, msg.len, 0, (struct sockaddr *)&to, len) <
			    0)
			lost++;
	}
	return lost;
}

/* Once, for all sockets, before any of them gets what would be in the way. */
static void fill_all(struct ckpti_rebuild *rb)
{
	char text[128];
	uint32_t lost;
	struct sock s;

	for (size_t i = 0; i < rb->ndesc; i++) {
		if (rb->desc[i].rec.type != CKPTI_R_OBJ_UDP || get_sock(&rb->desc[i], &s) < 0)
			continue;
		lost = fill(rb, &s);
		if (!lost || !rb->note)
			continue;
		(void)snprintf(
			text, sizeof(text),
			"%u unread datagrams are lost that no restored socket can send again, "
			"port %u",
			lost, ntohs(s.here.port));
		rb->note(rb, text);
	}
}

int ckpti_udp_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct sock s;
	size_t first;
	int r;

	if (get_sock(d, &s) < 0)
		return ckpti_err(err, -EBADMSG, "the record of a UDP socket is incomplete");
	for (first = 0; rb->desc[first].rec.type != CKPTI_R_OBJ_UDP; first++)
		;
	if (&rb->desc[first] == d)
		fill_all(rb);
	/* What was sent again may have left timestamps (SO_TIMESTAMPING). */
	while (recv(d->fd, NULL, 0, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
		;
	r = s.rec.cork ? ckpti_sock_setopt(d->fd, IPPROTO_UDP, UDP_CORK, 1) : 0;
	if (r == 0)
		r = ckpti_sock_set_timeout(d->fd, SO_RCVTIMEO, s.rec.rcvtimeo_us);
	if (r == 0)
		r = ckpti_sock_set_timeout(d->fd, SO_SNDTIMEO, s.rec.sndtimeo_us);
	if (r == 0)
		r = ckpti_obj_apply(d->fd, &s.rec.o);
	if (r < 0)
		return ckpti_err(err, r, "cannot set up a UDP socket: %s", strerror(-r));
	return 0;
}
