/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the rows of sockets have in common: options, refilling a queue, questions to the kernel.
 */
#include "state/sock.h"

#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>

size_t ckpti_sock_protocol(const struct ckpti_desc *d, char ret[CKPTI_SOCK_PROTOCOL_SIZE])
{
	static const char attr[] = "system.sockprotoname"; /* since Linux 2.6.29 */
	const size_t size = CKPTI_SOCK_PROTOCOL_SIZE - 1;
	char path[64];
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", d->pid, d->num);
	n = d->fd >= 0 ? fgetxattr(d->fd, attr, ret, size) : getxattr(path, attr, ret, size);
	ret[n > 0 ? n : 0] = '\0';
	return strlen(ret);
}

int ckpti_sock_getopt(int fd, int level, int name, int absent)
{
	socklen_t len = sizeof(int);
	int value = 0;

	return getsockopt(fd, level, name, &value, &len) < 0 ? absent : value;
}

int ckpti_sock_setopt(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

int64_t ckpti_sock_get_timeout(int fd, int name)
{
	struct timeval tv = {0};
	socklen_t len = sizeof(tv);

	if (getsockopt(fd, SOL_SOCKET, name, &tv, &len) < 0)
		return 0;
	return tv.tv_sec * INT64_C(1000000) + tv.tv_usec;
}

int ckpti_sock_set_timeout(int fd, int name, int64_t us)
{
	struct timeval tv = {.tv_sec = us / 1000000, .tv_usec = us % 1000000};

	return setsockopt(fd, SOL_SOCKET, name, &tv, sizeof(tv)) < 0 ? -errno : 0;
}

int ckpti_sock_buf_lock(int fd)
{
	return ckpti_sock_getopt(fd, SOL_SOCKET, SO_BUF_LOCK, 0);
}

/* Room for len bytes more than now.  The kernel doubles what it is told. */
static void enlarge(int fd, int old, size_t len)
{
	int want = old / 2 + (int)(len < (1U << 29) ? len : 1U << 29) + 65536;

	if (ckpti_sock_setopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, want) < 0)
		(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_SNDBUF, want);
}

/* Back to the old size, and to a size that the kernel chooses when it was so. */
static void set_back(int fd, int old, int lock)
{
	if (ckpti_sock_setopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, old / 2) < 0)
		(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_SNDBUF, old / 2);
	(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_BUF_LOCK, lock);
}

int ckpti_sock_send(int fd, const void *buf, size_t len, int wait_ms, const struct sockaddr *dst,
		    socklen_t dst_len)
{
	const int old = ckpti_sock_getopt(fd, SOL_SOCKET, SO_SNDBUF, 0);
	const int lock = ckpti_sock_buf_lock(fd);
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	bool enlarged = false;
	const char *p = buf;
	unsigned waits = 0;
	ssize_t n;
	int r = 0, e;

	do {
		n = sendto(fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL, dst, dst_len);
		if (n >= 0) {
			p += n;
			len -= (size_t)n;
			waits = 0;
			continue;
		}
		e = errno;
		if (e == EINTR)
			continue;
		if (e != EAGAIN && e != EMSGSIZE && e != ENOBUFS) {
			r = -e;
			break;
		}
		if (e == EAGAIN && waits++ < 3 && poll(&pfd, 1, wait_ms) > 0)
			continue;
		if (enlarged) {
			r = -ENOBUFS;
			break;
		}
		enlarge(fd, old, len);
		enlarged = true;
		waits = 0;
	} while (len || n < 0);
	if (enlarged)
		set_back(fd, old, lock);
	return r;
}

static void take_attr(const struct rtattr *a, struct ckpti_unix_diag *ret)
{
	const void *data = RTA_DATA(a);
	size_t len = RTA_PAYLOAD(a);

	switch (a->rta_type) {
	case UNIX_DIAG_NAME:
		ret->name_len = len < sizeof(ret->name) ? len : sizeof(ret->name) - 1;
		memcpy(ret->name, data, ret->name_len);
		break;
	case UNIX_DIAG_VFS:
		ret->vfs_ino = ((const struct unix_diag_vfs *)data)->udiag_vfs_ino;
		break;
	case UNIX_DIAG_PEER:
		ret->connected = true;
		memcpy(&ret->peer, data, sizeof(ret->peer));
		break;
	case UNIX_DIAG_RQLEN:
		ret->rqueue = ((const struct unix_diag_rqlen *)data)->udiag_rqueue;
		ret->wqueue = ((const struct unix_diag_rqlen *)data)->udiag_wqueue;
		break;
	case UNIX_DIAG_SHUTDOWN:
		ret->shut = *(const uint8_t *)data;
		break;
	default:
		break;
	}
}

static int parse_diag(struct nlmsghdr *h, size_t len, struct ckpti_unix_diag *ret)
{
	const struct unix_diag_msg *m;
	struct rtattr *a;
	int left;

	if (!NLMSG_OK(h, len))
		return -EPROTO;
	if (h->nlmsg_type == NLMSG_ERROR)
		return ((const struct nlmsgerr *)NLMSG_DATA(h))->error;
	m = NLMSG_DATA(h);
	*ret = (struct ckpti_unix_diag){.type = m->udiag_type, .state = m->udiag_state};
	left = (int)(h->nlmsg_len - NLMSG_SPACE(sizeof(*m)));
	for (a = (struct rtattr *)((char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(*m)));
	     RTA_OK(a, left); a = RTA_NEXT(a, left))
		take_attr(a, ret);
	return 0;
}

int ckpti_unix_diag(uint32_t ino, struct ckpti_unix_diag *ret)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req r;
	} req = {
		.h = {.nlmsg_len = sizeof(req),
		      .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		      .nlmsg_flags = NLM_F_REQUEST},
		.r = {.sdiag_family = AF_UNIX,
		      .udiag_states = UINT32_MAX,
		      .udiag_ino = ino,
		      .udiag_show =
			      UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_RQLEN,
		      .udiag_cookie = {UINT32_MAX, UINT32_MAX}},
	};
	union {
		struct nlmsghdr h;
		char space[4096];
	} reply;
	ssize_t n;
	int fd, r;

	fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (fd < 0)
		return -errno;
	n = send(fd, &req, sizeof(req), 0);
	if (n >= 0)
		n = recv(fd, &reply, sizeof(reply), 0);
	r = n < 0 ? -errno : parse_diag(&reply.h, (size_t)n, ret);
	(void)close(fd);
	return r;
}
