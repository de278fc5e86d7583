/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rows of ckpti_fd_kinds[], one for each kind of kernel object.  Only kinds.c and the tests need
 * them by name.
 */
#ifndef CKPT_STATE_KINDS_H
#define CKPT_STATE_KINDS_H

#include "state/state.h"

extern const struct ckpti_fd_kind ckpti_kind_file;
extern const struct ckpti_fd_kind ckpti_kind_dir;
extern const struct ckpti_fd_kind ckpti_kind_chr;
extern const struct ckpti_fd_kind ckpti_kind_ptm;
extern const struct ckpti_fd_kind ckpti_kind_pts;
extern const struct ckpti_fd_kind ckpti_kind_stdio;
extern const struct ckpti_fd_kind ckpti_kind_pipe;
extern const struct ckpti_fd_kind ckpti_kind_fifo;
extern const struct ckpti_fd_kind ckpti_kind_memfd;
extern const struct ckpti_fd_kind ckpti_kind_eventfd;
extern const struct ckpti_fd_kind ckpti_kind_timerfd;
extern const struct ckpti_fd_kind ckpti_kind_signalfd;
extern const struct ckpti_fd_kind ckpti_kind_epoll;
extern const struct ckpti_fd_kind ckpti_kind_unix;
extern const struct ckpti_fd_kind ckpti_kind_tcp;
extern const struct ckpti_fd_kind ckpti_kind_udp;
extern const struct ckpti_fd_kind ckpti_kind_netlink;
extern const struct ckpti_fd_kind ckpti_kind_pidfd;
extern const struct ckpti_fd_kind ckpti_kind_opath;
extern const struct ckpti_fd_kind ckpti_kind_proc;
extern const struct ckpti_fd_kind ckpti_kind_inotify;

#endif
