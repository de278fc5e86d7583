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
#include "shim/shim.h"

/* A communicator of the guest's with this process alone, for our own messages; errors are returned. */
extern MPI_Comm ckpti_mpi_own_comm;

/* What it is; it is not active yet.  The datatype is kept until the request goes. */
void ckpti_mpi_request_note(struct ckpti_mpi_handle *h, enum ckpti_mpi_operation operation,
			    enum ckpti_mpi_mode mode, const void *buf, int count, MPI_Datatype type,
			    int peer, int tag, struct ckpti_mpi_coll *comm);
/* Give a noted one to the guest, or end it at once if it is a receive and a message is there. */
int ckpti_mpi_request_post(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h);
/* In a new life: likewise, whatever is there. */
int ckpti_mpi_request_post_again(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h);

/* The guest has ended it: ->request.status is set and counted. */
void ckpti_mpi_request_ended(struct ckpti_mpi_handle *h, int error);
/* One look at an active one that is not done. */
void ckpti_mpi_request_look(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h);
/* To its end, and give the status back; a handle that is not persistent goes. */
int ckpti_mpi_request_wait(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h,
			   MPI_Status *status);
int ckpti_mpi_request_give(struct ckpti_mpi_handle *h, MPI_Status *status);

/* Never posted, or not wanted any more. */
void ckpti_mpi_request_discard(struct ckpti_mpi_handle *h);

/* Requests that the application does not have: look at them, drop those that have ended. */
void ckpti_mpi_orphan_add(struct ckpti_mpi_handle *h);
void ckpti_mpi_orphans_reap(struct ckpti_guest_thread *self);

/* bsend.c: a copy goes as an orphan. */
int ckpti_mpi_bsend(struct ckpti_guest_thread *self, const struct ckpti_mpi_handle *h);
void ckpti_mpi_bsend_gone(const struct ckpti_mpi_handle *h);

/* object.c: a datatype that was freed while requests used it */
void ckpti_mpi_type_unused(struct ckpti_mpi_handle *type);

typedef int ckpti_mpi_post_f(const void *buf, int count, MPI_Datatype type, int peer, int tag,
			     MPI_Comm comm, MPI_Request *request);

static inline ckpti_mpi_post_f *ckpti_mpi_post_call(const struct ckpti_mpi_handle *h)
{
	/* The same registers: a receive's buffer is not const. */
	if (h->request.operation == CKPTI_MPI_RECV)
		return (ckpti_mpi_post_f *)(void *)ckpti_mpi.MPI_Irecv;
	if (h->request.mode == CKPTI_MPI_SYNCHRONOUS)
		return ckpti_mpi.MPI_Issend;
	return h->request.mode == CKPTI_MPI_READY ? ckpti_mpi.MPI_Irsend : ckpti_mpi.MPI_Isend;
}

/* It was given to the guest. */
static inline void ckpti_mpi_request_posted(struct ckpti_mpi_handle *h)
{
	struct ckpti_mpi_request *r = &h->request;

	r->active = 1;
	if (!r->comm)
		return;
	/* Two threads that post at the same time have no order. */
	if (r->operation == CKPTI_MPI_RECV)
		r->order = r->comm->posted++;
	else if (r->peer >= 0)
		(void)__atomic_add_fetch(&r->comm->sent[r->peer], 1, __ATOMIC_RELAXED);
}

#endif
