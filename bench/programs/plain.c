/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: plain FILE BYTES -- write BYTES of memory to FILE with pwrite(), over what is there if it
 * exists, and print the nanoseconds that took.  What an image cannot be faster than.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CHUNK ((size_t)8 << 20)

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static void fill(uint64_t *p, size_t n)
{
	uint64_t x = 88172645463325252U;

	for (size_t i = 0; i < n; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		p[i] = x;
	}
}

int main(int argc, char **argv)
{
	size_t bytes = argc == 3 ? (size_t)atoll(argv[2]) : 0;
	uint64_t start, took;
	char *p;
	int fd;

	if (!bytes)
		return 2;
	p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd = open(argv[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (p == MAP_FAILED || fd < 0) {
		perror(argv[1]);
		return 1;
	}
	fill((uint64_t *)p, bytes / sizeof(uint64_t));
	start = now_ns();
	for (size_t at = 0; at < bytes;) {
		size_t want = bytes - at < CHUNK ? bytes - at : CHUNK;
		ssize_t n = pwrite(fd, p + at, want, (off_t)at);

		if (n <= 0) {
			perror("pwrite");
			return 1;
		}
		at += (size_t)n;
	}
	took = now_ns() - start;
	/* The next measurement shall not wait for this one's dirty pages. */
	if (fsync(fd) < 0 || close(fd) < 0) {
		perror("fsync");
		return 1;
	}
	(void)printf("%lu\n", (unsigned long)took);
	return 0;
}
