/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sends and receives.  A blocking call is started in the guest and polled there, in one crossing; it
 * becomes a request of ours only if the gate closes meanwhile.
 */
#include "shim/request.h"

#include <stdlib.h>

#define SEND(mode_) CKPTI_MPI_SEND, CKPTI_MPI_##mode_
#define RECEIVE     CKPTI_MPI_RECV, CKPTI_MPI_STANDARD

/* ---- blocking ---------------------------------------------------------------------------------------- */

/* A request for what the guest has begun and not ended. */
static struct ckpti_mpi_handle *under_way(enum ckpti_mpi_operation operation,
					  enum ckpti_mpi_mode mode, const void *buf, int count,
					  MPI_Datatype type, int peer, int tag,
					  struct ckpti_mpi_coll *c, MPI_Request real,
					  uint64_t order)
{
	struct ckpti_mpi_handle *h = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);

	ckpti_mpi_request_note(h, operation, mode, buf, count, type, peer, tag, c);
	h->real = real;
	h->request.active = 1;
	h->request.order = order;
	return h;
}

/* Where there is more to do than to give it to the guest. */
static __attribute__((noinline)) int blocking_by_request(struct ckpti_guest_thread *self,
							 enum ckpti_mpi_operation operation,
							 enum ckpti_mpi_mode mode, const void *buf,
							 int count, MPI_Datatype type, int peer,
							 int tag, struct ckpti_mpi_coll *c,
							 MPI_Status *status)
{
	struct ckpti_mpi_handle *h = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);
	int ret;

	ckpti_mpi_request_note(h, operation, mode, buf, count, type, peer, tag, c);
	ret = ckpti_mpi_request_post(self, h);
	if (h->request.active)
		return ckpti_mpi_request_wait(self, h, status);
	ckpti_mpi_request_discard(h);
	return ret;
}

/* A request of ours is made only when the gate closes meanwhile. */
static inline __attribute__((always_inline)) int blocking(enum ckpti_mpi_operation operation,
							  enum ckpti_mpi_mode mode, const void *buf,
							  int count, MPI_Datatype type, int peer,
							  int tag, MPI_Comm comm,
							  MPI_Status *status)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	__typeof__(ckpti_mpi.MPI_Test) test = ckpti_mpi.MPI_Test;
	ckpti_mpi_post_f *post = ckpti_mpi_post_call(operation, mode);
	struct ckpti_mpi_coll *c = ckpti_mpi_coll(comm);
	MPI_Datatype g_type = ckpti_mpi_real(type);
	MPI_Comm g_comm = ckpti_mpi_real(comm);
	MPI_Status got = {.MPI_SOURCE = MPI_PROC_NULL};
	MPI_Request real = NULL;
	uint64_t order = 0;
	int ret, flag = 0;

	if (mode == CKPTI_MPI_BUFFERED ||
	    (operation == CKPTI_MPI_RECV && ckpti_mpi_buffered_any(c))) {
		ret = blocking_by_request(self, operation, mode, buf, count, type, peer, tag, c,
					  status);
		ckpti_mpi_call_end(self);
		return ret;
	}
	ckpti_mpi_type_keep((void *)type);
	if (c)
		c->p2p = true;
	ckpti_guest_enter(self);
	ret = post(buf, count, g_type, peer, tag, g_comm, &real);
	if (ret == MPI_SUCCESS) {
		order = ckpti_mpi_posted(operation, c, peer);
		flag = operation == CKPTI_MPI_SEND && real == ckpti_mpi_at_once;
		while (!flag && ret == MPI_SUCCESS) {
			ret = test(&real, &flag, &got);
			if (ckpti_mpi_gate_now() == CKPTI_MPI_HOLD)
				break;
		}
	}
	ckpti_guest_leave(self);
	if (!flag && ret == MPI_SUCCESS) {
		ret = ckpti_mpi_request_wait(self,
					     under_way(operation, mode, buf, count, type, peer, tag,
						       c, real, order),
					     status);
	} else if (operation == CKPTI_MPI_RECV) {
		ckpti_mpi_received(c, &got);
		if (flag)
			ckpti_mpi_status_give(status, &got);
	}
	ckpti_mpi_type_release((void *)type);
	ckpti_mpi_call_end(self);
	return ret;
}

int PMPI_Send(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm)
{
	return blocking(SEND(STANDARD), buf, count, type, dest, tag, comm, MPI_STATUS_IGNORE);
}
CKPTI_MPI_WEAK(MPI_Send)

int PMPI_Ssend(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm)
{
	return blocking(SEND(SYNCHRONOUS), buf, count, type, dest, tag, comm, MPI_STATUS_IGNORE);
}
CKPTI_MPI_WEAK(MPI_Ssend)

int PMPI_Rsend(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm)
{
	return blocking(SEND(READY), buf, count, type, dest, tag, comm, MPI_STATUS_IGNORE);
}
CKPTI_MPI_WEAK(MPI_Rsend)

int PMPI_Bsend(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm)
{
	return blocking(SEND(BUFFERED), buf, count, type, dest, tag, comm, MPI_STATUS_IGNORE);
}
CKPTI_MPI_WEAK(MPI_Bsend)

int PMPI_Recv(void *buf, int count, MPI_Datatype type, int source, int tag, MPI_Comm comm,
	      MPI_Status *status)
{
	return blocking(RECEIVE, buf, count, type, source, tag, comm, status);
}
CKPTI_MPI_WEAK(MPI_Recv)

static int sendrecv_by_request(struct ckpti_guest_thread *self, const void *sendbuf, int sendcount,
			       MPI_Datatype sendtype, int dest, int sendtag, void *recvbuf,
			       int recvcount, MPI_Datatype recvtype, int source, int recvtag,
			       struct ckpti_mpi_coll *c, MPI_Status *status)
{
	struct ckpti_mpi_handle *in = ckpti_mpi_request_take(CKPTI_MPI_REQUEST), *out;
	int ret, sent;

	ckpti_mpi_request_note(in, RECEIVE, recvbuf, recvcount, recvtype, source, recvtag, c);
	ret = ckpti_mpi_request_post(self, in);
	if (ret != MPI_SUCCESS) {
		ckpti_mpi_request_discard(in);
		return ret;
	}
	out = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);
	ckpti_mpi_request_note(out, SEND(STANDARD), sendbuf, sendcount, sendtype, dest, sendtag, c);
	sent = ckpti_mpi_request_post(self, out);
	if (sent != MPI_SUCCESS) {
		ckpti_mpi_request_discard(out);
		/* Nothing was sent: there may be no answer. */
		if (in->request.done)
			(void)ckpti_mpi_request_give(in, status);
		else
			ckpti_mpi_orphan_add(in);
		return sent;
	}
	sent = ckpti_mpi_request_wait(self, out, MPI_STATUS_IGNORE);
	ret = ckpti_mpi_request_wait(self, in, status);
	return ret == MPI_SUCCESS ? sent : ret;
}

/* Both in one crossing; the receive comes first, so a message to oneself finds it. */
int PMPI_Sendrecv(const void *sendbuf, int sendcount, MPI_Datatype sendtype, int dest, int sendtag,
		  void *recvbuf, int recvcount, MPI_Datatype recvtype, int source, int recvtag,
		  MPI_Comm comm, MPI_Status *status)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	__typeof__(ckpti_mpi.MPI_Test) test = ckpti_mpi.MPI_Test;
	ckpti_mpi_post_f *receive = ckpti_mpi_post_call(RECEIVE);
	ckpti_mpi_post_f *send = ckpti_mpi_post_call(SEND(STANDARD));
	struct ckpti_mpi_coll *c = ckpti_mpi_coll(comm);
	MPI_Comm g_comm = ckpti_mpi_real(comm);
	MPI_Datatype in_type = ckpti_mpi_real(recvtype), out_type = ckpti_mpi_real(sendtype);
	int ret, has_come = 0, has_gone = 0, sent = MPI_SUCCESS, got = MPI_SUCCESS;
	MPI_Status came = {.MPI_SOURCE = MPI_PROC_NULL};
	struct ckpti_mpi_handle *in_h = NULL, *out_h = NULL;
	MPI_Request in = NULL, out = NULL;
	bool is_out = false;
	uint64_t order = 0;

	if (ckpti_mpi_buffered_any(c)) {
		ret = sendrecv_by_request(self, sendbuf, sendcount, sendtype, dest, sendtag,
					  recvbuf, recvcount, recvtype, source, recvtag, c, status);
		ckpti_mpi_call_end(self);
		return ret;
	}
	ckpti_mpi_type_keep((void *)recvtype);
	ckpti_mpi_type_keep((void *)sendtype);
	if (c)
		c->p2p = true;
	ckpti_guest_enter(self);
	ret = receive(recvbuf, recvcount, in_type, source, recvtag, g_comm, &in);
	if (ret == MPI_SUCCESS) {
		order = ckpti_mpi_posted(CKPTI_MPI_RECV, c, source);
		sent = send(sendbuf, sendcount, out_type, dest, sendtag, g_comm, &out);
		if (sent == MPI_SUCCESS) {
			is_out = true;
			(void)ckpti_mpi_posted(CKPTI_MPI_SEND, c, dest);
			has_gone = out == ckpti_mpi_at_once;
			do {
				if (!has_gone)
					sent = test(&out, &has_gone, MPI_STATUS_IGNORE);
				if (!has_come)
					got = test(&in, &has_come, &came);
			} while (!(has_come && has_gone) && sent == MPI_SUCCESS &&
				 got == MPI_SUCCESS && ckpti_mpi_gate_now() != CKPTI_MPI_HOLD);
		}
	}
	ckpti_guest_leave(self);
	if (ret == MPI_SUCCESS && !has_come && got == MPI_SUCCESS)
		in_h = under_way(RECEIVE, recvbuf, recvcount, recvtype, source, recvtag, c, in,
				 order);
	else
		ckpti_mpi_received(c, &came);
	if (is_out && !has_gone && sent == MPI_SUCCESS)
		out_h = under_way(SEND(STANDARD), sendbuf, sendcount, sendtype, dest, sendtag, c,
				  out, 0);
	if (out_h)
		sent = ckpti_mpi_request_wait(self, out_h, MPI_STATUS_IGNORE);
	if (in_h && !is_out)
		ckpti_mpi_orphan_add(in_h); /* nothing was sent: there may be no answer */
	else if (in_h)
		got = ckpti_mpi_request_wait(self, in_h, status);
	else if (has_come)
		ckpti_mpi_status_give(status, &came);
	ckpti_mpi_type_release((void *)recvtype);
	ckpti_mpi_type_release((void *)sendtype);
	ckpti_mpi_call_end(self);
	if (ret == MPI_SUCCESS)
		ret = got;
	return ret == MPI_SUCCESS ? sent : ret;
}
CKPTI_MPI_WEAK(MPI_Sendrecv)

int PMPI_Sendrecv_replace(void *buf, int count, MPI_Datatype type, int dest, int sendtag,
			  int source, int recvtag, MPI_Comm comm, MPI_Status *status)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	void *copy = NULL;
	int size = 0, at = 0, ret;

	ret = GUEST(MPI_Pack_size, count, ckpti_mpi_real(type), ckpti_mpi_real(comm), &size);
	if (ret == MPI_SUCCESS) {
		copy = malloc((size_t)size + 1);
		ret = copy ? GUEST(MPI_Pack, buf, count, ckpti_mpi_real(type), copy, size, &at,
				   ckpti_mpi_real(comm))
			   : MPI_ERR_NO_MEM;
	}
	ckpti_mpi_call_end(self);
	if (ret == MPI_SUCCESS)
		ret = PMPI_Sendrecv(copy, at, MPI_PACKED, dest, sendtag, buf, count, type, source,
				    recvtag, comm, status);
	free(copy);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Sendrecv_replace)

/* ---- with a request ---------------------------------------------------------------------------------- */

static inline __attribute__((always_inline)) int start(enum ckpti_mpi_operation operation,
						       enum ckpti_mpi_mode mode, const void *buf,
						       int count, MPI_Datatype type, int peer,
						       int tag, MPI_Comm comm, MPI_Request *request)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);
	ckpti_mpi_post_f *post = ckpti_mpi_post_call(operation, mode);
	struct ckpti_mpi_coll *c = ckpti_mpi_coll(comm);
	MPI_Datatype g_type = ckpti_mpi_real(type);
	MPI_Comm g_comm = ckpti_mpi_real(comm);
	int ret;

	ckpti_mpi_request_note(h, operation, mode, buf, count, type, peer, tag, c);
	if (mode == CKPTI_MPI_BUFFERED ||
	    (operation == CKPTI_MPI_RECV && ckpti_mpi_buffered_any(c))) {
		ret = ckpti_mpi_request_post(self, h);
	} else {
		ckpti_guest_enter(self);
		ret = post(buf, count, g_type, peer, tag, g_comm, (MPI_Request *)&h->real);
		ckpti_guest_leave(self);
		if (ret == MPI_SUCCESS)
			ckpti_mpi_request_posted(h);
	}
	if (ret == MPI_SUCCESS)
		*request = (MPI_Request)h;
	else
		ckpti_mpi_request_discard(h);
	ckpti_mpi_call_end(self);
	return ret;
}

int PMPI_Isend(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm,
	       MPI_Request *request)
{
	return start(SEND(STANDARD), buf, count, type, dest, tag, comm, request);
}
CKPTI_MPI_WEAK(MPI_Isend)

int PMPI_Issend(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm,
		MPI_Request *request)
{
	return start(SEND(SYNCHRONOUS), buf, count, type, dest, tag, comm, request);
}
CKPTI_MPI_WEAK(MPI_Issend)

int PMPI_Irsend(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm,
		MPI_Request *request)
{
	return start(SEND(READY), buf, count, type, dest, tag, comm, request);
}
CKPTI_MPI_WEAK(MPI_Irsend)

int PMPI_Ibsend(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm,
		MPI_Request *request)
{
	return start(SEND(BUFFERED), buf, count, type, dest, tag, comm, request);
}
CKPTI_MPI_WEAK(MPI_Ibsend)

int PMPI_Irecv(void *buf, int count, MPI_Datatype type, int source, int tag, MPI_Comm comm,
	       MPI_Request *request)
{
	return start(RECEIVE, buf, count, type, source, tag, comm, request);
}
CKPTI_MPI_WEAK(MPI_Irecv)

/* ---- persistent -------------------------------------------------------------------------------------- */

/* The guest looks at the arguments; its request goes at once. */
static int define(enum ckpti_mpi_operation operation, enum ckpti_mpi_mode mode, const void *buf,
		  int count, MPI_Datatype type, int peer, int tag, MPI_Comm comm,
		  MPI_Request *request)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	MPI_Datatype g_type = ckpti_mpi_real(type);
	MPI_Comm g_comm = ckpti_mpi_real(comm);
	struct ckpti_mpi_handle *h;
	MPI_Request real = NULL;
	int ret;

	ckpti_guest_enter(self);
	if (operation == CKPTI_MPI_RECV)
		ret = ckpti_mpi.MPI_Recv_init((void *)(uintptr_t)buf, count, g_type, peer, tag,
					      g_comm, &real);
	else
		ret = ckpti_mpi.MPI_Send_init(buf, count, g_type, peer, tag, g_comm, &real);
	if (ret == MPI_SUCCESS)
		(void)ckpti_mpi.MPI_Request_free(&real);
	ckpti_guest_leave(self);
	if (ret == MPI_SUCCESS) {
		h = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);
		ckpti_mpi_request_note(h, operation, mode, buf, count, type, peer, tag,
				       ckpti_mpi_coll(comm));
		h->request.persistent = 1;
		*request = (MPI_Request)h;
	}
	ckpti_mpi_call_end(self);
	return ret;
}

int PMPI_Send_init(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm,
		   MPI_Request *request)
{
	return define(SEND(STANDARD), buf, count, type, dest, tag, comm, request);
}
CKPTI_MPI_WEAK(MPI_Send_init)

int PMPI_Ssend_init(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm,
		    MPI_Request *request)
{
	return define(SEND(SYNCHRONOUS), buf, count, type, dest, tag, comm, request);
}
CKPTI_MPI_WEAK(MPI_Ssend_init)

int PMPI_Rsend_init(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm,
		    MPI_Request *request)
{
	return define(SEND(READY), buf, count, type, dest, tag, comm, request);
}
CKPTI_MPI_WEAK(MPI_Rsend_init)

int PMPI_Bsend_init(const void *buf, int count, MPI_Datatype type, int dest, int tag, MPI_Comm comm,
		    MPI_Request *request)
{
	return define(SEND(BUFFERED), buf, count, type, dest, tag, comm, request);
}
CKPTI_MPI_WEAK(MPI_Bsend_init)

int PMPI_Recv_init(void *buf, int count, MPI_Datatype type, int source, int tag, MPI_Comm comm,
		   MPI_Request *request)
{
	return define(RECEIVE, buf, count, type, source, tag, comm, request);
}
CKPTI_MPI_WEAK(MPI_Recv_init)

int PMPI_Start(MPI_Request *request)
{
	struct ckpti_mpi_handle *h = (void *)*request;
	bool is_right = h && !h->predefined && h->request.persistent && !h->request.active;
	struct ckpti_guest_thread *self;
	int ret = MPI_ERR_REQUEST;

	if (is_right && h->request.operation == CKPTI_MPI_RECURRING)
		return ckpti_mpi_recurring_start(h);
	self = ckpti_mpi_call_begin();
	if (is_right) {
		ret = ckpti_mpi_request_post(self, h);
	} else {
		(void)GUEST(MPI_Comm_call_errhandler, ckpti_mpi_real(MPI_COMM_WORLD), ret);
	}
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Start)

int PMPI_Startall(int count, MPI_Request array_of_requests[])
{
	int ret = MPI_SUCCESS;

	for (int i = 0; ret == MPI_SUCCESS && i < count; i++)
		ret = PMPI_Start(&array_of_requests[i]);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Startall)
