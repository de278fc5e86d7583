/* SPDX-License-Identifier: BSD-3-Clause */
/* Devices without state, each known by what only it does, and standard input and output as files. */
#include <errno.h>
#include <stdio.h>

#include "fd.h"

int main(void)
{
	char buf[64], zero[64] = {0};
	int null, zeros, full, random, urandom;
	off_t out;

	t_start();
	null = t_sys(open("/dev/null", O_RDWR | O_CLOEXEC));
	zeros = t_sys(open("/dev/zero", O_RDONLY | O_NONBLOCK));
	full = t_sys(open("/dev/full", O_WRONLY));
	random = t_sys(open("/dev/random", O_RDONLY));
	urandom = t_sys(open("/dev/urandom", O_RDONLY));
	/* The one who started us gave a file. */
	(void)dprintf(STDOUT_FILENO, "%016lx\n", (unsigned long)t_token());
	out = lseek(STDOUT_FILENO, 0, SEEK_CUR);
	t_ready();

	t_check(read(null, buf, 1) == 0 && write(null, buf, 64) == 64, "/dev/null");
	t_check(fcntl(null, F_GETFD) == FD_CLOEXEC, "close-on-exec is lost");
	memset(buf, 1, sizeof(buf));
	t_check(read(zeros, buf, 64) == 64 && memcmp(buf, zero, 64) == 0, "/dev/zero");
	t_check(get_flags(zeros) & O_NONBLOCK, "O_NONBLOCK is lost");
	t_check(write(full, "x", 1) < 0 && errno == ENOSPC, "/dev/full");
	t_check(read(random, buf, 64) == 64 && memcmp(buf, zero, 64) != 0, "/dev/random");
	t_check(read(urandom, zero, 64) == 64 && memcmp(buf, zero, 64) != 0, "/dev/urandom");
	t_check(read(STDIN_FILENO, buf, 1) == 0, "standard input");
	t_check(lseek(STDOUT_FILENO, 0, SEEK_CUR) == out, "standard output is at %ld, not %ld",
		(long)lseek(STDOUT_FILENO, 0, SEEK_CUR), (long)out);
	t_check(share_offset(STDOUT_FILENO, STDERR_FILENO), "standard output and error differ");
	t_done();
}
