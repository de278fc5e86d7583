/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI_Wtime: the application's monotonic clock, not the guest's, which would begin anew after a
 * restart.  Where a time namespace keeps that clock going there is nothing to do; elsewhere it jumps
 * to another machine's, and the difference is made up for here.
 */
#include <time.h>

#include "shim/restart.h"

/* Times of the same clock are at least this far apart when it has jumped: a restart takes a while. */
#define SAME_CLOCK_NS 60000000000LL

static int64_t saved_ns, offset_ns;

static int64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

void ckpti_mpi_clock_save(void)
{
	saved_ns = now_ns();
}

void ckpti_mpi_clock_again(void)
{
	int64_t passed = now_ns() - saved_ns;

	if (passed < 0 || passed > SAME_CLOCK_NS)
		offset_ns -= passed;
}

double PMPI_Wtime(void)
{
	return (double)(now_ns() + offset_ns) * 1e-9;
}
CKPTI_MPI_WEAK(MPI_Wtime)

double PMPI_Wtick(void)
{
	return 1e-9;
}
CKPTI_MPI_WEAK(MPI_Wtick)
