/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * pidfd: of a running child, of one that has ended, of one that has been waited for, of the process
 * itself and of its parent in a child; watched by epoll; shared over fork.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#include "fd.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

#define COPIES 40

static int live, ended, gone, own, parent, ep, copy[COPIES];

static int pidfd(pid_t pid, unsigned flags)
{
	long fd = syscall(SYS_pidfd_open, pid, flags);

	if (fd < 0)
		t_skip("cannot make a pidfd: %m");
	return (int)fd;
}

static int readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return t_sys(poll(&p, 1, 0)) == 1 && (p.revents & POLLIN);
}

/* Whose is it, by what the kernel says? */
static int whose(int fd)
{
	char path[64], text[512], *line;

	(void)snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	text[t_read_file(path, text, sizeof(text) - 1)] = 0;
	line = strstr(text, "\nPid:");
	return line ? atoi(line + 5) : -2;
}

static void until_killed(void)
{
	for (;;)
		(void)pause();
}

/* The child inherits `own`, a pidfd of its parent, and opens one by itself. */
static void in_child(void)
{
	t_check(whose(own) == getppid() && whose(parent) == getppid(), "the parent's pidfd");
	t_check(syscall(SYS_pidfd_send_signal, parent, 0, NULL, 0) == 0, "the parent is not there");
}

static void open_parent(void)
{
	parent = pidfd(getppid(), 0);
	for (int i = 0; access(t_path("go"), F_OK) < 0; i++) {
		t_check(i < 6000, "nobody said go");
		t_sleep_ms(20);
	}
	in_child();
}

int main(void)
{
	struct epoll_event e = {.events = EPOLLIN};
	siginfo_t si = {0};
	pid_t pid[4];

	t_start();
	own = pidfd(getpid(), 0);
	/* Numbers without a gap: each is the lowest free one when its turn comes. */
	for (int i = 0; i < COPIES; i++)
		copy[i] = t_sys(dup(own));
	pid[0] = child_now(until_killed);
	live = pidfd(pid[0], O_NONBLOCK);
	pid[1] = t_sys(fork());
	if (pid[1] == 0)
		_exit((int)(t_token() & 0x7f));
	ended = pidfd(pid[1], 0);
	pid[2] = t_sys(fork());
	if (pid[2] == 0)
		_exit(0);
	gone = pidfd(pid[2], 0);
	child_must_pass(pid[2]);
	pid[3] = child_now(open_parent);
	ep = t_sys(epoll_create1(0));
	e.data.u64 = t_token();
	t_sys(epoll_ctl(ep, EPOLL_CTL_ADD, live, &e));
	for (int i = 0; !readable(ended); i++) {
		t_check(i < 1000, "the child does not end");
		t_sleep_ms(10);
	}
	t_ready();

	t_check(whose(own) == getpid(), "our own: it is of %d", whose(own));
	for (int i = 0; i < COPIES; i++)
		t_check(fcntl(copy[i], F_GETFD) == 0 && whose(copy[i]) == getpid(),
			"the copy %d of our own", copy[i]);
	t_check(whose(live) == pid[0] && !readable(live), "the running child");
	t_check(get_flags(live) & O_NONBLOCK, "it is blocking now");
	t_check(fcntl(live, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	t_check(waitid(P_PIDFD, (id_t)live, &si, WEXITED) < 0 && errno == EAGAIN,
		"waiting without blocking");
	t_check(whose(ended) == pid[1] && readable(ended), "the child that has ended");
	t_sys(waitid(P_PIDFD, (id_t)ended, &si, WEXITED));
	t_check(si.si_pid == pid[1] && si.si_status == (int)(t_token() & 0x7f), "its status is %d",
		si.si_status);
	t_check(whose(gone) == -1 && readable(gone), "the child that had been waited for");
	t_check(syscall(SYS_pidfd_send_signal, gone, 0, NULL, 0) < 0 && errno == ESRCH,
		"that child is alive");
	t_check(epoll_wait(ep, &e, 1, 0) == 0, "epoll: it has not ended");
	t_sys(syscall(SYS_pidfd_send_signal, live, SIGKILL, NULL, 0));
	t_check(epoll_wait(ep, &e, 1, 10000) == 1 && e.data.u64 == t_token(),
		"epoll: it has ended");
	t_sys(waitid(P_PIDFD, (id_t)live, &si, WEXITED));
	t_check(si.si_pid == pid[0] && si.si_status == SIGKILL, "how it ended");
	child_must_pass(pid[3]);
	t_done();
}
