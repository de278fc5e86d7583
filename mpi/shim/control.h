/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Connections between rank 0 and all others, for the agreement of a cut.  They are sockets of our own
 * because the agreement runs while the application's threads use MPI, at any thread level.  A message
 * carries the number of the attempt that it belongs to; what is left of an attempt that was given up is
 * dropped by its number.
 */
#ifndef CKPT_MPI_CONTROL_H
#define CKPT_MPI_CONTROL_H

#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

#define CKPTI_MPI_MESSAGE_LIMIT (1U << 30)

struct ckpti_mpi_packet {
	uint32_t type, attempt;
	uint32_t len, pad;
	void *payload; /* the receiver frees it; not sent */
};

/* In MPI_COMM_WORLD. */
extern int ckpti_mpi_rank, ckpti_mpi_size;

/* 0, or why there are no connections. */
int ckpti_mpi_control_state(struct ckpti_err *err);
int ckpti_mpi_control_send(int peer, uint32_t type, uint32_t attempt, const void *payload,
			   size_t len, struct ckpti_err *err);
/* From anybody, within ms: 1, 0 nothing, -errno. */
int ckpti_mpi_control_receive(int *ret_peer, struct ckpti_mpi_packet *ret, int ms,
			      struct ckpti_err *err);

#endif
