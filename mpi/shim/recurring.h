/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Persistent collective calls (MPIX_Bcast_init and its kin).  As with persistent messages the guest has
 * none: a request is a definition, and starting it is the non-blocking call, which a cut counts and
 * drains as any other.
 *
 * Each has a communicator of its own, a duplicate: persistent calls match in the order in which they were
 * made, not in that of their starts.  MPI_Request_free is local, and a checkpoint may come when some ranks
 * have freed a request and others have not; all must make the same communicators in a new life.  So it
 * only says that the communicator is unused here, and what is unused on all ranks is freed by the next
 * call that is collective on the parent anyway: one that makes a request, or the parent's end.  A
 * communicator whose request outlives the parent stays until MPI_Finalize.
 */
#ifndef CKPT_MPI_RECURRING_H
#define CKPT_MPI_RECURRING_H

#include <mpi.h>
#include <stddef.h>

#include "shim/handle.h"

struct ckpti_mpi_recurring;
struct ckpti_mpi_own;
typedef int ckpti_mpi_recurring_start_f(const struct ckpti_mpi_recurring *def,
					MPI_Request *request);

/* The arguments follow: see generate.py. */
struct ckpti_mpi_recurring {
	ckpti_mpi_recurring_start_f *start;
	struct ckpti_mpi_own *own;
	MPI_Comm comm;                  /* of own */
	struct ckpti_mpi_handle **kept; /* datatypes and operations, which may be freed before it */
	int nkept;
	void *array[2]; /* copies of arrays of handles */
	int narrays;
};

/* A collective call on comm.  Memory for the definition; NULL: *ret says why. */
void *ckpti_mpi_recurring_new(MPI_Comm comm, const char *call, size_t size,
			      ckpti_mpi_recurring_start_f *start, int *ret);
void ckpti_mpi_recurring_keep(struct ckpti_mpi_recurring *def, const void *handle);
/* A copy of the n handles, which goes with the request: Fortran's bindings free theirs after the call. */
const void *ckpti_mpi_recurring_keep_all(struct ckpti_mpi_recurring *def, const void *handles,
					 int n);
MPI_Request ckpti_mpi_recurring_request(struct ckpti_mpi_recurring *def);
int ckpti_mpi_recurring_start(struct ckpti_mpi_handle *h);
/* Within a collective call on comm: frees what none of its ranks uses. */
int ckpti_mpi_recurring_tidy(MPI_Comm comm);
/* With its request. */
void ckpti_mpi_recurring_free(struct ckpti_mpi_recurring *def);

#endif
