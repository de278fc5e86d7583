/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: beat MIB FILE -- a process with MIB of memory that does not compress, which writes the time of day in
 * nanoseconds to FILE five thousand times a second: whoever restarts it sees when it has done its first step.
 *
 * usage: beat read FILE -- what reading FILE into huge pages takes at best, in nanoseconds: one process, 8 MiB
 * at a time.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK ((size_t)8 << 20)

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static char *memory(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	(void)madvise(p, size, MADV_HUGEPAGE);
	return p;
}

static int read_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	uint64_t start;
	char *p;

	if (fd < 0 || fstat(fd, &st) < 0) {
		perror(path);
		return 1;
	}
	start = now_ns();
	p = memory((size_t)st.st_size);
	for (off_t at = 0; at < st.st_size;) {
		ssize_t n = pread(fd, p + at, CHUNK, at);

		if (n <= 0) {
			perror(path);
			return 1;
		}
		at += n;
	}
	(void)printf("%llu\n", (unsigned long long)(now_ns() - start));
	return 0;
}

int main(int argc, char **argv)
{
	const struct timespec pause = {.tv_nsec = 200000};
	uint64_t x = 88172645463325252U, *p;
	size_t size;
	int fd;

	if (argc != 3)
		return 2;
	if (strcmp(argv[1], "read") == 0)
		return read_file(argv[2]);
	size = (size_t)atoi(argv[1]) << 20;
	p = (uint64_t *)(void *)memory(size);
	for (size_t i = 0; i < size / sizeof(*p); i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
	fd = open(argv[2], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	while (fd >= 0) {
		uint64_t t = now_ns();

		if (pwrite(fd, &t, sizeof(t), 0) != (ssize_t)sizeof(t))
			break;
		(void)nanosleep(&pause, NULL);
	}
	perror(argv[2]);
	return 1;
}
