/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files about pseudo-terminals share.
 */
#ifndef CKPT_STATE_PTY_PRIVATE_H
#define CKPT_STATE_PTY_PRIVATE_H

#include "state/state_private.h"

/* ckpti_pty_line.how */
#define CKPTI_PTY_OPEN 0 /* not ended yet, or no line at all: the terminal is not canonical */
#define CKPTI_PTY_END  1 /* ended by its last character */
#define CKPTI_PTY_EOF  2 /* ended by the end-of-file character, which no reader sees */

struct ckpti_pty_line {
	uint32_t len;
	uint32_t how;
};

/* What is under way in a pair, in both directions, and what keeps it from going on. */
struct ckpti_pty_queue {
	struct ckpti_pty_line *line; /* how `in` falls into lines */
	size_t nline;
	uint8_t *in; /* to be read from the slave */
	size_t nin;
	uint8_t *out; /* to be read from the master */
	size_t nout;
	uint32_t held; /* CKPTI_PTY_HELD_* */
	bool unknown;  /* taking has failed before `held` was known */
};

/* Settings of the terminal: struct termios2 of the kernel.  0 or -errno. */
int ckpti_pty_get_settings(int master, struct ckpti_r_obj_ptm *rec);
int ckpti_pty_set_settings(int master, const struct ckpti_r_obj_ptm *rec);

/*
 * Take everything out of the pair, and put it in.  Reading is the only way to know what is there, so a
 * checkpoint does both, while nobody else can use the pair.  slave is non-blocking; packet mode is off.
 * What of the terminal's settings stands in the way is changed meanwhile and is set as `rec` says in
 * the end.
 */
int ckpti_pty_take(int master, int slave, const struct ckpti_r_obj_ptm *rec,
		   struct ckpti_pty_queue *q);
int ckpti_pty_put(int master, int slave, const struct ckpti_r_obj_ptm *rec,
		  struct ckpti_pty_queue *q);
void ckpti_pty_queue_free(struct ckpti_pty_queue *q);

/* A description of its own for the slave, although it may be locked or exclusive.  fd or -errno. */
int ckpti_pty_open_slave(int master, int oflags);

/* pty_restore.c */
int ckpti_ptm_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
int ckpti_ptm_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
int ckpti_pts_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);
int ckpti_pts_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);

#endif
