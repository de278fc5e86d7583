/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: idle THREADS MIB -- a process of THREADS threads that sleep and MIB of memory that does not
 * compress.  Prints a line when it is complete, then sleeps until it is killed.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

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

int main(int argc, char **argv)
{
	unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 1;
	size_t bytes = argc > 2 ? (size_t)atol(argv[2]) << 20 : 0;
	pthread_attr_t attr;
	pthread_t id;
	void *p;

	if (threads < 1)
		return 2;
	if (bytes) {
		p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED) {
			perror("mmap");
			return 1;
		}
		fill(p, bytes / sizeof(uint64_t));
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
	for (;;)
		(void)pause();
}
