/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * epoll: what is watched, how (level, edge, one shot), with which data; an epoll in an epoll; one that
 * is shared over fork; numbers for later changes are the old ones; an entry whose number was closed
 * while the file stayed open.
 */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "fd.h"

static int closed_number, kept_open;
static int ep, outer, shared, level[2], edge[2], oneshot[2], fired[2], ev;

static void add(int to, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = {.events = events, .data.u64 = data};

	t_sys(epoll_ctl(to, EPOLL_CTL_ADD, fd, &e));
}

/* The events that are ready now, by data; 0 when not among them. */
static uint32_t ready(int from, uint64_t data)
{
	struct epoll_event e[16];
	int n = t_sys(epoll_wait(from, e, 16, 0));

	for (int i = 0; i < n; i++)
		if (e[i].data.u64 == data)
			return e[i].events;
	return 0;
}

static void disturb(void)
{
	drain(level[0]);
	t_sys(epoll_ctl(ep, EPOLL_CTL_DEL, edge[0], NULL));
	t_sys(epoll_ctl(outer, EPOLL_CTL_DEL, ep, NULL));
	t_sys(write(oneshot[1], "x", 1));
	(void)ready(ep, 0);
}

static void in_child(void)
{
	struct epoll_event e;

	t_check(epoll_wait(shared, &e, 1, 10000) == 1 && e.data.u64 == t_token(),
		"the child's event");
}

int main(void)
{
	uint64_t id;
	struct epoll_event e = {.events = EPOLLIN};
	pid_t pid;

	t_start();
	id = t_token();
	ep = t_sys(epoll_create1(EPOLL_CLOEXEC));
	t_sys(pipe2(level, 0));
	t_sys(pipe2(edge, 0));
	t_sys(pipe2(oneshot, 0));
	t_sys(pipe2(fired, 0));
	t_sys(write(level[1], "data", 4));
	t_sys(write(fired[1], "data", 4));
	add(ep, level[0], EPOLLIN, id);
	add(ep, edge[0], EPOLLIN | EPOLLET | EPOLLRDHUP, id + 1);
	add(ep, oneshot[0], EPOLLIN | EPOLLONESHOT, id + 2);
	add(ep, fired[0], EPOLLIN | EPOLLONESHOT, id + 3);
	t_check(ready(ep, id + 3) == EPOLLIN, "set-up");
	outer = t_sys(epoll_create1(0));
	add(outer, ep, EPOLLIN, id + 4);
	shared = t_sys(epoll_create1(0));
	ev = t_sys(eventfd(0, 0));
	add(shared, ev, EPOLLIN, id);
	pid = child_now(in_child);
	/* The number that the entry goes by is another file's by now. */
	closed_number = t_sys(eventfd(0, 0));
	kept_open = t_sys(dup(closed_number));
	add(ep, closed_number, EPOLLIN, id + 5);
	t_sys(dup2(level[1], closed_number));
	t_on_disturb(disturb);
	t_ready();

	t_check(fcntl(ep, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	t_check(ready(ep, id) == EPOLLIN && ready(ep, id) == EPOLLIN, "level: not reported again");
	t_check(ready(ep, id + 3) == 0, "a one shot was fired twice");
	t_check(ready(outer, id + 4) == EPOLLIN, "the inner epoll is not watched");
	t_check(ready(ep, id + 1) == 0, "edge: nothing has come");
	t_sys(write(edge[1], "x", 1));
	t_check(ready(ep, id + 1) == EPOLLIN, "edge: not reported");
	t_check(ready(ep, id + 1) == 0, "edge: reported without an edge");
	t_sys(write(oneshot[1], "x", 1));
	t_check(ready(ep, id + 2) == EPOLLIN, "one shot: not reported");
	t_sys(write(oneshot[1], "x", 1));
	t_check(ready(ep, id + 2) == 0, "one shot: reported twice");
	/* Entries are found by the old numbers. */
	e.data.u64 = id + 9;
	t_sys(epoll_ctl(ep, EPOLL_CTL_MOD, fired[0], &e));
	t_check(ready(ep, id + 9) == EPOLLIN, "changing an entry");
	t_sys(epoll_ctl(ep, EPOLL_CTL_DEL, level[0], NULL));
	t_check(ready(ep, id) == 0, "removing an entry");
	t_check(epoll_ctl(ep, EPOLL_CTL_ADD, edge[0], &e) < 0 && errno == EEXIST,
		"an entry is there twice");
	t_check(ready(ep, id + 5) == 0, "the closed number: nothing has come");
	t_sys(eventfd_write(kept_open, 1));
	t_check(ready(ep, id + 5) == EPOLLIN, "the closed number: the file is not watched");
	t_check(write(closed_number, "x", 1) == 1 && fcntl(closed_number, F_GETFD) == 0,
		"the number is another file's no more");
	t_check(epoll_ctl(ep, EPOLL_CTL_DEL, closed_number, NULL) < 0 && errno == ENOENT,
		"an entry goes by the number's new file");
	t_sys(eventfd_write(ev, 1));
	child_must_pass(pid);
	t_done();
}
