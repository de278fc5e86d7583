/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of MPI_Win_allocate_shared, which ranks of one node read and write without calling MPI.  It is
 * neither the guest's nor an ordinary mapping of the application: no image has it.  Each rank has a copy
 * of its own part in its image; in a new life the ranks map common memory again, at the addresses where
 * each of them had it, before their threads run.
 *
 * Threads write at any moment, so the parts fit together only if they are copied while the threads of all
 * ranks stand: the ranks wait for each other in the checkpoint's signal handler, through the memory
 * itself.
 *
 * It lies behind the guest, where no mapping of the kernel's choice ever is.
 */
#ifndef CKPT_MPI_SEGMENT_H
#define CKPT_MPI_SEGMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/err.h"

struct ckpti_mpi_part {
	size_t at, size; /* within the memory */
	int unit;
};

struct ckpti_mpi_segment {
	uint64_t name[2]; /* where its processes meet: the same on all ranks, and random */
	int rank, n;      /* in the window's group */
	char *base;       /* one state of each rank, then the parts */
	size_t size;
	void *copy; /* of our part, during a checkpoint and in its image */
	struct ckpti_mpi_segment *next;
	struct ckpti_mpi_part part[]; /* by rank */
};

/* Sizes and units are in ->part.  pages: each part has whole ones.  NULL: no memory. */
struct ckpti_mpi_segment *ckpti_mpi_segment_new(int rank, int n);
void ckpti_mpi_segment_lay_out(struct ckpti_mpi_segment *s, bool pages);
/* Maps it, the same memory on all ranks, each of which must call.  The first one's is zeroed. */
int ckpti_mpi_segment_map(struct ckpti_mpi_segment *s, int limit_ms, struct ckpti_err *err);
void ckpti_mpi_segment_free(struct ckpti_mpi_segment *s);

/* Is it memory of a segment? */
bool ckpti_mpi_segment_has(uintptr_t start, uintptr_t end);

/* A checkpoint: before the ranks agree; while the cut stands; after it, whatever became of it. */
void ckpti_mpi_segments_begin(void);
int ckpti_mpi_segments_prepare(struct ckpti_err *err);
void ckpti_mpi_segments_end(void);
/* In signal handlers, while the threads of this process stand; after that those of all ranks. */
int ckpti_mpi_segments_copy(void);
/* In a new life.  launch: its name, which keeps two new lives of one image apart. */
int ckpti_mpi_segments_again(const char *launch, int limit_ms, struct ckpti_err *err);

#endif
