/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages that a drain has taken in.  They are older than all that the guest will receive from the same
 * rank on the same communicator, and they matched no receive that was posted then, so every later receive
 * and probe looks here first, oldest message first.
 */
#ifndef CKPT_MPI_BUFFERED_H
#define CKPT_MPI_BUFFERED_H

#include "shim/coll.h"

struct ckpti_mpi_message {
	MPI_Status status; /* with the number of bytes */
	struct ckpti_mpi_message *next;
	char *bytes;
	struct ckpti_mpi_handle *taking; /* brings them in; a drain that is given up may leave it */
};

/* NULL: no memory. */
struct ckpti_mpi_message *ckpti_mpi_message_new(const MPI_Status *status);
void ckpti_mpi_message_free(struct ckpti_mpi_message *m);
void ckpti_mpi_buffered_add(struct ckpti_mpi_coll *c, struct ckpti_mpi_message *m);
void ckpti_mpi_buffered_free(struct ckpti_mpi_coll *c);

/* The oldest that matches; take: it is the caller's. */
struct ckpti_mpi_message *ckpti_mpi_buffered_find(struct ckpti_mpi_coll *c, int source, int tag,
						  bool take);
/* Into the application's memory; MPI_SUCCESS or an error class.  The message goes. */
int ckpti_mpi_message_deliver(struct ckpti_mpi_message *m, void *buf, int count,
			      struct ckpti_mpi_handle *type, MPI_Status *ret_status);

static inline bool ckpti_mpi_buffered_any(const struct ckpti_mpi_coll *c)
{
	return c && __builtin_expect(__atomic_load_n(&c->first, __ATOMIC_RELAXED) != NULL, 0);
}

#endif
