/* SPDX-License-Identifier: BSD-3-Clause */
/* Two ranks between two barriers wait for a file "go"; outside they are looked at meanwhile. */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int rank, size, sum = 0;
	char name[64];
	FILE *f;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	MPI_Barrier(MPI_COMM_WORLD);
	snprintf(name, sizeof(name), "pid.%d", rank);
	f = fopen(name, "w");
	if (!f)
		MPI_Abort(MPI_COMM_WORLD, 1);
	fprintf(f, "%d\n", getpid());
	fclose(f);
	snprintf(name + 32, 32, "ready.%d", rank);
	rename(name, name + 32);
	for (int i = 0; access("go", F_OK) != 0; i++) {
		if (i == 3000)
			MPI_Abort(MPI_COMM_WORLD, 1);
		usleep(10000);
	}
	rank++;
	MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
	if (sum != size * (size + 1) / 2)
		MPI_Abort(MPI_COMM_WORLD, 1);
	printf("passed %d\n", rank);
	MPI_Finalize();
	return 0;
}
