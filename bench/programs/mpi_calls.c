/* SPDX-License-Identifier: BSD-3-Clause */
/* Times of MPI calls between two ranks, in ns: "NAME NS" a line, the least of several runs. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RUNS 9
#define MOST (1 << 20)

static int rank;
static char *a, *b;

static void exchange(int n)
{
	if (rank == 0) {
		MPI_Send(a, n, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
		MPI_Recv(b, n, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	} else {
		MPI_Recv(b, n, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		MPI_Send(a, n, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
	}
}

static void with_requests(int n)
{
	MPI_Request request[2];

	MPI_Irecv(b, n, MPI_BYTE, !rank, 0, MPI_COMM_WORLD, &request[0]);
	MPI_Isend(a, n, MPI_BYTE, !rank, 0, MPI_COMM_WORLD, &request[1]);
	MPI_Waitall(2, request, MPI_STATUSES_IGNORE);
}

static void reduce(int n)
{
	MPI_Allreduce(a, b, n / 8, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

static void barrier(int n)
{
	(void)n;
	MPI_Barrier(MPI_COMM_WORLD);
}

static void measure(const char *name, void (*call)(int n), int n, int count, double share)
{
	double best = 1e9;

	for (int run = 0; run < RUNS; run++) {
		double start;

		MPI_Barrier(MPI_COMM_WORLD);
		start = MPI_Wtime();
		for (int i = 0; i < count; i++)
			call(n);
		start = (MPI_Wtime() - start) / count * share;
		if (start < best)
			best = start;
	}
	if (rank == 0)
		printf("%s %.0f\n", name, best * 1e9);
}

int main(int argc, char **argv)
{
	a = calloc(1, MOST);
	b = calloc(1, MOST);
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	/* Half of there and back. */
	measure("ping_pong_8", exchange, 8, 10000, 0.5);
	measure("ping_pong_4096", exchange, 4096, 3000, 0.5);
	measure("ping_pong_1048576", exchange, MOST, 100, 0.5);
	measure("isend_irecv_waitall_8", with_requests, 8, 10000, 1);
	measure("barrier", barrier, 0, 10000, 1);
	measure("allreduce_8", reduce, 8, 10000, 1);
	measure("allreduce_1048576", reduce, MOST, 50, 1);
	MPI_Finalize();
	return 0;
}
