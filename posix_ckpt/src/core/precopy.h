/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Pre-copy: most of the memory is written while the processes run.  Pages are armed, then copied; those
 * that have changed meanwhile once more, as long as that pays.  In the stop only what has changed since
 * is left: it is copied into memory of ours, and written when the processes run again.
 *
 * Nothing here is needed for a checkpoint: what is not found here is written in the stop.
 */
#ifndef CKPT_CORE_PRECOPY_H
#define CKPT_CORE_PRECOPY_H

#include "core/capture.h"
#include "core/track.h"

struct ckpti_precopied {
	int pid;
	uint64_t start_time;
	bool good;  /* false: all is written in the stop */
	bool taken; /* its file is in use */
	struct ckpti_tracked track;
	uint32_t file;
	int fd; /* belongs to the store */
	uint64_t end;
	struct ckpti_runs map; /* what lies where in the file */
	struct ckpti_runs
		late; /* what was taken in the stop: off as above, in the buffer one behind the other */
	uint64_t late_at; /* where that begins in the buffer */
};

struct ckpti_precopy {
	struct ckpti_precopied *proc;
	size_t n;
	uint8_t *buf; /* for the stop */
	uint64_t buf_size, buf_used;
};

void ckpti_precopy_init(struct ckpti_precopy *pc);
void ckpti_precopy_done(struct ckpti_precopy *pc);

/* While they run.  The link must listen. */
int ckpti_precopy_run(struct ckpti_precopy *pc, struct ckpti_set *set, struct ckpti_store *store,
		      struct ckpti_err *err);

/* In the stop: what the process of the job need not write any more leaves the job and gets into the image. */
int ckpti_precopy_take(struct ckpti_precopy *pc, struct ckpti_snap *s, struct ckpti_job *job,
		       struct ckpti_err *err);
/* When they run again: the rest into the files. */
int ckpti_precopy_flush(struct ckpti_precopy *pc, struct ckpti_err *err);

#endif
