/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads that call MPI at once, come and go: errno, thread-local data and the heap stay their own, and
 * each gives its place in the guest back.
 */
#include <errno.h>
#include <mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4
#define ROUNDS  3
#define TIMES   400

static int rank, size, bad;
static MPI_Comm comm[THREADS];
static __thread unsigned long mine;

static void check(int ok)
{
	if (!ok)
		__atomic_add_fetch(&bad, 1, __ATOMIC_RELAXED);
}

static void *work(void *arg)
{
	long id = (long)arg;
	unsigned int seed = (unsigned int)(id * 77 + rank);
	int right = (rank + 1) % size, left = (rank + size - 1) % size;

	for (int i = 0; i < TIMES; i++) {
		int out = i * 3 + (int)id + rank, in = -1, sum = 0;
		char *p = malloc((size_t)rand_r(&seed) % 5000 + 1);

		errno = 5;
		mine++;
		*p = (char)id;
		MPI_Sendrecv(&out, 1, MPI_INT, right, i, &in, 1, MPI_INT, left, i, comm[id],
			     MPI_STATUS_IGNORE);
		check(in == i * 3 + (int)id + left);
		if (i % 100 == 0) {
			MPI_Allreduce(&out, &sum, 1, MPI_INT, MPI_SUM, comm[id]);
			check(sum == size * (i * 3 + (int)id) + size * (size - 1) / 2);
		}
		check(errno == 5 && *p == (char)id);
		free(p);
	}
	check(mine == TIMES);
	return NULL;
}

static int tasks(void)
{
	char line[128];
	int n = 0;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		(void)sscanf(line, "Threads: %d", &n);
	if (f)
		fclose(f);
	return n;
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS];
	int provided, before, after = 0;

	MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	check(provided == MPI_THREAD_MULTIPLE);
	for (int i = 0; i < THREADS; i++)
		MPI_Comm_dup(MPI_COMM_WORLD, &comm[i]);
	before = tasks();
	for (int round = 0; round < ROUNDS; round++) {
		for (long i = 0; i < THREADS; i++)
			check(pthread_create(&thread[i], NULL, work, (void *)i) == 0);
		for (int i = 0; i < THREADS; i++)
			pthread_join(thread[i], NULL);
	}
	for (int i = 0; i < 200; i++) {
		after = tasks();
		if (after == before)
			break;
		usleep(10000);
	}
	check(after == before);
	MPI_Barrier(MPI_COMM_WORLD);
	if (bad == 0)
		printf("passed %d\n", rank);
	else
		printf("rank %d: %d mistakes, %d tasks before and %d after\n", rank, bad, before,
		       after);
	MPI_Finalize();
	return bad != 0;
}
