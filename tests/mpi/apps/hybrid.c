/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: hybrid STEPS
 *
 * OpenMP and MPI together: each thread of each rank has a part of a ring, exchanges its borders with the
 * next threads, of which two are in other ranks, and takes part in sums of its own communicator, all in
 * one parallel region (MPI_THREAD_MULTIPLE).
 */
#include <mpi.h>
#include <omp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define THREADS 2
#define CELLS   100000 /* of each thread */

static uint32_t cell[THREADS][CELLS], next[THREADS][CELLS];
static MPI_Comm comm[THREADS];
static int rank, size;

/* The last cell of the thread before and the first of the one after. */
static void borders(int t, int step, uint32_t *ret_before, uint32_t *ret_after)
{
	int here = rank * THREADS + t, all = size * THREADS;
	int to = (here + 1) % all, from = (here + all - 1) % all;
	MPI_Request request[4];

	/* The tag says which thread it is for, as all use one communicator. */
	MPI_Irecv(ret_before, 1, MPI_UINT32_T, from / THREADS, t * 2, MPI_COMM_WORLD, &request[0]);
	MPI_Irecv(ret_after, 1, MPI_UINT32_T, to / THREADS, t * 2 + 1, MPI_COMM_WORLD, &request[1]);
	MPI_Isend(&cell[t][CELLS - 1], 1, MPI_UINT32_T, to / THREADS, to % THREADS * 2,
		  MPI_COMM_WORLD, &request[2]);
	MPI_Isend(&cell[t][0], 1, MPI_UINT32_T, from / THREADS, from % THREADS * 2 + 1,
		  MPI_COMM_WORLD, &request[3]);
	if (step % 2) {
		MPI_Waitall(4, request, MPI_STATUSES_IGNORE);
	} else {
		for (int i = 0, index; i < 4; i++)
			MPI_Waitany(4, request, &index, MPI_STATUS_IGNORE);
	}
}

static void advance(int t, int step)
{
	uint32_t before, after;

	borders(t, step, &before, &after);
	for (int i = 0; i < CELLS; i++) {
		uint32_t a = i ? cell[t][i - 1] : before;
		uint32_t b = i < CELLS - 1 ? cell[t][i + 1] : after;

		next[t][i] = (a ^ (cell[t][i] << 3)) + (b ^ (cell[t][i] >> 5)) + 2654435761u;
	}
	for (int i = 0; i < CELLS; i++)
		cell[t][i] = next[t][i];
}

static void run(int t, int steps)
{
	for (int i = 0; i < CELLS; i++)
		cell[t][i] = (uint32_t)((rank * THREADS + t) * CELLS + i);
	for (int step = 1; step <= steps; step++) {
		uint64_t sum = 0, all = 0;

		advance(t, step);
		if (step % 10)
			continue;
		for (int i = 0; i < CELLS; i++)
			sum += cell[t][i] * (uint64_t)(i + 1);
		MPI_Allreduce(&sum, &all, 1, MPI_UINT64_T, MPI_BXOR, comm[t]);
		if (rank == 0 && step % (steps / 20) == 0) {
			printf("step %d thread %d: %016llx\n", step, t, (unsigned long long)all);
			fflush(stdout);
		}
	}
}

int main(int argc, char **argv)
{
	int steps = argc > 1 ? atoi(argv[1]) : 0, provided;

	MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	if (provided != MPI_THREAD_MULTIPLE)
		MPI_Abort(MPI_COMM_WORLD, 2);
	if (rank == 0) {
		printf("begin\n");
		fflush(stdout);
	}
	for (int t = 0; t < THREADS; t++)
		MPI_Comm_dup(MPI_COMM_WORLD, &comm[t]);
#pragma omp parallel num_threads(THREADS)
	{
		if (omp_get_num_threads() != THREADS)
			MPI_Abort(MPI_COMM_WORLD, 3);
		run(omp_get_thread_num(), steps);
	}
	for (int t = 0; t < THREADS; t++)
		MPI_Comm_free(&comm[t]);
	printf("result of rank %d\n", rank);
	MPI_Finalize();
	return 0;
}
