/* SPDX-License-Identifier: BSD-3-Clause */
/* Ends in a bad way: the application's buffers and exit handlers fare as under the real library. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void at_exit(void)
{
	fprintf(stderr, "at exit\n");
}

int main(int argc, char **argv)
{
	int rank;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	atexit(at_exit);
	MPI_Barrier(MPI_COMM_WORLD);
	if (rank == 0) {
		printf("buffered");
		if (argc > 1 && strcmp(argv[1], "abort") == 0)
			MPI_Abort(MPI_COMM_WORLD, 7);
		/* MPI_ERRORS_ARE_FATAL */
		MPI_Send(&rank, 1, MPI_INT, 99, 0, MPI_COMM_WORLD);
	}
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_Finalize();
	return 0;
}
