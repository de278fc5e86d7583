/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Rights of a mapping that its present protection does not show: a shared file that was opened for
 * writing may be made writable later; a mapping that is locked on fault is not filled by a restart.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "t.h"

#define FILE_SIZE (65UL << 20) /* more than the image takes over */
#define LOCK_SIZE (64UL << 20)
#define PAGE      4096UL

static long resident_kib(void)
{
	char text[8192];
	const char *p;

	text[t_read_file("/proc/self/status", text, sizeof(text) - 1)] = 0;
	p = strstr(text, "VmRSS:");
	t_check(p, "/proc/self/status has no VmRSS");
	return strtol(p + strlen("VmRSS:"), NULL, 10);
}

int main(void)
{
	struct rlimit limit;
	unsigned char *file, *locked = NULL;
	int fd;

	t_start();
	fd = t_sys(open(t_path("data"), O_RDWR | O_CREAT, 0600));
	t_sys(ftruncate(fd, FILE_SIZE));
	file = t_sys(mmap(NULL, FILE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
	t_sys(close(fd));
	t_fill(file, PAGE, t_token());
	t_sys(mprotect(file, FILE_SIZE, PROT_READ));
	t_sys(getrlimit(RLIMIT_MEMLOCK, &limit));
	if (limit.rlim_cur > 2 * LOCK_SIZE) {
		locked = t_sys(mmap(NULL, LOCK_SIZE, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		t_sys(mlock2(locked, LOCK_SIZE, MLOCK_ONFAULT));
		t_fill(locked, PAGE, t_token() + 1);
	}
	t_ready();
	t_sys(mprotect(file, FILE_SIZE, PROT_READ | PROT_WRITE));
	t_check(t_filled(file, PAGE, t_token()), "the file's content differs");
	file[0]++;
	if (locked) {
		t_check(t_filled(locked, PAGE, t_token() + 1), "locked memory differs");
		t_check(resident_kib() < (long)(LOCK_SIZE >> 11), "%ld KiB are in memory",
			resident_kib());
	}
	t_done();
}
