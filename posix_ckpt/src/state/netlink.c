/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Netlink sockets that only ask and listen: the kernel keeps nothing for them but a port, groups,
 * options and a packet filter.  Those of other protocols stand for state in the kernel that goes with
 * them (queues of a firewall, audit), and data that waits cannot be put back: both are refused.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "state/kinds.h"
#include "state/sock.h"
#include "state/sock_options.h"
#include "state/state_private.h"

#define GROUP_WORDS 16 /* 512 groups: generic netlink gives out the most */

static int fail(struct ckpti_err *err, int code, const struct ckpti_desc *d, const char *what)
{
	return ckpti_err_obj(err, code, d->pid, d->link, "netlink socket at descriptor %d: %s",
			     d->num, what);
}

static int netlink_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	char protocol[CKPTI_SOCK_PROTOCOL_SIZE];

	(void)err;
	if (!S_ISSOCK(d->st.st_mode))
		return 0;
	(void)ckpti_sock_protocol(d, protocol);
	return strcmp(protocol, "NETLINK") == 0;
}

static int check_state(const struct ckpti_desc *d, int protocol, struct ckpti_err *err)
{
	struct pollfd pfd = {.fd = d->fd, .events = POLLIN};

	switch (protocol) {
	case NETLINK_ROUTE:
	case NETLINK_SOCK_DIAG:
	case NETLINK_KOBJECT_UEVENT:
	case NETLINK_GENERIC:
		break;
	default:
		return fail(err, -ENOTSUP, d, "its protocol cannot be saved");
	}
	if (poll(&pfd, 1, 0) > 0)
		return fail(err, -EAGAIN, d, "a message waits in it");
	return 0;
}

/* Which groups does it listen to? */
static int get_groups(int fd, uint32_t words[GROUP_WORDS], uint32_t *ret_n)
{
	socklen_t len = GROUP_WORDS * sizeof(words[0]);

	memset(words, 0, len);
	if (getsockopt(fd, SOL_NETLINK, NETLINK_LIST_MEMBERSHIPS, words, &len) < 0)
		return -errno;
	if (len > GROUP_WORDS * sizeof(words[0])) /* what it would have needed */
		return -E2BIG;
	*ret_n = (uint32_t)(len / sizeof(words[0]));
	return 0;
}

static int add_record(struct ckpti_capture *cap, const struct ckpti_r_obj_netlink *rec,
		      const struct ckpti_e_sockopt *opts, const uint32_t *words, const void *filter)
{
	const size_t a = rec->nopts * sizeof(*opts), b = rec->ngroups * sizeof(*words);
	const size_t c = rec->nfilter * UINT64_C(8);
	uint8_t *buf = malloc(a + b + c + 1);
	int r;

	if (!buf)
		return -ENOMEM;
	memcpy(buf, opts, a);
	memcpy(buf + a, words, b);
	if (c)
		memcpy(buf + a + b, filter, c);
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_NETLINK, rec, sizeof(*rec), NULL, 0, buf, 1,
			    a + b + c);
	free(buf);
	return r;
}

static int netlink_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_e_sockopt opts[CKPTI_SOCK_OPTIONS_MAX];
	struct ckpti_r_obj_netlink rec = {0};
	uint32_t words[GROUP_WORDS];
	struct sockaddr_nl self = {0}, peer = {0};
	socklen_t len = sizeof(self);
	void *filter = NULL;
	int r;

	rec.type = ckpti_sock_getopt(d->fd, SOL_SOCKET, SO_TYPE, SOCK_RAW);
	rec.protocol = ckpti_sock_getopt(d->fd, SOL_SOCKET, SO_PROTOCOL, NETLINK_ROUTE);
	r = check_state(d, rec.protocol, err);
	if (r < 0)
		return r;
	ckpti_obj_head(d, &rec.o);
	if (getsockname(d->fd, (struct sockaddr *)&self, &len) < 0)
		return fail(err, -errno, d, strerror(errno));
	len = sizeof(peer);
	if (getpeername(d->fd, (struct sockaddr *)&peer, &len) < 0)
		return fail(err, -errno, d, strerror(errno));
	rec.bound = self.nl_pid != 0;
	rec.port = self.nl_pid;
	rec.peer_port = peer.nl_pid;
	rec.peer_groups = peer.nl_groups;
	ckpti_sock_buffers_save(d->fd, &rec.sndbuf, &rec.rcvbuf);
	rec.rcvtimeo_us = ckpti_sock_get_timeout(d->fd, SO_RCVTIMEO);
	rec.sndtimeo_us = ckpti_sock_get_timeout(d->fd, SO_SNDTIMEO);
	rec.nopts = ckpti_sock_options_save(d->fd, opts);
	r = get_groups(d->fd, words, &rec.ngroups);
	if (r < 0)
		return fail(err, r, d, "its groups cannot be read");
	r = ckpti_sock_filter_save(d->fd, &filter, &rec.nfilter);
	if (r < 0)
		return fail(err, -ENOTSUP, d, "it has a packet filter that cannot be read");
	r = add_record(cap, &rec, opts, words, filter);
	free(filter);
	return r < 0 ? ckpti_err(err, r, "out of memory") : 0;
}

/* ---- restoring ---------------------------------------------------------------------------- */

static int join_groups(int fd, const uint8_t *words, uint32_t n)
{
	uint32_t word;

	for (uint32_t i = 0; i < n; i++) {
		memcpy(&word, words + i * sizeof(word), sizeof(word));
		for (uint32_t bit = 0; bit < 32; bit++) {
			int r = 0;

			if (word >> bit & 1)
				r = ckpti_sock_setopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
						      (int)(32 * i + bit + 1));
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int set_addresses(int fd, const struct ckpti_r_obj_netlink *rec)
{
	struct sockaddr_nl addr = {.nl_family = AF_NETLINK, .nl_pid = rec->port};

	if (rec->bound && bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0)
		return -errno;
	if (!rec->peer_port && !rec->peer_groups)
		return 0;
	addr.nl_pid = rec->peer_port;
	addr.nl_groups = rec->peer_groups;
	return connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
}

static int netlink_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	const uint8_t *opts = d->rec.array, *groups, *filter;
	struct ckpti_r_obj_netlink rec;
	int fd, r;

	(void)rb;
	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	groups = opts + rec.nopts * sizeof(struct ckpti_e_sockopt);
	filter = groups + rec.ngroups * sizeof(uint32_t);
	fd = socket(AF_NETLINK, rec.type | SOCK_CLOEXEC, rec.protocol);
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot create a netlink socket: %s",
				 strerror(errno));
	r = ckpti_sock_options_apply(fd, opts, rec.nopts, err);
	if (r < 0)
		goto out;
	r = set_addresses(fd, &rec);
	if (r < 0) {
		r = ckpti_err(err, r, "cannot give port %u to a netlink socket: %s", rec.port,
			      strerror(-r));
		goto out;
	}
	/* The filter first: nothing may come in that it would have kept out. */
	r = ckpti_sock_filter_apply(fd, filter, rec.nfilter);
	if (r == 0)
		r = join_groups(fd, groups, rec.ngroups);
	if (r == 0)
		r = ckpti_sock_buffers_apply(fd, rec.sndbuf, rec.rcvbuf);
	if (r == 0)
		r = ckpti_sock_set_timeout(fd, SO_RCVTIMEO, rec.rcvtimeo_us);
	if (r == 0)
		r = ckpti_sock_set_timeout(fd, SO_SNDTIMEO, rec.sndtimeo_us);
	if (r == 0)
		r = ckpti_obj_apply(fd, &rec.o);
	if (r < 0)
		r = ckpti_err(err, r, "cannot set up a netlink socket: %s", strerror(-r));
out:
	if (r < 0)
		(void)close(fd);
	else
		d->fd = fd;
	return r;
}

const struct ckpti_fd_kind ckpti_kind_netlink = {
	.name = "netlink socket",
	.rec_type = CKPTI_R_OBJ_NETLINK,
	.probe = netlink_probe,
	.save = netlink_save,
	.restore = netlink_restore,
	.attach = ckpti_obj_attach,
};
