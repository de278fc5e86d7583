/* SPDX-License-Identifier: BSD-3-Clause */
/* eventfd: counter, semaphore mode, the largest count, sharing over fork, a process blocked in read. */
#include <errno.h>
#include <sys/eventfd.h>

#include "fd.h"

#define MAX_COUNT 0xfffffffffffffffeULL

static int counter, semaphore, most, zero, link_fd;

static void disturb(void)
{
	eventfd_t v;

	t_sys(eventfd_read(counter, &v));
	t_sys(eventfd_read(semaphore, &v));
	t_sys(eventfd_read(most, &v));
	t_sys(eventfd_write(zero, 5));
}

static void in_child(void)
{
	eventfd_t v = 0;

	t_sys(eventfd_read(link_fd, &v));
	t_check(v == 42, "the child got %lu", (unsigned long)v);
}

int main(void)
{
	eventfd_t v, want;
	pid_t pid;

	t_start();
	want = t_token() >> 8 | 1;
	counter = t_sys(eventfd(0, EFD_CLOEXEC));
	t_sys(eventfd_write(counter, want));
	semaphore = t_sys(eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK));
	most = t_sys(eventfd(0, EFD_NONBLOCK));
	t_sys(eventfd_write(most, MAX_COUNT));
	zero = t_sys(eventfd(0, EFD_NONBLOCK));
	link_fd = t_sys(eventfd(0, 0));
	pid = child_now(in_child);
	t_on_disturb(disturb);
	t_ready();

	t_check(fcntl(counter, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	t_check(eventfd_read(counter, &v) == 0 && v == want, "counter %lu", (unsigned long)v);
	for (int i = 0; i < 3; i++)
		t_check(eventfd_read(semaphore, &v) == 0 && v == 1, "semaphore at %d", i);
	t_check(eventfd_read(semaphore, &v) < 0 && errno == EAGAIN, "a semaphore of three");
	t_check(eventfd_write(most, 1) < 0 && errno == EAGAIN, "a full counter takes more");
	t_check(eventfd_read(most, &v) == 0 && v == MAX_COUNT, "largest: %lu", (unsigned long)v);
	t_check(eventfd_read(zero, &v) < 0 && errno == EAGAIN, "a counter of zero");
	t_sys(eventfd_write(link_fd, 42));
	child_must_pass(pid);
	t_done();
}
