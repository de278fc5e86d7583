/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A new life: a fresh guest, MPI started in it under the new launch, and all objects made again.
 *
 *	ckpti_mpi_save()     on the library's thread, while the cut stands: whatever must be known of the
 *	                     objects is asked of the guest and written down.  Nothing is recorded while
 *	                     the application runs, but what MPI would not tell (names of files).
 *	ckpti_mpi_lost()     in a signal handler, while all threads stand: the old guest is gone
 *	ckpti_mpi_restart()  on the library's thread, while the application's threads wait at their next
 *	                     call of MPI
 *
 * Handles keep their identity: making an object again changes only what its handle leads to.
 */
#ifndef CKPT_MPI_RESTART_H
#define CKPT_MPI_RESTART_H

#include "shim/shim.h"
#include "util/err.h"

int ckpti_mpi_save(struct ckpti_err *err);
void ckpti_mpi_lost(void);
void ckpti_mpi_restart(void);

/* init.c: the two steps of a new life's start; env: of the launch. */
int ckpti_mpi_load(char *const *env, struct ckpti_err *err);
/* env, changed so that the guest finds the MPI library that the program leads to (choice.c); own: where the shim
 * lies.  NULL: no memory. */
char **ckpti_mpi_choose(char *const *env, const char *own);
void ckpti_mpi_choose_free(char **env);
int ckpti_mpi_start_again(struct ckpti_err *err);
/* A call of a thread that has none yet waits until this is called with false. */
void ckpti_mpi_hold_back(bool on);

/* clock.c: MPI_Wtime() goes on where it stood. */
void ckpti_mpi_clock_save(void);
void ckpti_mpi_clock_again(void);

#endif
