/* SPDX-License-Identifier: BSD-3-Clause */
/* Descriptors with the highest numbers that the limit allows: nothing is free above them. */
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "fd.h"

int main(void)
{
	struct rlimit lim;
	eventfd_t v;
	int fd, last;

	t_start();
	t_sys(getrlimit(RLIMIT_NOFILE, &lim));
	if (lim.rlim_max > 1000000)
		lim.rlim_max = 1000000;
	lim.rlim_cur = lim.rlim_max;
	t_sys(setrlimit(RLIMIT_NOFILE, &lim));
	last = (int)lim.rlim_max - 1;
	for (int i = 0; i < 10; i++) {
		fd = t_sys(eventfd((unsigned)i + 1, 0));
		t_sys(dup2(fd, last - i));
		t_sys(close(fd));
	}
	t_ready();
	for (int i = 0; i < 10; i++)
		t_check(eventfd_read(last - i, &v) == 0 && v == (eventfd_t)i + 1, "descriptor %d",
			last - i);
	t_sys(getrlimit(RLIMIT_NOFILE, &lim));
	t_check(lim.rlim_max == (rlim_t)last + 1 && lim.rlim_cur == lim.rlim_max,
		"the limit is %lu", (unsigned long)lim.rlim_cur);
	t_done();
}
