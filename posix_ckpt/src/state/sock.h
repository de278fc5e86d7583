/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the rows of sockets (unix.c, tcp.c) have in common.
 */
#ifndef CKPT_STATE_SOCK_H
#define CKPT_STATE_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "state/state.h"

#ifndef SO_BUF_LOCK
#define SO_BUF_LOCK 72 /* Linux 5.15 */
#endif

/* What the kernel calls the protocol of a socket: "TCP", "UDPv6", "UNIX-STREAM" …; "" when d is no
 * socket.  Works without d->fd.  Returns the length. */
#define CKPTI_SOCK_PROTOCOL_SIZE 32
size_t ckpti_sock_protocol(const struct ckpti_desc *d, char ret[CKPTI_SOCK_PROTOCOL_SIZE]);

/* An integer option; `absent` when the kernel does not know it. */
int ckpti_sock_getopt(int fd, int level, int name, int absent);
/* 0 or -errno. */
int ckpti_sock_setopt(int fd, int level, int name, int value);

/* SO_RCVTIMEO, SO_SNDTIMEO in microseconds, 0: none. */
int64_t ckpti_sock_get_timeout(int fd, int name);
int ckpti_sock_set_timeout(int fd, int name, int64_t us);

/* Which buffer sizes are the program's choice?  Bits of SO_BUF_LOCK: 1 send, 2 receive. */
int ckpti_sock_buf_lock(int fd);

/* Send all of it without blocking for longer than about wait_ms at a time; a send buffer that is too
 * small is enlarged and set back.  A datagram socket sends one datagram.  dst may be NULL. */
int ckpti_sock_send(int fd, const void *buf, size_t len, int wait_ms, const struct sockaddr *dst,
		    socklen_t dst_len);

/* What the kernel tells of a unix socket (sock_diag(7)). */
struct ckpti_unix_diag {
	unsigned type;  /* SOCK_* */
	unsigned state; /* TCP_LISTEN … */
	bool connected; /* has another end; peer 0: that end has no descriptor (closed, not accepted) */
	uint32_t peer;           /* inode of the other end */
	uint32_t rqueue, wqueue; /* listening: connections that wait, backlog */
	uint32_t shut;
	uint32_t vfs_ino; /* of the socket file, 0 when none */
	size_t name_len;
	char name[109]; /* as in sun_path */
};
int ckpti_unix_diag(uint32_t ino, struct ckpti_unix_diag *ret);

#endif
