/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A thousand descriptors of different kinds, every one where it was, with gaps between them.
 */
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "fd.h"

#define NUM 1000

static int number[NUM];
static const char *common;

static int make(int i)
{
	char name[32];
	int pair[2], fd;

	switch (i % 5) {
	case 0:
		return t_sys(eventfd((unsigned)i, 0));
	case 1:
		(void)snprintf(name, sizeof(name), "file%d", i % 50);
		fd = t_sys(open(t_path(name), O_RDWR | O_CREAT, 0600));
		t_sys(lseek(fd, i, SEEK_SET));
		return fd;
	case 2:
		t_sys(pipe2(pair, 0));
		t_sys(write(pair[1], &i, sizeof(i)));
		t_sys(close(pair[1]));
		return pair[0];
	case 3:
		fd = t_sys(open(common, O_RDONLY));
		t_sys(lseek(fd, i, SEEK_SET));
		return fd;
	default:
		t_sys(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
		t_sys(write(pair[1], &i, sizeof(i)));
		t_sys(close(pair[1]));
		return pair[0];
	}
}

static void check(int i)
{
	eventfd_t v = 0;
	int value = -1;

	switch (i % 5) {
	case 0:
		t_check(i == 0 || (eventfd_read(number[i], &v) == 0 && v == (eventfd_t)i),
			"eventfd %d: %lu", i, (unsigned long)v);
		return;
	case 1:
	case 3:
		t_check(lseek(number[i], 0, SEEK_CUR) == i, "file %d: offset %ld", i,
			(long)lseek(number[i], 0, SEEK_CUR));
		return;
	default:
		t_check(read(number[i], &value, sizeof(value)) == sizeof(value) && value == i,
			"pipe or socket %d: %d", i, value);
	}
}

int main(void)
{
	struct rlimit lim;
	int where;

	t_start();
	t_sys(getrlimit(RLIMIT_NOFILE, &lim));
	lim.rlim_cur = lim.rlim_max;
	t_sys(setrlimit(RLIMIT_NOFILE, &lim));
	if (lim.rlim_cur < 6000)
		t_skip("no more than %lu descriptors are allowed here",
		       (unsigned long)lim.rlim_cur);
	common = t_path("common");
	t_write_file(common, "", 0);
	where = 10;
	for (int i = 0; i < NUM; i++) {
		int fd = make(i);

		where += 1 + (int)(t_token() >> (i % 60) & 3);
		if (fcntl(where, F_GETFD) >= 0) {
			number[i] = fd;
			continue;
		}
		number[i] = fcntl(fd, F_DUPFD, where);
		if (number[i] != fd)
			t_sys(close(fd));
	}
	t_ready();
	for (int i = 0; i < NUM; i++)
		check(i);
	where = 0;
	for (int fd = 3; fd < 6000; fd++)
		where += fcntl(fd, F_GETFD) >= 0;
	t_check(where == NUM, "%d descriptors instead of %d", where, NUM);
	t_done();
}
