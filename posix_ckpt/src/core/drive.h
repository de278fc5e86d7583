/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A launcher of parallel jobs holds a checkpoint at its barriers, so that all parts of the job stand
 * still at one common moment (cpr -c --drive).  It has the other end of a stream socket; lines go
 * both ways:
 *
 *   cpr            launcher
 *   prepared       go | abort TEXT    handlers have run, nobody has stopped
 *   captured       go | abort TEXT    everybody stands still and is in the image; go lets them run
 *                                     (with -k: they stand still, the image is made durable)
 *   committed N    go | abort TEXT    with -k only: generation N is durable; go ends the processes
 *
 * An abort may come at any time, everything else only as an answer.  The end of the connection is an
 * abort, and so is an answer that does not come in time: whatever happens to the launcher, the processes
 * go on.  After "committed" the generation stays, before that it is dropped.
 */
#ifndef CKPT_CORE_DRIVE_H
#define CKPT_CORE_DRIVE_H

#include "core/core.h"

#define CKPTI_DRIVE_TIMEOUT_MS 60000

struct ckpti_drive {
	int fd;
	unsigned timeout_ms; /* for each answer, 0: the default */
	size_t n;
	char buf[512]; /* what has come and is no whole line yet */
};

/* A ckpti_phase_f; arg is the struct ckpti_drive. */
int ckpti_drive_phase(void *arg, enum ckpti_phase phase, const struct ckpti_create_result *so_far,
		      struct ckpti_err *err);

#endif
