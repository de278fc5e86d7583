/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's descriptors.  Both halves share one table, and after a restart the application must find
 * its own numbers while a fresh guest has others.  So what the guest opens is moved up at once, to
 * numbers from fd_base on: 512 where the limit is 1024 or more, else the upper half of what there is.
 * 2 ranks use some 20, TCP one more for each peer; libevent and PMIx use select(), so the range begins
 * as far below 1024 as that.  When it is full, numbers above are taken.
 *
 * The application's own may lie there too, when it has many: owned[] says which are the guest's.
 *
 * All of them close at an exec, so that no child of the application inherits any.  What the guest
 * itself means to hand to a child is in passed[], and opened for it when that child execs.
 *
 * Freestanding: see guest.h.
 */
#include "guest/guest_private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/socket.h>

#define MAX_FDS 65536
#define BITS    64

/* Not in every kernel header. */
#ifndef SYS_openat2
#define SYS_openat2 437
#endif

static uint64_t owned[MAX_FDS / BITS], passed[MAX_FDS / BITS];
static unsigned int fd_base = 512;

static bool bit(const uint64_t *map, unsigned int fd)
{
	return fd < MAX_FDS &&
	       (__atomic_load_n(&map[fd / BITS], __ATOMIC_RELAXED) >> fd % BITS & 1);
}

static void set_bit(uint64_t *map, unsigned int fd, bool on)
{
	if (fd >= MAX_FDS)
		return;
	if (on)
		__atomic_or_fetch(&map[fd / BITS], 1ULL << fd % BITS, __ATOMIC_RELAXED);
	else
		__atomic_and_fetch(&map[fd / BITS], ~(1ULL << fd % BITS), __ATOMIC_RELAXED);
}

void guest_fd_reset(unsigned int limit)
{
	fd_base = limit >= 1024 ? 512 : limit / 2;
	arch_fill(owned, 0, sizeof(owned));
	arch_fill(passed, 0, sizeof(passed));
}

bool ckpti_guest_has_fd(int fd)
{
	return fd >= 0 && bit(owned, (unsigned int)fd);
}

bool guest_fd_makes(long nr)
{
	switch (nr) {
	case SYS_open:
	case SYS_openat:
	case SYS_openat2:
	case SYS_open_by_handle_at:
	case SYS_creat:
	case SYS_close:
	case SYS_close_range:
	case SYS_dup:
	case SYS_dup2:
	case SYS_dup3:
	case SYS_fcntl:
	case SYS_pipe:
	case SYS_pipe2:
	case SYS_socket:
	case SYS_socketpair:
	case SYS_accept:
	case SYS_accept4:
	case SYS_recvmsg:
	case SYS_epoll_create:
	case SYS_epoll_create1:
	case SYS_eventfd:
	case SYS_eventfd2:
	case SYS_signalfd:
	case SYS_signalfd4:
	case SYS_timerfd_create:
	case SYS_inotify_init:
	case SYS_inotify_init1:
	case SYS_memfd_create:
	case SYS_pidfd_open:
	case SYS_userfaultfd:
	case SYS_perf_event_open:
		return true;
	default:
		return false;
	}
}

static void adopt(unsigned int fd, bool cloexec)
{
	set_bit(owned, fd, true);
	set_bit(passed, fd, !cloexec);
}

/* To the range, and out of every child. */
static long move(long fd)
{
	long flags, to;

	if (fd < 0)
		return fd;
	flags = raw(SYS_fcntl, fd, F_GETFD, 0, 0, 0, 0);
	if (fd >= (long)fd_base) {
		(void)raw(SYS_fcntl, fd, F_SETFD, FD_CLOEXEC, 0, 0, 0);
		adopt((unsigned int)fd, flags & FD_CLOEXEC);
		return fd;
	}
	to = raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, fd_base, 0, 0, 0);
	if (to < 0) {
		ckpti_guest_stats.fds_low++;
		return fd;
	}
	(void)raw(SYS_close, fd, 0, 0, 0, 0, 0);
	ckpti_guest_stats.fds_moved++;
	adopt((unsigned int)to, flags & FD_CLOEXEC);
	return to;
}

/* Descriptors that came with a message. */
static void move_received(struct msghdr *msg)
{
	struct cmsghdr *c;
	int *fd;

	if (!msg->msg_control || msg->msg_controllen < sizeof(*c))
		return;
	for (size_t at = 0; at + sizeof(*c) <= msg->msg_controllen; at += CMSG_ALIGN(c->cmsg_len)) {
		c = (struct cmsghdr *)((char *)msg->msg_control + at);
		if (c->cmsg_len < sizeof(*c))
			return;
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		fd = (int *)CMSG_DATA(c);
		for (size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); n; n--, fd++)
			*fd = (int)move(*fd);
	}
}

static long fcntl_call(long *arg)
{
	bool dup = arg[1] == F_DUPFD || arg[1] == F_DUPFD_CLOEXEC;
	long low = dup && arg[2] >= 0 && arg[2] < (long)fd_base ? (long)fd_base : arg[2];
	long r = raw(SYS_fcntl, arg[0], arg[1], low, 0, 0, 0);

	if (r >= 0 && dup)
		return move(r);
	if (r == 0 && arg[1] == F_SETFD && ckpti_guest_has_fd((int)arg[0])) {
		set_bit(passed, (unsigned int)arg[0], !(arg[2] & FD_CLOEXEC));
		(void)raw(SYS_fcntl, arg[0], F_SETFD, FD_CLOEXEC, 0, 0, 0);
	}
	if (r >= 0 && arg[1] == F_GETFD && ckpti_guest_has_fd((int)arg[0]))
		return bit(passed, (unsigned int)arg[0]) ? 0 : FD_CLOEXEC;
	return r;
}

int ckpti_guest_fd_take(int fd)
{
	return (int)move(fd);
}

void ckpti_guest_fd_close(int fd)
{
	if (fd < 0)
		return;
	set_bit(owned, (unsigned int)fd, false);
	(void)raw(SYS_close, fd, 0, 0, 0, 0, 0);
}

static void forget(unsigned int first, unsigned int last)
{
	for (unsigned int fd = first; fd < MAX_FDS && fd <= last; fd++)
		set_bit(owned, fd, false);
}

long guest_fd_call(long nr, long *arg)
{
	long r;
	int *pair;

	/* A child of the guest has a table of its own, and perhaps our memory (vfork). */
	if (guest_is_child())
		return raw(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	if (nr == SYS_fcntl)
		return fcntl_call(arg);
	/* Before: the number may be somebody else's as soon as it is closed. */
	if (nr == SYS_close)
		forget((unsigned int)arg[0], (unsigned int)arg[0]);
	if (nr == SYS_close_range && !(arg[2] & ~CLOSE_RANGE_UNSHARE))
		forget((unsigned int)arg[0], (unsigned int)arg[1]);
	r = raw(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	if (r < 0)
		return r;
	switch (nr) {
	case SYS_close:
	case SYS_close_range:
		return r;
	case SYS_signalfd:
	case SYS_signalfd4:
		return arg[0] >= 0 ? r : move(r); /* else it has changed that one */
	case SYS_dup2:
	case SYS_dup3:
		/* The guest has chosen the number. */
		if (r >= (long)fd_base)
			return move(r);
		ckpti_guest_stats.fds_low += arg[0] != arg[1];
		return r;
	case SYS_pipe:
	case SYS_pipe2:
	case SYS_socketpair:
		pair = (int *)(nr == SYS_socketpair ? arg[3] : arg[0]);
		pair[0] = (int)move(pair[0]);
		pair[1] = (int)move(pair[1]);
		return r;
	case SYS_recvmsg:
		move_received((struct msghdr *)arg[1]);
		return r;
	default:
		return move(r);
	}
}

/* In a child of the guest. */
void guest_fd_before_exec(void)
{
	for (unsigned int i = 0; i < MAX_FDS / BITS; i++)
		for (uint64_t map = owned[i] & passed[i]; map; map &= map - 1)
			(void)raw(SYS_fcntl, i * BITS + (unsigned int)__builtin_ctzll(map), F_SETFD,
				  0, 0, 0, 0);
}
