/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signals for `cpr -r` are meant for the program, and go to its root: each one once.
 *
 * A batch system may signal every process of a job, a terminal a whole process group: then the root has
 * it already.  The builder, which has all signals blocked, can tell, because it is where the root is:
 * in cpr's process group when the root is there, and in a group of its own otherwise.  So what
 * reaches cpr and, within a moment, the builder too, has reached the root as well and is dropped.
 */
#ifndef CKPT_CORE_HAND_ON_H
#define CKPT_CORE_HAND_ON_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

struct ckpti_hand_on {
	int root;       /* 0: it has ended */
	bool own_group; /* the root is not in cpr's process group */
	struct {
		unsigned wanted; /* cpr had it and we not yet */
		unsigned seen;   /* we had it and cpr not yet */
		uint64_t due_ns; /* no longer waited for the other */
	} sig[_NSIG];
};

/* The signals that are handed on. */
void ckpti_hand_on_signals(sigset_t *ret);
/* In the builder, which goes where the root is. */
void ckpti_hand_on_start(struct ckpti_hand_on *h, int root);
/* cpr had a signal. */
void ckpti_hand_on_wanted(struct ckpti_hand_on *h, int signo);
/* The builder had a signal. */
void ckpti_hand_on_seen(struct ckpti_hand_on *h, int signo);
/* Send what is due; milliseconds until the next is, -1: none. */
int ckpti_hand_on_due(struct ckpti_hand_on *h);

#endif
