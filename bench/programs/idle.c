/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: idle THREADS MIB [FILE] -- a process of THREADS threads that sleep and MIB of memory that does
 * not compress.  Prints a line when it is complete, then sleeps until it is killed.
 *
 * On SIGUSR1 it writes this memory to FILE with plain pwrite(), over what is there if FILE exists, and
 * leaves the nanoseconds that took in FILE.ns.  An image of the same memory cannot be faster.
 */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CHUNK ((size_t)8 << 20)

static pthread_barrier_t all_there;

static void *sleeper(void *arg)
{
	(void)pthread_barrier_wait(&all_there);
	for (;;)
		(void)pause();
	return arg;
}

/* xorshift64: as good as random for anything that looks for patterns, and quick. */
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

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static int write_plainly(const char *file, const char *p, size_t bytes)
{
	char result[PATH_MAX], temp[PATH_MAX];
	uint64_t start, took;
	FILE *f;
	int fd;

	fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	start = now_ns();
	for (size_t at = 0; at < bytes;) {
		size_t want = bytes - at < CHUNK ? bytes - at : CHUNK;
		ssize_t n = pwrite(fd, p + at, want, (off_t)at);

		if (n <= 0)
			return -1;
		at += (size_t)n;
	}
	took = now_ns() - start;
	/* The next measurement shall not wait for this one's dirty pages. */
	if (fsync(fd) < 0 || close(fd) < 0)
		return -1;
	(void)snprintf(result, sizeof(result), "%s.ns", file);
	(void)snprintf(temp, sizeof(temp), "%s.tmp", file);
	f = fopen(temp, "we");
	if (!f)
		return -1;
	(void)fprintf(f, "%lu\n", (unsigned long)took);
	return fclose(f) == 0 ? rename(temp, result) : -1;
}

int main(int argc, char **argv)
{
	unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	size_t bytes = argc > 2 ? (size_t)atol(argv[2]) << 20 : 0;
	pthread_attr_t attr;
	char *memory = NULL;
	sigset_t usr1;
	pthread_t id;
	int sig;

	if (threads < 1)
		return 2;
	(void)sigemptyset(&usr1);
	(void)sigaddset(&usr1, SIGUSR1);
	(void)pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	if (bytes) {
		memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			      0);
		if (memory == MAP_FAILED) {
			perror("mmap");
			return 1;
		}
		fill((uint64_t *)memory, bytes / sizeof(uint64_t));
	}
	(void)pthread_barrier_init(&all_there, NULL, threads);
	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setstacksize(&attr, 128 << 10);
	for (unsigned i = 1; i < threads; i++) {
		if (pthread_create(&id, &attr, sleeper, NULL) != 0) {
			(void)fprintf(stderr, "cannot create thread %u\n", i);
			return 1;
		}
	}
	(void)pthread_barrier_wait(&all_there);
	(void)printf("ready\n");
	(void)fflush(stdout);
	for (;;) {
		(void)sigwait(&usr1, &sig);
		if (argc == 4 && write_plainly(argv[3], memory, bytes) < 0) {
			perror(argv[3]);
			return 1;
		}
	}
}
