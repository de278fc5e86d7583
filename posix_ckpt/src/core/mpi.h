/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs of an MPI library that cannot be saved: their ranks are connected in ways that no image holds.
 * Open MPI's are fine when they have found the shim (mpi/README.md) in its place.
 */
#ifndef CKPT_CORE_MPI_H
#define CKPT_CORE_MPI_H

#include <stdbool.h>
#include <stddef.h>

#define CKPTI_MPI_REFUSED "is an MPI library that cannot be saved"

/* Is the MPI library in this text of /proc/PID/maps one that cannot be saved?  Its name. */
bool ckpti_mpi_in_maps(const char *maps, char *ret, size_t size);
/* Does this program need such a library, or has it one inside?  Goes by its headers and symbols; what
 * cannot be read has none. */
bool ckpti_mpi_in_program(int fd, char *ret, size_t size);

#endif
