/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between tcp.c (saving, the row) and tcp_restore.c.
 */
#ifndef CKPT_STATE_TCP_PRIVATE_H
#define CKPT_STATE_TCP_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "state/state.h"

/* An address and a port, IPv4 as an IPv6 address that stands for it: comparable by memcmp(). */
struct ckpti_tcp_addr {
	uint8_t ip[16];
	uint16_t port; /* network order */
};

/* false: neither AF_INET nor AF_INET6. */
bool ckpti_tcp_addr_of(const void *sockaddr, struct ckpti_tcp_addr *ret);
bool ckpti_tcp_addr_equal(const struct ckpti_tcp_addr *a, const struct ckpti_tcp_addr *b);

/* Options that are kept as they are, in the order of `opt` in the record; only ever appended to. */
struct ckpti_tcp_option {
	int level, name;
};
extern const struct ckpti_tcp_option ckpti_tcp_options[8];

/* All data on its way to fd, which from sends: *ret_buf is malloc'ed. */
int ckpti_tcp_queue(int fd, int from, uint8_t **ret_buf, size_t *ret_len);

int ckpti_tcp_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
int ckpti_tcp_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
int ckpti_tcp_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);

#endif
