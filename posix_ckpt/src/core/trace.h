/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * CKPT_TRACE=FILE: a line of JSON for each phase of a checkpoint or restart is appended to FILE, see
 * docs/developer/trace.md.  Phases follow each other without a gap, so one call at the end of each is
 * all that a traced function needs.  Without CKPT_TRACE nothing is done.
 */
#ifndef CKPT_CORE_TRACE_H
#define CKPT_CORE_TRACE_H

#include <stdint.h>

/* The first phase of operation `op` ("create", "restart") begins; op must stay valid. */
void ckpti_trace_open(const char *op);
/* A phase ends and the next one begins; bytes: what it moved, 0 when that says nothing.  A child made
 * by fork() goes on where its parent stood. */
void ckpti_trace_phase(const char *name, uint64_t bytes);
void ckpti_trace_close(void);

#endif
