/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of everything that may stand behind a descriptor.  A description belongs to the first row
 * that takes it.  `stdio` comes last: it takes what is left on descriptors 0 to 2.  Rows for pipes,
 * terminals and sockets hand over to it when they find, while saving, that the other end is outside the set.
 */
#include "state/kinds.h"

/* clang-format off */
const struct ckpti_fd_kind *const ckpti_fd_kinds[] = {
	&ckpti_kind_opath, /* before all others of its types */
	&ckpti_kind_pidfd, /* before file, as memfd */
	&ckpti_kind_proc,  /* before file and dir */
	&ckpti_kind_memfd, /* before file: a memfd is a regular file to fstat() */
	&ckpti_kind_file,
	&ckpti_kind_dir,
	&ckpti_kind_chr,
	&ckpti_kind_ptm,
	&ckpti_kind_pts, /* before stdio: its master may be in the set */
	&ckpti_kind_pipe,
	&ckpti_kind_fifo,
	&ckpti_kind_eventfd,
	&ckpti_kind_timerfd,
	&ckpti_kind_signalfd,
	&ckpti_kind_epoll,
	&ckpti_kind_inotify,
	&ckpti_kind_unix,
	&ckpti_kind_tcp,
	&ckpti_kind_udp,
	&ckpti_kind_netlink,
	&ckpti_kind_stdio,
	NULL,
};
/* clang-format on */
