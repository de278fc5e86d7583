/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is refused at a checkpoint: one row each, in the order of docs/limits.md.  The rows' functions
 * run in a process of its own, started by `cpr run`; see refusals.c.
 */
#ifndef CKPT_REFUSED_H
#define CKPT_REFUSED_H

#include <stddef.h>

struct refused {
	const char *name; /* first column of the table */
	const char *says; /* second column: part of the line that cpr prints */
	/* Make it, and what can be asserted of it in the end with after() (may be NULL). */
	void (*make)(void);
	void (*after)(void);
	int root;   /* needs privileges to be made */
	int status; /* of cpr: 4 refused, 1 it may work later */
};

extern const struct refused refused_descriptors[], refused_sockets[], refused_memory[],
	refused_processes[]; /* each ends with a name of NULL */

/* For rows whose other end is outside the set: what the one who started us has made. */
#define OUTSIDE_PIPE 5           /* descriptor: the writing end of a pipe */
extern const char *outside_unix; /* path of a listening unix socket */
extern int outside_port;         /* of a listening TCP socket on 127.0.0.1 */

#endif
