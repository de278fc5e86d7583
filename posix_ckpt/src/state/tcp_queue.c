/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The data on its way from one end of a TCP connection to the other, copied while both ends stay
 * usable.  What has arrived can be peeked at; what the sender still holds cannot.  So, in this order:
 *
 *   acknowledge  data that has arrived leaves the sender as soon as the delayed ACK is sent
 *   pull         a receive buffer that is full is enlarged until everything has arrived
 *   drain        as a last resort everything is read, and sent again by the same sender
 *
 * Only draining takes data out; it never stops half way, because what is sent again stands behind what
 * the sender still holds: the order of the bytes would be lost.
 */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "state/sock.h"
#include "state/tcp_private.h"

#define ACK_WAIT_MS   3      /* an ACK on the same machine */
#define PULL_WAIT_MS  600    /* without progress: two zero window probes */
#define DRAIN_WAIT_MS 150000 /* without progress: more than the longest retransmission timeout */

static int inq(int fd)
{
	int n = 0;

	return ioctl(fd, SIOCINQ, &n) < 0 ? -errno : n;
}

static int outq(int fd)
{
	int n = 0;

	return ioctl(fd, SIOCOUTQ, &n) < 0 ? -errno : n;
}

static void sleep_ms(int ms)
{
	struct timespec ts = {ms / 1000, ms % 1000 * 1000000L};

	(void)nanosleep(&ts, NULL);
}

/* Wait until the sender holds nothing more; gives up after wait_ms without progress.  1: done. */
static int wait_arrival(int fd, int from, int wait_ms)
{
	int last = outq(from), idle = 0, left;
	char byte;

	for (;;) {
		/* Sends an ACK that was put off; peeking offers the sender a window that has grown. */
		(void)ckpti_sock_setopt(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
		(void)recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
		left = outq(from);
		if (left <= 0)
			return left < 0 ? left : 1;
		idle = left < last ? 0 : idle + 1;
		if (idle > wait_ms)
			return 0;
		last = left;
		sleep_ms(1);
	}
}

/* Make room for what the sender holds.  1: everything has arrived. */
static int pull(int fd, int from)
{
	const int size = ckpti_sock_getopt(fd, SOL_SOCKET, SO_RCVBUF, 0);
	const int lowat = ckpti_sock_getopt(fd, SOL_SOCKET, SO_RCVLOWAT, 1);
	const int locked = ckpti_sock_buf_lock(fd) & 2;
	int want = inq(fd) + outq(from), r;

	/* A size that the kernel chooses must stay its choice: SO_RCVLOWAT makes it choose more. */
	if (!locked)
		(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_RCVLOWAT, want);
	else if (ckpti_sock_setopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size / 2 + want) < 0)
		(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_RCVBUF, size / 2 + want);
	r = wait_arrival(fd, from, PULL_WAIT_MS);
	if (!locked)
		(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_RCVLOWAT, lowat);
	else if (ckpti_sock_setopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size / 2) < 0)
		(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_RCVBUF, size / 2);
	return r;
}

static int peek_all(int fd, uint8_t **ret_buf, size_t *ret_len)
{
	int total = inq(fd), off;
	size_t len = 0;
	uint8_t *buf;
	ssize_t n;
	int r = 0;

	if (total < 0)
		return total;
	buf = malloc((size_t)total + 1);
	if (!buf)
		return -ENOMEM;
	off = ckpti_sock_getopt(fd, SOL_SOCKET, SO_PEEK_OFF, -1);
	if (off >= 0) /* the program's own; kernels before 6.9 have none for TCP */
		(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_PEEK_OFF, -1);
	n = total ? recv(fd, buf, (size_t)total, MSG_PEEK | MSG_DONTWAIT) : 0;
	if (n < 0)
		r = -errno;
	else if (n != total)
		r = -EIO;
	else
		len = (size_t)n;
	if (off >= 0)
		(void)ckpti_sock_setopt(fd, SOL_SOCKET, SO_PEEK_OFF, off);
	if (r < 0) {
		free(buf);
		return r;
	}
	*ret_buf = buf;
	*ret_len = len;
	return 0;
}

/* Take everything out.  Data is complete when the sender holds nothing and nothing waits here. */
static int take_all(int fd, int from, uint8_t **buf, size_t *len)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	size_t cap = *len;
	uint8_t *grown;
	ssize_t n;
	int idle = 0;

	while (outq(from) > 0 || inq(fd) > 0) {
		if (cap - *len < 65536) {
			grown = realloc(*buf, 2 * cap + 65536);
			if (!grown) {
				/* Stopping here would lose the order: wait for memory. */
				sleep_ms(10);
				continue;
			}
			*buf = grown;
			cap = 2 * cap + 65536;
		}
		n = recv(fd, *buf + *len, cap - *len, MSG_DONTWAIT);
		if (n > 0) {
			*len += (size_t)n;
			idle = 0;
		} else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
			return n == 0 ? -EPIPE : -errno;
		} else if (idle > DRAIN_WAIT_MS) {
			return -ETIMEDOUT;
		} else if (poll(&pfd, 1, 10) == 0) {
			(void)ckpti_sock_setopt(fd, IPPROTO_TCP, TCP_QUICKACK, 1);
			idle += 10;
		}
	}
	return 0;
}

static int drain(int fd, int from, uint8_t **ret_buf, size_t *ret_len)
{
	uint8_t *buf = NULL;
	size_t len = 0;
	int r;

	r = take_all(fd, from, &buf, &len);
	/* Whatever happened: what was taken goes back. */
	if (len) {
		int back = ckpti_sock_send(from, buf, len, 1000, NULL, 0);

		if (r == 0)
			r = back;
	}
	if (r < 0) {
		free(buf);
		return r;
	}
	*ret_buf = buf;
	*ret_len = len;
	return 0;
}

int ckpti_tcp_queue(int fd, int from, uint8_t **ret_buf, size_t *ret_len)
{
	int r;

	r = wait_arrival(fd, from, ACK_WAIT_MS);
	if (r == 0)
		r = pull(fd, from);
	if (r < 0)
		return r;
	return r == 1 ? peek_all(fd, ret_buf, ret_len) : drain(fd, from, ret_buf, ret_len);
}
