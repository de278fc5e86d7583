/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collective calls are counted for each communicator, window and file.  A cut allows each member as
 * many as any member has begun, so that no call is half done; what comes after waits here.  Calls that
 * synchronize ranks without being counted (MPI_Comm_create_group, MPI_Win_lock) wait too.
 *
 * When nothing moves any more the ones that wait are let pass once: one of them may be what the others
 * need to get where they must (a message, a mutex).
 *
 * The same struct has what point-to-point needs of a communicator: messages sent to and received from
 * each peer in this life, and messages that a drain has taken in.
 */
#ifndef CKPT_MPI_COLL_H
#define CKPT_MPI_COLL_H

#include <mpi.h>
#include <stdint.h>

#include "shim/gate.h"
#include "shim/handle.h"

struct ckpti_mpi_message; /* buffered.h */

struct ckpti_mpi_coll {
	uint64_t id;                     /* the same on all members */
	uint64_t seq, target;            /* calls begun, calls that a cut allows */
	const char *call;                /* the newest one */
	struct ckpti_mpi_handle *handle; /* NULL: freed */
	/* Of a communicator. */
	int npeers; /* of an intercommunicator: in the other group */
	int *world; /* their ranks in MPI_COMM_WORLD */
	uint64_t *sent, *received;
	uint64_t posted; /* receives */
	bool p2p;        /* somebody has sent or received on it: requests may lead here */
	struct ckpti_mpi_message *first, *last; /* taken in, oldest first */
	/* Of a window. */
	int exclusive, shared; /* epochs of exclusive locks, post and start; of shared locks */
	bool fence;            /* there was an operation since the last fence */
	struct ckpti_mpi_coll *next; /* of all; under the lock of coll.c */
};

extern int ckpti_mpi_epochs;                       /* that must end before a cut */
extern struct ckpti_mpi_coll *ckpti_mpi_last_coll; /* for messages: may be gone */
/* Processes that are not in MPI_COMM_WORLD have come in. */
extern bool ckpti_mpi_dynamic;

/* Several threads may be in MPI: MPI_THREAD_MULTIPLE. */
extern bool ckpti_mpi_many;

/* A locked instruction costs as much as all else that is done for a message. */
static inline void ckpti_mpi_count(uint64_t *counter)
{
	if (__builtin_expect(ckpti_mpi_many, 0))
		(void)__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
	else
		__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

static inline struct ckpti_mpi_coll *ckpti_mpi_coll(const void *handle)
{
	return handle ? ((const struct ckpti_mpi_handle *)handle)->coll : NULL;
}

void ckpti_mpi_coll_wait(struct ckpti_guest_thread *self, struct ckpti_mpi_coll *c,
			 const char *call);

static inline void ckpti_mpi_coll_claim(struct ckpti_guest_thread *self, int more)
{
	__atomic_store_n(&self->colls, self->colls + more, __ATOMIC_RELEASE);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* handle: what the call is counted for; NULL: it is not counted, but must not run during a cut. */
static inline struct ckpti_guest_thread *ckpti_mpi_coll_begin(const void *handle, const char *call)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_coll *c = ckpti_mpi_coll(handle);

	/* A claim as in gate.h: seen when the gate has been closed, or the gate is seen closed. */
	ckpti_mpi_coll_claim(self, 1);
	if (__builtin_expect(ckpti_mpi_gate_now() != CKPTI_MPI_OPEN, 0)) {
		ckpti_mpi_coll_wait(self, c, call);
	} else if (c) {
		ckpti_mpi_count(&c->seq);
		c->call = call;
		ckpti_mpi_last_coll = c;
	}
	return self;
}

static inline void ckpti_mpi_coll_end(struct ckpti_guest_thread *self)
{
	ckpti_mpi_coll_claim(self, -1);
	ckpti_mpi_call_end(self);
}

/* For functions written by hand: GUEST() as a collective call. */
#define GUEST_COLL(handle, name, ...)                                                   \
	({                                                                              \
		struct ckpti_guest_thread *coll_ = ckpti_mpi_coll_begin(handle, #name); \
		int done_ = GUEST(name, ##__VA_ARGS__);                                 \
                                                                                        \
		ckpti_mpi_coll_end(coll_);                                              \
		done_;                                                                  \
	})

void ckpti_mpi_rma_open(struct ckpti_mpi_coll *c, const char *call);

/* An operation of a window.  The first one after a fence opens an epoch. */
static inline struct ckpti_guest_thread *ckpti_mpi_rma_begin(const void *win, const char *call)
{
	struct ckpti_mpi_coll *c = ckpti_mpi_coll(win);

	if (__builtin_expect(c && !c->exclusive && !c->shared && !c->fence, 0))
		ckpti_mpi_rma_open(c, call);
	return ckpti_mpi_call_begin();
}

/* MPI_COMM_WORLD and MPI_COMM_SELF, when MPI is up. */
void ckpti_mpi_colls_begin(void);
/* An object was made by the last collective call on parent. */
void ckpti_mpi_coll_made(const void *parent, void *handle);
/* Likewise, before it is complete: the group is parent's. */
void ckpti_mpi_coll_made_like(const void *parent, void *handle);
/* A communicator that was made by a call which is not counted: its members find an id. */
void ckpti_mpi_coll_made_alone(void *handle);
/* A communicator with processes of another job: there is no cut any more, so it needs no common id. */
void ckpti_mpi_coll_made_foreign(void *handle);
/* The handle goes; what was counted stays until the next cut. */
void ckpti_mpi_coll_drop(struct ckpti_mpi_handle *h);
/* Between cuts, or in a new life: counters start anew, freed ones go. */
void ckpti_mpi_colls_tidy(bool new_life);
struct ckpti_mpi_coll *ckpti_mpi_colls(void);
struct ckpti_mpi_coll *ckpti_mpi_coll_of_id(uint64_t id);
/* "MPI_COMM_WORLD", "a communicator of 3 ranks", "a window" */
const char *ckpti_mpi_coll_name(const struct ckpti_mpi_coll *c, char *buf, size_t size);

/* ---- for the cut ------------------------------------------------------------------------------ */

struct ckpti_mpi_count {
	uint64_t id, seq;
};

void ckpti_mpi_colls_close(void); /* OPEN -> CUT */
/* One moment's counts, and whether nothing is inside or open; text: what is, or who waits. */
size_t ckpti_mpi_colls_report(struct ckpti_mpi_count **ret, bool *ret_whole, bool *ret_waiting,
			      char *text, size_t size);
void ckpti_mpi_colls_allow(const struct ckpti_mpi_count *count, size_t n);
void ckpti_mpi_colls_relieve(void);
void ckpti_mpi_colls_open(void);

#endif
