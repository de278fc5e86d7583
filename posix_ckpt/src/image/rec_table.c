/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The record types of version 1: the one table that the check, the names in messages and
 * docs/format/image-v1.md follow.
 *
 * The sizes are numbers on purpose.  They are what version 1 promised when it was published; the
 * structs may grow behind them, never shrink, which the assertions below hold fast.
 */
#include <stddef.h>

#include "image/image_private.h"

/* clang-format off */
static const struct ckpti_rec_info table[] = {
	/* type                fixed str elem once name */
	{ CKPTI_R_SET,           112, 2,   0, 1, "set" },
	{ CKPTI_R_MACHINE,       120, 3,   0, 1, "machine" },
	{ CKPTI_R_DATAFILE,       16, 1,   0, 0, "datafile" },
	{ CKPTI_R_PROC,          176, 5,   0, 0, "proc" },
	{ CKPTI_R_RLIMITS,         8, 0,  16, 0, "rlimits" },
	{ CKPTI_R_GROUPS,          8, 0,   4, 0, "groups" },
	{ CKPTI_R_MM,            104, 0,   8, 0, "mm" },
	{ CKPTI_R_VMAS,            8, 0,  48, 0, "vmas" },
	{ CKPTI_R_EXTENTS,         8, 0,  40, 0, "extents" },
	{ CKPTI_R_GUARDS,          8, 0,  16, 0, "guards" },
	{ CKPTI_R_THREADS,         8, 0, 232, 0, "threads" },
	{ CKPTI_R_SIGACTIONS,      8, 0,  32, 0, "sigactions" },
	{ CKPTI_R_PENDING,         8, 0, 128, 0, "pending" },
	{ CKPTI_R_ITIMERS,         8, 0,  16, 0, "itimers" },
	{ CKPTI_R_TIMERS,          8, 0,  48, 0, "timers" },
	{ CKPTI_R_MAPFILE,        64, 2,   0, 0, "mapfile" },
	{ CKPTI_R_SHM,            64, 1,   0, 0, "shm" },
	{ CKPTI_R_FDS,             8, 0,  16, 0, "fds" },
	{ CKPTI_R_LOCKS,           0, 0,  40, 1, "locks" },
	{ CKPTI_R_CONTENT,        16, 0,   0, 0, "content" },
	{ CKPTI_R_OBJ_FILE,       96, 1,   0, 0, "file" },
	{ CKPTI_R_OBJ_DIR,        56, 1,   0, 0, "dir" },
	{ CKPTI_R_OBJ_CHR,        56, 1,   0, 0, "chr" },
	{ CKPTI_R_OBJ_STDIO,      48, 0,   0, 0, "stdio" },
	{ CKPTI_R_OBJ_PIPE,       80, 0,   1, 0, "pipe" },
	{ CKPTI_R_OBJ_FIFO,       80, 1,   1, 0, "fifo" },
	{ CKPTI_R_OBJ_EVENTFD,    56, 0,   0, 0, "eventfd" },
	{ CKPTI_R_OBJ_TIMERFD,    72, 0,   0, 0, "timerfd" },
	{ CKPTI_R_OBJ_SIGNALFD,   48, 0,   0, 0, "signalfd" },
	{ CKPTI_R_OBJ_EPOLL,      40, 0,  24, 0, "epoll" },
	{ CKPTI_R_OBJ_MEMFD,      56, 0,   0, 0, "memfd" },
	{ CKPTI_R_OBJ_UNIX,      112, 0,   1, 0, "unix" },
	{ CKPTI_R_OBJ_TCP,       208, 0,   1, 0, "tcp" },
	{ CKPTI_R_OBJ_UDP,       152, 1,   1, 0, "udp" },
	{ CKPTI_R_OBJ_NETLINK,   104, 0,   1, 0, "netlink" },
	{ CKPTI_R_OBJ_PTM,       136, 1,   1, 0, "ptm" },
	{ CKPTI_R_OBJ_PTS,        48, 1,   0, 0, "pts" },
	{ CKPTI_R_OBJ_PIDFD,      48, 0,   0, 0, "pidfd" },
	{ CKPTI_R_OBJ_OPATH,      64, 1,   0, 0, "opath" },
	{ CKPTI_R_OBJ_PROC,       56, 1,   0, 0, "procfile" },
	{ CKPTI_R_OBJ_INOTIFY,    48, 0,   8, 0, "inotify" },
};
/* clang-format on */

#define NOT_SMALLER(type, size) \
	_Static_assert(sizeof(type) >= (size), #type " lost bytes of version 1")
NOT_SMALLER(struct ckpti_r_set, 112);
NOT_SMALLER(struct ckpti_r_machine, 120);
NOT_SMALLER(struct ckpti_r_datafile, 16);
NOT_SMALLER(struct ckpti_r_proc, 176);
NOT_SMALLER(struct ckpti_pid_head, 8);
NOT_SMALLER(struct ckpti_e_rlimit, 16);
NOT_SMALLER(struct ckpti_r_mm, 104);
NOT_SMALLER(struct ckpti_e_vma, 48);
NOT_SMALLER(struct ckpti_r_extents, 8);
NOT_SMALLER(struct ckpti_e_extent, 40);
NOT_SMALLER(struct ckpti_e_range, 16);
NOT_SMALLER(struct ckpti_e_thread, 232);
NOT_SMALLER(struct ckpti_e_sigaction, 32);
NOT_SMALLER(struct ckpti_e_siginfo, 128);
NOT_SMALLER(struct ckpti_e_itimer, 16);
NOT_SMALLER(struct ckpti_e_timer, 48);
NOT_SMALLER(struct ckpti_r_mapfile, 64);
NOT_SMALLER(struct ckpti_r_shm, 64);
NOT_SMALLER(struct ckpti_e_fd, 16);
NOT_SMALLER(struct ckpti_e_lock, 40);
NOT_SMALLER(struct ckpti_r_content, 16);
NOT_SMALLER(struct ckpti_obj, 40);
NOT_SMALLER(struct ckpti_r_obj_file, 96);
NOT_SMALLER(struct ckpti_r_obj_path, 56);
NOT_SMALLER(struct ckpti_r_obj_stdio, 48);
NOT_SMALLER(struct ckpti_r_obj_pipe, 80);
NOT_SMALLER(struct ckpti_r_obj_eventfd, 56);
NOT_SMALLER(struct ckpti_r_obj_timerfd, 72);
NOT_SMALLER(struct ckpti_r_obj_signalfd, 48);
NOT_SMALLER(struct ckpti_r_obj_epoll, 40);
NOT_SMALLER(struct ckpti_e_epoll, 24);
NOT_SMALLER(struct ckpti_r_obj_memfd, 56);
NOT_SMALLER(struct ckpti_r_obj_unix, 112);
NOT_SMALLER(struct ckpti_r_obj_tcp, 208);
NOT_SMALLER(struct ckpti_r_obj_udp, 152);
NOT_SMALLER(struct ckpti_r_obj_netlink, 104);
NOT_SMALLER(struct ckpti_e_sockopt, 12);
NOT_SMALLER(struct ckpti_e_membership, 76);
NOT_SMALLER(struct ckpti_e_datagram, 32);
NOT_SMALLER(struct ckpti_r_obj_ptm, 136);
NOT_SMALLER(struct ckpti_r_obj_pts, 48);
NOT_SMALLER(struct ckpti_r_obj_pidfd, 48);
NOT_SMALLER(struct ckpti_r_obj_proc, 56);
NOT_SMALLER(struct ckpti_r_obj_inotify, 48);
NOT_SMALLER(struct ckpti_e_watch, 8);

const struct ckpti_rec_info *ckpti_rec_info(uint32_t type)
{
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (table[i].type == type)
			return &table[i];
	}
	return NULL;
}

const char *ckpti_rec_name(uint32_t type)
{
	const struct ckpti_rec_info *info = ckpti_rec_info(type);

	return info ? info->name : "unknown";
}
