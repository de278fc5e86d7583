/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests.  Nothing of point-to-point blocks in the guest: a blocking call starts a request there and
 * polls it, in one crossing, and comes out when the gate closes.  A request that the guest has done with
 * (at a drain, or because a message was there already) is "done": its handle has the status, and the
 * application gets it from there.
 *
 * The struct is in handle.h.  A persistent request is a definition that is started like any other; the
 * guest never has one.
 */
#ifndef CKPT_MPI_REQUEST_H
#define CKPT_MPI_REQUEST_H

#include "shim/buffered.h"
#include "shim/recurring.h"
#include "shim/shim.h"

/* A communicator of the guest's with this process alone, for our own messages; errors are returned. */
extern MPI_Comm ckpti_mpi_own_comm;
/* The guest's request for a send that has ended at once; NULL: it has none of the kind. */
extern MPI_Request ckpti_mpi_at_once;
extern const MPI_Status ckpti_mpi_empty_status;

/* MPI is up in a guest: ask for what is above and below. */
void ckpti_mpi_requests_begin(void);

/* Give a noted one to the guest, or end it at once if it is a receive and a message is there. */
int ckpti_mpi_request_post(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h);
/* In a new life: likewise, whatever is there. */
int ckpti_mpi_request_post_again(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h);

/* One look at an active one that is not done. */
void ckpti_mpi_request_look(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h);
/* To its end, and give the status back, without MPI_ERROR; a handle that is not persistent goes. */
int ckpti_mpi_request_wait(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h,
			   MPI_Status *status);
int ckpti_mpi_request_give(struct ckpti_mpi_handle *h, MPI_Status *status);

/* Requests that the application does not have: look at them, drop those that have ended. */
void ckpti_mpi_orphan_add(struct ckpti_mpi_handle *h);
void ckpti_mpi_orphans_reap(struct ckpti_guest_thread *self);

/* callback.c: in a new life, a generalized request that has not ended */
int ckpti_mpi_grequest_again(struct ckpti_mpi_handle *h);

/* bsend.c: a copy goes as an orphan; measured: by the buffer that was attached. */
int ckpti_mpi_send_copy(struct ckpti_guest_thread *self, const struct ckpti_mpi_handle *h,
			bool measured);
void ckpti_mpi_bsend_gone(const struct ckpti_mpi_handle *h);

/* object.c: a datatype or operation that was freed while requests used it */
void ckpti_mpi_unused(struct ckpti_mpi_handle *h);

/* An inactive persistent one takes over what was just started. */
void ckpti_mpi_request_become(struct ckpti_mpi_handle *h, MPI_Request started);

/* ---- steps of every message: short, and some of them inside --------------------------------------- */

typedef int ckpti_mpi_post_f(const void *buf, int count, MPI_Datatype type, int peer, int tag,
			     MPI_Comm comm, MPI_Request *request);

static inline ckpti_mpi_post_f *ckpti_mpi_post_call(enum ckpti_mpi_operation operation,
						    enum ckpti_mpi_mode mode)
{
	/* The same registers: a receive's buffer is not const. */
	if (operation == CKPTI_MPI_RECV)
		return (ckpti_mpi_post_f *)(void *)ckpti_mpi.MPI_Irecv;
	if (mode == CKPTI_MPI_SYNCHRONOUS)
		return ckpti_mpi.MPI_Issend;
	return mode == CKPTI_MPI_READY ? ckpti_mpi.MPI_Irsend : ckpti_mpi.MPI_Isend;
}

/* A datatype (or operation) is kept while a request may have to be started again with it. */
static inline void ckpti_mpi_type_keep(struct ckpti_mpi_handle *type)
{
	if (!type || type->predefined)
		return;
	if (ckpti_mpi_many)
		(void)__atomic_add_fetch(&type->uses, 1, __ATOMIC_SEQ_CST);
	else
		type->uses++;
}

static inline void ckpti_mpi_type_release(struct ckpti_mpi_handle *type)
{
	int left;

	if (!type || type->predefined)
		return;
	left = ckpti_mpi_many ? __atomic_sub_fetch(&type->uses, 1, __ATOMIC_SEQ_CST) : --type->uses;
	if (left == 0 && __atomic_load_n(&type->frees, __ATOMIC_SEQ_CST))
		ckpti_mpi_unused(type);
}

/* What it is; it is not active yet.  The datatype is kept until the request goes. */
static inline void ckpti_mpi_request_note(struct ckpti_mpi_handle *h,
					  enum ckpti_mpi_operation operation,
					  enum ckpti_mpi_mode mode, const void *buf, int count,
					  MPI_Datatype type, int peer, int tag,
					  struct ckpti_mpi_coll *comm)
{
	struct ckpti_mpi_request *r = &h->request;

	r->operation = (uint8_t)operation;
	r->mode = (uint8_t)mode;
	r->buf = (void *)(uintptr_t)buf;
	r->count = count;
	r->type = (void *)type;
	r->peer = peer;
	r->tag = tag;
	r->comm = comm;
	if (comm)
		comm->p2p = true;
	ckpti_mpi_type_keep(r->type);
}

/* To the caller of a call with one status: its MPI_ERROR stays as the caller has it. */
static inline void ckpti_mpi_status_give(MPI_Status *to, const MPI_Status *from)
{
	if (to == MPI_STATUS_IGNORE)
		return;
	to->MPI_SOURCE = from->MPI_SOURCE;
	to->MPI_TAG = from->MPI_TAG;
	to->_cancelled = from->_cancelled;
	to->_ucount = from->_ucount;
}

/* Never posted, or not wanted any more. */
static inline void ckpti_mpi_request_discard(struct ckpti_mpi_handle *h)
{
	struct ckpti_mpi_handle *type = h->request.type;

	h->request.type = NULL;
	ckpti_mpi_type_release(type);
	if (__builtin_expect(h->request.operation == CKPTI_MPI_RECURRING, 0))
		ckpti_mpi_recurring_free(h->request.buf);
	ckpti_mpi_request_drop(h);
}

/* A message was given to the guest, or a receive.  Returns the receive's place in their order. */
static inline uint64_t ckpti_mpi_posted(enum ckpti_mpi_operation operation,
					struct ckpti_mpi_coll *comm, int peer)
{
	if (!comm)
		return 0;
	/* Two threads that post at the same time have no order. */
	if (operation == CKPTI_MPI_RECV)
		return comm->posted++;
	if (peer >= 0)
		ckpti_mpi_count(&comm->sent[peer]);
	return 0;
}

static inline void ckpti_mpi_received(struct ckpti_mpi_coll *comm, const MPI_Status *status)
{
	int source = status->MPI_SOURCE;

	if (comm && !status->_cancelled && source >= 0 && source < comm->npeers)
		ckpti_mpi_count(&comm->received[source]);
}

static inline void ckpti_mpi_request_posted(struct ckpti_mpi_handle *h)
{
	struct ckpti_mpi_request *r = &h->request;

	r->active = 1;
	r->order = ckpti_mpi_posted(r->operation, r->comm, r->peer);
	if (r->operation == CKPTI_MPI_SEND && h->real == ckpti_mpi_at_once) {
		h->real = NULL;
		r->done = 1;
		r->status = ckpti_mpi_empty_status;
		r->error = MPI_SUCCESS;
	}
}

/* The guest has ended it: ->request.status is set and counted. */
static inline void ckpti_mpi_request_ended(struct ckpti_mpi_handle *h, int error)
{
	struct ckpti_mpi_request *r = &h->request;

	r->active = r->done = 1;
	r->error = error;
	/* A message that was taken in is counted already. */
	if (h->real && (r->operation == CKPTI_MPI_RECV || r->operation == CKPTI_MPI_MATCHED))
		ckpti_mpi_received(r->comm, &r->status);
	h->real = NULL;
}

#endif
