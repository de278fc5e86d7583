/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Restoring unix sockets, in two steps (unix.c saves them).
 *
 * restore() makes and connects: a nameless connection is a socketpair; one with a name goes through a
 * listener, the restored one or one for the moment, so that both ends report the same names as
 * before.  finish() sends the queued data from the other end, then applies what would have been in
 * the way: shutdown, buffer sizes, O_NONBLOCK.  settle() takes away socket files that were gone
 * before, because until then others connect by them.
 *
 * Limit: SO_PEERCRED names the restarting process.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/sock.h"
#include "state/unix_private.h"

/* The address for a recorded name, after relocation. */
static int make_addr(const struct ckpti_rebuild *rb, const char *name, struct sockaddr_un *ret,
		     socklen_t *ret_len)
{
	char path[PATH_MAX];
	unsigned c;
	size_t n = 1;

	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (name[0] != '@') {
		name = ckpti_relocate(rb, name, path);
		if (strlen(name) >= sizeof(ret->sun_path))
			return -ENAMETOOLONG;
		memcpy(ret->sun_path, name, strlen(name) + 1);
		*ret_len = sizeof(*ret);
		return 0;
	}
	for (name++; *name; n++) {
		if (n == sizeof(ret->sun_path))
			return -ENAMETOOLONG;
		if (sscanf(name, "\\x%2x", &c) == 1) {
			ret->sun_path[n] = (char)c;
			name += 4;
		} else {
			ret->sun_path[n] = *name++;
		}
	}
	*ret_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
	return 0;
}

struct unix_priv {
	int other;   /* stands in for an end that was closed, -1 when none */
	bool filled; /* queued data has been sent */
};

/* What the steps need to know of one socket. */
struct sock {
	struct ckpti_redesc *d;
	struct ckpti_r_obj_unix rec;
	const char *name; /* "" when none */
};

static int get_sock(struct ckpti_redesc *d, struct sock *ret)
{
	struct unix_priv *p;

	if (!d->priv) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return -ENOMEM;
		p->other = -1;
		d->priv = p;
	}
	ret->d = d;
	ret->name = ckpti_view_str(&d->rec, 0);
	CKPTI_FIXED(&d->rec, &ret->rec);
	return 0;
}

/* The other end; ret->d is NULL when there is none. */
static int get_peer(struct ckpti_rebuild *rb, const struct sock *s, struct sock *ret)
{
	struct ckpti_redesc *d = s->rec.peer ? ckpti_redesc_by_id(rb, s->rec.peer) : NULL;

	*ret = (struct sock){.name = ""};
	if (!d || d->rec.type != CKPTI_R_OBJ_UNIX)
		return s->rec.peer ? -EBADMSG : 0;
	return get_sock(d, ret);
}

/* Connected to each other? */
static bool is_mutual(const struct sock *s, const struct sock *peer)
{
	return peer->d && peer->d != s->d && peer->rec.peer == s->rec.o.id;
}

/* Is somebody bound to this name?  A datagram socket disturbs no listener by asking. */
static bool in_use(const struct sockaddr_un *addr, socklen_t len)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool used;

	if (fd < 0)
		return true;
	used = connect(fd, (const struct sockaddr *)addr, len) == 0 ||
	       (errno != ECONNREFUSED && errno != ENOENT);
	(void)close(fd);
	return used;
}

/* May the name be bound?  A socket file that nobody serves is a leftover of the former life. */
static int check_name(const struct ckpti_rebuild *rb, const char *name,
		      struct sockaddr_un *ret_addr, socklen_t *ret_len, bool *ret_stale,
		      struct ckpti_err *err)
{
	struct stat st;
	int r;

	*ret_stale = false;
	r = make_addr(rb, name, ret_addr, ret_len);
	if (r < 0)
		return ckpti_err(err, r, "the socket name '%s' is too long", name);
	if (name[0] != '@' && lstat(ret_addr->sun_path, &st) == 0) {
		*ret_stale = S_ISSOCK(st.st_mode);
		if (!*ret_stale)
			return ckpti_err(err, -EADDRINUSE,
					 "the socket path '%s' is taken by a file",
					 ret_addr->sun_path);
	}
	if (in_use(ret_addr, *ret_len))
		return ckpti_err(err, -EADDRINUSE, "the socket name '%s' is in use", name);
	return 0;
}

static int bind_name(const struct ckpti_rebuild *rb, int fd, const struct sock *s,
		     struct ckpti_err *err)
{
	struct sockaddr_un addr;
	socklen_t len;
	bool stale;
	int r;

	r = check_name(rb, s->name, &addr, &len, &stale, err);
	if (r < 0)
		return r;
	if (stale)
		(void)unlink(addr.sun_path);
	if (bind(fd, (const struct sockaddr *)&addr, len) < 0)
		return ckpti_err(err, -errno, "cannot bind a unix socket to '%s': %s", s->name,
				 strerror(errno));
	if (s->rec.mode && chmod(addr.sun_path, s->rec.mode & 07777) < 0)
		return ckpti_err(err, -errno, "cannot set the mode of '%s': %s", addr.sun_path,
				 strerror(errno));
	return 0;
}

/* Take the file of a name away that had none at the checkpoint. */
static void drop_file(const struct ckpti_rebuild *rb, const struct sock *s)
{
	struct sockaddr_un addr;
	socklen_t len;

	if (s->rec.bound && !s->rec.mode && s->name[0] == '/' &&
	    make_addr(rb, s->name, &addr, &len) == 0)
		(void)unlink(addr.sun_path);
}

static int restore_single(const struct ckpti_rebuild *rb, struct sock *s, struct ckpti_err *err)
{
	int fd, r = 0;

	fd = socket(AF_UNIX, s->rec.type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot create a unix socket: %s", strerror(errno));
	if (s->rec.bound)
		r = bind_name(rb, fd, s, err);
	if (r == 0 && s->rec.listening && listen(fd, (int)s->rec.backlog) < 0)
		r = ckpti_err(err, -errno, "cannot listen on '%s': %s", s->name, strerror(errno));
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	s->d->fd = fd;
	return 0;
}

/* The restored listener of that name, if the set has one. */
static struct ckpti_redesc *find_listener(struct ckpti_rebuild *rb, const struct sock *s)
{
	struct ckpti_r_obj_unix rec;
	size_t i;

	for (i = 0; s->rec.bound && i < rb->ndesc; i++) {
		if (rb->desc[i].rec.type != CKPTI_R_OBJ_UNIX)
			continue;
		CKPTI_FIXED(&rb->desc[i].rec, &rec);
		if (rec.listening && rec.type == s->rec.type &&
		    strcmp(ckpti_view_str(&rb->desc[i].rec, 0), s->name) == 0)
			return &rb->desc[i];
	}
	return NULL;
}

/* Accept the connection that we have just made; a stranger's that came between is dropped, as if
 * the program had ended, which it had. */
static int accept_own(int lfd)
{
	struct ucred cred;
	socklen_t len;
	int fd;

	for (;;) {
		fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			return -errno;
		len = sizeof(cred);
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) == 0 &&
		    cred.pid == getpid())
			return fd;
		(void)close(fd);
	}
}

/* Connect through a listener: server gets the listener's name.  client->d may be NULL. */
static int connect_named(struct ckpti_rebuild *rb, const struct sock *server,
			 const struct sock *client, int ret_fd[2], struct ckpti_err *err)
{
	struct ckpti_redesc *real = find_listener(rb, server);
	struct sockaddr_un addr;
	int lfd = -1, cfd = -1, sfd, r;
	socklen_t len;

	if (real) {
		r = ckpti_unix_restore(rb, real, err);
		lfd = real->fd;
	} else {
		lfd = socket(AF_UNIX, server->rec.type | SOCK_CLOEXEC, 0);
		r = lfd < 0 ? ckpti_err(err, -errno, "cannot create a unix socket: %s",
					strerror(errno))
			    : bind_name(rb, lfd, server, err);
		if (r == 0 && listen(lfd, 1) < 0)
			r = ckpti_err(err, -errno, "cannot listen on '%s': %s", server->name,
				      strerror(errno));
	}
	if (r < 0)
		goto out;
	r = make_addr(rb, server->name, &addr, &len);
	cfd = socket(AF_UNIX, server->rec.type | SOCK_CLOEXEC, 0);
	if (r < 0 || cfd < 0) {
		r = ckpti_err(err, r < 0 ? r : -errno, "cannot create a unix socket");
		goto out;
	}
	if (client->d && client->rec.bound) {
		r = bind_name(rb, cfd, client, err);
		if (r < 0)
			goto out;
	}
	sfd = connect(cfd, (const struct sockaddr *)&addr, len) < 0 ? -errno : accept_own(lfd);
	if (sfd < 0) {
		r = ckpti_err(err, sfd, "cannot connect to '%s': %s", server->name, strerror(-sfd));
		goto out;
	}
	ret_fd[0] = sfd;
	ret_fd[1] = cfd;
	cfd = -1;
out:
	if (!real) {
		if (lfd >= 0)
			(void)close(lfd);
		drop_file(rb, server);
	}
	if (cfd >= 0)
		(void)close(cfd);
	return r;
}

/* Two ends connected to each other; peer->d is NULL when the other end was closed. */
static int restore_pair(struct ckpti_rebuild *rb, struct sock *s, struct sock *peer,
			struct ckpti_err *err)
{
	struct unix_priv *p = s->d->priv;
	bool stream = s->rec.type != SOCK_DGRAM;
	int fd[2] = {-1, -1}, tmp, r = 0;

	/* Which end was accepted?  The one with a listener's name; else any with a name. */
	if (stream && peer->rec.bound && (!s->rec.bound || find_listener(rb, peer))) {
		r = connect_named(rb, peer, s, fd, err);
		tmp = fd[0];
		fd[0] = fd[1];
		fd[1] = tmp;
	} else if (stream && s->rec.bound) {
		r = connect_named(rb, s, peer, fd, err);
	} else if (socketpair(AF_UNIX, s->rec.type | SOCK_CLOEXEC, 0, fd) < 0) {
		r = ckpti_err(err, -errno, "cannot create a socket pair: %s", strerror(errno));
	}
	if (r == 0 && !stream && s->rec.bound)
		r = bind_name(rb, fd[0], s, err);
	if (r == 0 && !stream && peer->d && peer->rec.bound)
		r = bind_name(rb, fd[1], peer, err);
	if (r < 0) {
		if (fd[0] >= 0)
			(void)close(fd[0]);
		if (fd[1] >= 0)
			(void)close(fd[1]);
		return r;
	}
	s->d->fd = fd[0];
	if (peer->d)
		peer->d->fd = fd[1];
	else
		p->other = fd[1];
	return 0;
}

int ckpti_unix_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct sockaddr_un addr;
	struct sock s, peer;
	socklen_t len;
	bool stale;

	if (get_sock(d, &s) < 0)
		return ckpti_err(err, -ENOMEM, "out of memory");
	if (get_peer(rb, &s, &peer) < 0)
		return ckpti_err(err, -EBADMSG, "the other end of a unix socket is missing");
	return s.rec.bound ? check_name(rb, s.name, &addr, &len, &stale, err) : 0;
}

int ckpti_unix_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct sock s, peer;
	int r;

	if (d->fd >= 0)
		return 0;
	r = get_sock(d, &s);
	if (r == 0)
		r = get_peer(rb, &s, &peer);
	if (r < 0)
		return ckpti_err(err, r, "cannot find the other end of a unix socket");
	if (is_mutual(&s, &peer) || s.rec.gone)
		return restore_pair(rb, &s, &peer, err);
	return restore_single(rb, &s, err);
}

/* Who sends message i to s?  -1: a socket without a name, made for the purpose. */
static int find_sender(struct ckpti_rebuild *rb, const struct sock *s, const struct sock *peer,
		       uint32_t i, int *ret_fd)
{
	const struct unix_priv *p = s->d->priv;
	const struct ckpti_redesc *d;
	uint32_t id;

	*ret_fd = peer->d ? peer->d->fd : p->other;
	if (!s->rec.senders)
		return 0;
	memcpy(&id, (const uint8_t *)s->d->rec.array + (s->rec.nmsgs + i) * sizeof(id), sizeof(id));
	d = id ? ckpti_redesc_by_id(rb, id) : NULL;
	if (id && (!d || d->rec.type != CKPTI_R_OBJ_UNIX || d->fd < 0))
		return -EBADMSG;
	*ret_fd = d ? d->fd : -1;
	return 0;
}

static int send_message(const struct sock *s, int from, bool connected, const void *data, size_t n)
{
	struct sockaddr_un addr;
	socklen_t len = sizeof(addr);
	int tmp = -1, r;

	/* An end that is not connected to s must be told where to send. */
	if (connected)
		return ckpti_sock_send(from, data, n, 0, NULL, 0);
	if (getsockname(s->d->fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	if (from < 0)
		from = tmp = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r = from < 0 ? -errno : ckpti_sock_send(from, data, n, 0, (struct sockaddr *)&addr, len);
	if (tmp >= 0)
		(void)close(tmp);
	return r;
}

static int send_queue(struct ckpti_rebuild *rb, const struct sock *s, const struct sock *peer)
{
	const struct unix_priv *p = s->d->priv;
	const uint8_t *lens = s->d->rec.array;
	bool connected = peer->d ? is_mutual(s, peer) : p->other >= 0;
	uint64_t left = s->rec.nbytes, head = s->rec.nmsgs * (s->rec.senders ? 8UL : 4UL);
	const uint8_t *data = lens + head;
	int from = -1, r;
	uint32_t i, n;

	if (s->d->rec.count != head + left)
		return -EBADMSG;
	if (s->rec.type == SOCK_STREAM) {
		r = left ? find_sender(rb, s, peer, 0, &from) : 0;
		return r < 0 || !left ? r : ckpti_sock_send(from, data, left, 0, NULL, 0);
	}
	for (i = 0, r = 0; r == 0 && i < s->rec.nmsgs; i++) {
		memcpy(&n, lens + i * sizeof(n), sizeof(n));
		if (n > left)
			return -EBADMSG;
		r = find_sender(rb, s, peer, i, &from);
		if (r == 0)
			r = send_message(s, from, connected, data, n);
		data += n;
		left -= n;
	}
	return r;
}

/* Put the queued data of all back, once, while every way out is still open: before shutdown() and
 * before stand-ins are closed. */
static int fill_all(struct ckpti_rebuild *rb)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < rb->ndesc; i++) {
		struct unix_priv *p;
		struct sock s, peer;

		if (rb->desc[i].rec.type != CKPTI_R_OBJ_UNIX || rb->desc[i].fd < 0)
			continue;
		r = get_sock(&rb->desc[i], &s);
		if (r == 0)
			r = get_peer(rb, &s, &peer);
		if (r < 0)
			break;
		p = s.d->priv;
		if (!p->filled)
			r = send_queue(rb, &s, &peer);
		p->filled = true;
	}
	return r;
}

/* Close the stand-in for an end that was closed; a byte it has not read makes that a reset. */
static void close_other(const struct sock *s)
{
	struct unix_priv *p = s->d->priv;

	if (p->other < 0)
		return;
	if (s->rec.gone == 2)
		(void)send(s->d->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	(void)close(p->other);
	p->other = -1;
}

static int apply_options(const struct sock *s)
{
	int fd = s->d->fd, r;

	r = ckpti_sock_setopt(fd, SOL_SOCKET, SO_SNDBUF, s->rec.sndbuf / 2);
	if (r == 0)
		r = ckpti_sock_setopt(fd, SOL_SOCKET, SO_RCVBUF, s->rec.rcvbuf / 2);
	if (r == 0)
		r = ckpti_sock_setopt(fd, SOL_SOCKET, SO_PASSCRED, (int)s->rec.passcred);
	if (r == 0)
		r = ckpti_sock_set_timeout(fd, SO_RCVTIMEO, s->rec.rcvtimeo_us);
	if (r == 0)
		r = ckpti_sock_set_timeout(fd, SO_SNDTIMEO, s->rec.sndtimeo_us);
	if (r == 0)
		r = ckpti_obj_apply(fd, &s->rec.o);
	return r;
}

/* A datagram socket that sends to a named one. */
static int connect_one_way(const struct sock *s, const struct sock *peer)
{
	struct sockaddr_un addr;
	socklen_t len = sizeof(addr);

	if (getsockname(peer->d->fd, (struct sockaddr *)&addr, &len) < 0 ||
	    connect(s->d->fd, (struct sockaddr *)&addr, len) < 0)
		return -errno;
	return 0;
}

int ckpti_unix_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct sock s, peer = {0};
	int r;

	r = get_sock(d, &s);
	if (r == 0)
		r = get_peer(rb, &s, &peer);
	if (r < 0)
		return ckpti_err(err, r, "cannot find the other end of a unix socket");
	r = fill_all(rb);
	if (r < 0)
		return ckpti_err(err, r, "cannot put queued data back into a unix socket: %s",
				 strerror(-r));
	if (peer.d && !is_mutual(&s, &peer))
		r = connect_one_way(&s, &peer);
	if (r == 0)
		close_other(&s);
	if (r == 0 && s.rec.shut && !s.rec.gone &&
	    shutdown(d->fd, s.rec.shut == 3   ? SHUT_RDWR
			    : s.rec.shut == 1 ? SHUT_RD
					      : SHUT_WR) < 0)
		r = -errno;
	if (r == 0)
		r = apply_options(&s);
	if (r < 0)
		return ckpti_err(err, r, "cannot set up a unix socket: %s", strerror(-r));
	return 0;
}

/* Not earlier: until all have connected, the name is needed. */
int ckpti_unix_settle(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct sock s;

	if (get_sock(d, &s) < 0)
		return ckpti_err(err, -ENOMEM, "out of memory");
	drop_file(rb, &s);
	return 0;
}
