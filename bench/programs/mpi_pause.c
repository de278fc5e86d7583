/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: mpi_pause MIB
 *
 * Ranks with MIB of memory each that talk all the time.  Whenever a file "round.N" comes, N from 0 on,
 * rank 0 prints the longest time in ms for which any rank got no further since the file before; "end"
 * ends them.  Each rank says in "ready.RANK" that it is there, by its process number.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LIMIT_MS 120000

static double now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec * 1e-6;
}

static void say_ready(int rank)
{
	char name[32], ready[32];
	FILE *file;

	(void)snprintf(name, sizeof(name), "new.%d", rank);
	(void)snprintf(ready, sizeof(ready), "ready.%d", rank);
	file = fopen(name, "we");
	if (!file || fprintf(file, "%d\n", (int)getpid()) < 0 || fclose(file) ||
	    rename(name, ready))
		MPI_Abort(MPI_COMM_WORLD, 1);
}

/* The same answer on all ranks. */
static int is_there(const char *name, int rank)
{
	int there = rank == 0 && access(name, F_OK) == 0;

	MPI_Bcast(&there, 1, MPI_INT, 0, MPI_COMM_WORLD);
	return there;
}

int main(int argc, char **argv)
{
	size_t size = (size_t)(argc > 1 ? atoi(argv[1]) : 0) << 20;
	double longest = 0, start, last, most;
	unsigned int *memory = malloc(size + 1);
	int rank, round = 0;
	char name[32];

	if (!memory)
		return 1;
	for (size_t i = 0; i < size / sizeof(*memory); i++)
		memory[i] = (unsigned int)(i * 2654435761u);
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	say_ready(rank);
	start = last = now_ms();
	while (!is_there("end", rank) && last - start < LIMIT_MS) {
		(void)snprintf(name, sizeof(name), "round.%d", round);
		if (is_there(name, rank)) {
			MPI_Reduce(&longest, &most, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
			if (rank == 0 && printf("%.2f\n", most) > 0)
				(void)fflush(stdout);
			longest = 0;
			round++;
			last = now_ms();
		}
		for (int i = 0; i < 100; i++) {
			double now = now_ms(), sum;

			MPI_Allreduce(&now, &sum, 1, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
			if (now - last > longest)
				longest = now - last;
			last = now;
		}
	}
	MPI_Finalize();
	return memory[size / sizeof(*memory) / 2] == 1;
}
