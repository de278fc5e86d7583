/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Options that sockets of several kinds have in common: those that are an integer (one table), and
 * memberships in multicast groups.
 */
#ifndef CKPT_STATE_SOCK_OPTIONS_H
#define CKPT_STATE_SOCK_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "image/format.h"
#include "util/err.h"

#define CKPTI_SOCK_OPTIONS_MAX 96

/* All options of the table that fd knows.  Returns their number. */
uint32_t ckpti_sock_options_save(int fd, struct ckpti_e_sockopt ret[CKPTI_SOCK_OPTIONS_MAX]);
/* Set those that differ; `array` is n elements, at any alignment. */
int ckpti_sock_options_apply(int fd, const void *array, uint32_t n, struct ckpti_err *err);

/* Buffer sizes that the program has chosen, else 0; and back. */
void ckpti_sock_buffers_save(int fd, int32_t *ret_sndbuf, int32_t *ret_rcvbuf);
int ckpti_sock_buffers_apply(int fd, int32_t sndbuf, int32_t rcvbuf);

/* The multicast groups that fd has joined: *ret is malloc'ed. */
int ckpti_sock_groups_save(int fd, int family, struct ckpti_e_membership **ret, uint32_t *ret_n);
int ckpti_sock_groups_apply(int fd, const void *array, uint32_t n, struct ckpti_err *err);

/* The classic packet filter of fd: *ret is malloc'ed, n instructions of 8 bytes.  -EACCES: there is
 * one that cannot be read. */
int ckpti_sock_filter_save(int fd, void **ret, uint32_t *ret_n);
int ckpti_sock_filter_apply(int fd, const void *filter, uint32_t n);

#endif
