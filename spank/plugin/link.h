/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What joins srun, or `cpr run` in a batch script, with the coordinator that it has started: two
 * descriptors.  The coordinator writes lines on its descriptor 3:
 *
 *     env NAME=VALUE            for the tasks
 *     wait SECONDS TEXT         it may take so long
 *     ready                     the step can start
 *     error TEXT                no checkpoints; the step runs as it would without us
 *     refuse TEXT               the step must not run
 *     block SECONDS CODE        the step was vacated, and at its end the script must not go on, whatever
 *                               becomes of the coordinator: Slurm ends us, or we end with CODE
 *
 * Its descriptor 4 becomes readable when we have ended: "exit" if in order, end of file in any case.
 */
#ifndef CKPT_SPANK_LINK_H
#define CKPT_SPANK_LINK_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define CKPTI_LINK_STATUS 3
#define CKPTI_LINK_LIFE   4

struct ckpti_link {
	/* Who we are to people. */
	void (*say)(bool refused, const char *text);
	const char *what; /* "step", "program" */
	bool may_restart; /* then it must not begin anew, only because nobody can tell */
	/* What makes waiting for the answer end, and the mask of signals meanwhile; or NULL. */
	const volatile sig_atomic_t *interrupted;
	const sigset_t *wake;

	pid_t pid; /* 0: none */
	int status_fd, life_fd;
	size_t len, taken; /* of what is in text, of that handled */
	char text[8192];
};

/* Two pairs of descriptors: ours in *l, its own, above 10, in *ret_status and *ret_life.  0 or -errno. */
int ckpti_link_open(struct ckpti_link *l, int *ret_status, int *ret_life);

enum ckpti_link_answer {
	CKPTI_LINK_READY,   /* what it tells the tasks is in our environment */
	CKPTI_LINK_WITHOUT, /* it has been said why */
	CKPTI_LINK_REFUSED,
};
enum ckpti_link_answer ckpti_link_answer(struct ckpti_link *l);
/* It is not needed any more before anything has begun. */
void ckpti_link_give_up(struct ckpti_link *l);
/* We end in order, and wait for it.  Does not return when the job was vacated. */
void ckpti_link_end(struct ckpti_link *l);

/* For sigtimedwait() and ppoll(). */
struct timespec ckpti_link_left(int64_t deadline);

#endif
