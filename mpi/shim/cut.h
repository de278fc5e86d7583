/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cut: before a checkpoint all ranks agree on a point where no collective call is half done, hold
 * their threads outside the guest and take in the messages that are under way.  See
 * docs/design/0007-mpi-cut.md; mpi/model/cut.pml is the protocol.
 *
 * One checkpoint, on the library's thread, while the application's threads run:
 *
 *	ckpti_mpi_cut_begin()      agree, hold, drain.  From its success on every thread that calls MPI
 *	                           stands in our code, outside the guest, and nothing is in flight.
 *	 (the image is taken, or not)
 *	ckpti_mpi_cut_end()        in the same life: threads go on by themselves
 *	ckpti_mpi_cut_restarted()  in a new life, when a fresh guest runs MPI and all objects have been
 *	                           made again: receives are posted, persistent requests made, counters
 *	                           and connections start anew, threads go on
 *
 * What a new life must do before the latter: give each struct ckpti_guest_thread of the list (its
 * address stays) a TCB of the fresh guest; fill `real` of all handles but requests and messages; call
 * ckpti_mpi_control_start() as after any MPI_Init.  The gate is closed all the while: only the thread
 * that does this enters the guest, for it has called ckpti_mpi_cut_begin() (ckpti_mpi_gate_exempt() in gate.h).
 *
 * hooks.c makes the library's thread call all of them.
 */
#ifndef CKPT_MPI_CUT_H
#define CKPT_MPI_CUT_H

#include <stdbool.h>

#include "util/err.h"

/* 0, or -errno with a text that names rank, call and communicator; then the gate is open again. */
int ckpti_mpi_cut_begin(struct ckpti_err *err);
/* failed: the checkpoint was not taken */
void ckpti_mpi_cut_end(bool failed);
int ckpti_mpi_cut_restarted(struct ckpti_err *err);

/* A cut stands: the gate is closed and the drain is done.  Also in a signal handler. */
bool ckpti_mpi_cut_stands(void);

/*
 * Connections between the ranks, which carry the agreement: rank 0 listens, the others connect.  Called
 * by the thread that has called MPI_Init, right after it, in each life.  Collective.  The sockets are
 * in the guest's range of descriptors, so no image has them.
 */
int ckpti_mpi_control_start(struct ckpti_err *err);
/* In a forked child, and before a new life's start: forget them. */
void ckpti_mpi_control_forget(void);

#endif
