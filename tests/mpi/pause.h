/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the programs have in common that are checkpointed and restarted while they wait (restart, objects):
 * they tell that they are ready, and wait for a file.
 */
#ifndef TESTS_MPI_PAUSE_H
#define TESTS_MPI_PAUSE_H

#include <mpi.h>
#include <stdio.h>
#include <unistd.h>

static int rank, size;

#define CHECK(cond)                                                                       \
	do {                                                                              \
		if (!(cond)) {                                                            \
			fprintf(stderr, "rank %d, line %d: %s\n", rank, __LINE__, #cond); \
			MPI_Abort(MPI_COMM_WORLD, 1);                                     \
		}                                                                         \
	} while (0)

static inline void pause_for(const char *go)
{
	char name[64], final[64];
	FILE *f;

	MPI_Barrier(MPI_COMM_WORLD);
	snprintf(name, sizeof(name), "pid.%d", rank);
	snprintf(final, sizeof(final), "ready.%d", rank);
	/* Who starts anew in place of a restart is told by it. */
	CHECK(access(final, F_OK) != 0);
	f = fopen(name, "w");
	CHECK(f);
	fprintf(f, "%d\n", getpid());
	fclose(f);
	rename(name, final);
	for (int i = 0; access(go, F_OK) != 0; i++) {
		CHECK(i < 3000);
		usleep(10000);
	}
}

#endif
