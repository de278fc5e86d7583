/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The drain: while all threads stand at the gate, what is under way between the ranks comes to its end.
 * Receivers know from the senders' counts what is missing; it is received by those receives that the
 * application has posted, or taken in (buffered.h).  Sends, collective and other requests end by that.
 * What is left is receives that no message matches.
 */
#ifndef CKPT_MPI_DRAIN_H
#define CKPT_MPI_DRAIN_H

#include <stddef.h>
#include <stdint.h>

#include "shim/request.h"
#include "util/err.h"

/* Messages on a communicator, sent so far: from or to a rank of MPI_COMM_WORLD. */
struct ckpti_mpi_sent {
	uint64_t id, count;
	int32_t rank, pad;
};

/* Own requests are known from here on; -errno: there is something that has no end. */
int ckpti_mpi_drain_begin(struct ckpti_guest_thread *self, struct ckpti_err *err);
/* What this rank has sent, by receiver. */
size_t ckpti_mpi_drain_sent(struct ckpti_mpi_sent **ret);
/* What was sent to it, by sender. */
int ckpti_mpi_drain_expect(const struct ckpti_mpi_sent *sent, size_t n, struct ckpti_err *err);
/* A step; true: this rank has all.  It goes on stepping until all ranks have. */
bool ckpti_mpi_drain_step(struct ckpti_guest_thread *self);
/* What is missing, for a message. */
void ckpti_mpi_drain_missing(char *text, size_t size);
/* The last word: -errno if something is left that cannot be made again. */
int ckpti_mpi_drain_end(struct ckpti_err *err);

/* In a new life: receives are posted again, epochs of shared locks begin again. */
int ckpti_mpi_drain_again(struct ckpti_guest_thread *self, struct ckpti_err *err);

#endif
