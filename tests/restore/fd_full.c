/* SPDX-License-Identifier: BSD-3-Clause */
/* A program that has nearly as many descriptors as its limit allows: there is room for one more. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "t.h"

#define MOST 40

int main(void)
{
	struct rlimit limit, now;
	int fd, first;

	t_start();
	t_sys(getrlimit(RLIMIT_NOFILE, &limit));
	limit.rlim_cur = MOST;
	t_sys(setrlimit(RLIMIT_NOFILE, &limit));
	first = t_sys(open("/dev/zero", O_RDONLY));
	do
		fd = open("/dev/zero", O_RDONLY);
	while (fd >= 0);
	t_check(errno == EMFILE, "open: %m");
	t_sys(close(MOST - 1));
	t_ready();
	for (fd = first; fd < MOST - 1; fd++)
		t_check(fcntl(fd, F_GETFD) >= 0, "descriptor %d is gone", fd);
	t_sys(getrlimit(RLIMIT_NOFILE, &now));
	t_check(now.rlim_cur == MOST && now.rlim_max == limit.rlim_max, "the limit is another one");
	t_done();
}
