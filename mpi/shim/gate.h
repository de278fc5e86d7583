/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The gate: where threads of the application stand while a cut does not let them into the guest.
 *
 * A thread claims its way first (depth) and looks at the gate then; who closes the gate makes every
 * processor see that (membarrier), and looks at the claims then.  So a thread sees the gate closed, or is
 * seen.  Whatever leads into the guest (handles, functions, TCBs) is read after the claim: a thread that
 * stands here may go on in another life, with another guest.
 *
 *	OPEN  all may pass
 *	CUT   collective calls pass as far as has been agreed (coll.h), all others pass
 *	HOLD  nobody passes, and who polls inside comes out
 */
#ifndef CKPT_MPI_GATE_H
#define CKPT_MPI_GATE_H

#include "guest/guest.h"

enum {
	CKPTI_MPI_OPEN,
	CKPTI_MPI_CUT,
	CKPTI_MPI_HOLD
};

extern int ckpti_mpi_gate;

/* init.c: the thread's first call; loads the guest if it is the first of all. */
struct ckpti_guest_thread *ckpti_mpi_attach(void);

static inline struct ckpti_guest_thread *ckpti_mpi_self(void)
{
	struct ckpti_guest_thread *self = ckpti_guest_self;

	return __builtin_expect(self != NULL, 1) ? self : ckpti_mpi_attach();
}

static inline int ckpti_mpi_gate_now(void)
{
	return __atomic_load_n(&ckpti_mpi_gate, __ATOMIC_ACQUIRE);
}

/* Stand until the gate is not at HOLD.  The claim is given up meanwhile. */
void ckpti_mpi_gate_stand(struct ckpti_guest_thread *self);
/* Sets the gate, and wakes who stands. */
void ckpti_mpi_gate_set(int value);
/* For the thread that makes the cut: it passes whatever the gate says. */
void ckpti_mpi_gate_exempt(bool on);
bool ckpti_mpi_gate_is_exempt(void);
/* At HOLD, in ms at most: nobody is inside any more.  Returns the thread that still is, 0: none. */
int ckpti_mpi_gate_quiet(int ms);
/* Once for each life. */
int ckpti_mpi_gate_prepare(struct ckpti_err *err);

static inline struct ckpti_guest_thread *ckpti_mpi_call_begin(void)
{
	struct ckpti_guest_thread *self = ckpti_mpi_self();

	self->depth++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (__builtin_expect(ckpti_mpi_gate_now() == CKPTI_MPI_HOLD, 0))
		ckpti_mpi_gate_stand(self);
	return self;
}

static inline void ckpti_mpi_call_end(struct ckpti_guest_thread *self)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	self->depth--;
}

#endif
