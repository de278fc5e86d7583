/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages that a drain has taken in (buffered.h), and the calls that look for messages: MPI_Probe and
 * MPI_Mprobe and their kin.
 */
#include "shim/buffered.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "shim/request.h"
#include "shim/shim.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct ckpti_mpi_message *ckpti_mpi_message_new(const MPI_Status *status)
{
	struct ckpti_mpi_message *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->status = *status;
	m->bytes = malloc(status->_ucount + 1);
	if (!m->bytes) {
		free(m);
		return NULL;
	}
	return m;
}

void ckpti_mpi_message_free(struct ckpti_mpi_message *m)
{
	if (m)
		free(m->bytes);
	free(m);
}

void ckpti_mpi_buffered_add(struct ckpti_mpi_coll *c, struct ckpti_mpi_message *m)
{
	(void)pthread_mutex_lock(&lock);
	m->next = NULL;
	if (c->last)
		c->last->next = m;
	else
		__atomic_store_n(&c->first, m, __ATOMIC_RELEASE);
	c->last = m;
	(void)pthread_mutex_unlock(&lock);
}

void ckpti_mpi_buffered_free(struct ckpti_mpi_coll *c)
{
	while (c->first) {
		struct ckpti_mpi_message *m = c->first;

		c->first = m->next;
		ckpti_mpi_message_free(m);
	}
	c->last = NULL;
}

static bool matches(const struct ckpti_mpi_message *m, int source, int tag)
{
	return (source == MPI_ANY_SOURCE || source == m->status.MPI_SOURCE) &&
	       (tag == MPI_ANY_TAG || tag == m->status.MPI_TAG);
}

struct ckpti_mpi_message *ckpti_mpi_buffered_find(struct ckpti_mpi_coll *c, int source, int tag,
						  bool take)
{
	struct ckpti_mpi_message *m, *before = NULL;

	(void)pthread_mutex_lock(&lock);
	for (m = c->first; m && !matches(m, source, tag); m = m->next)
		before = m;
	if (m && take) {
		if (before)
			before->next = m->next;
		else
			__atomic_store_n(&c->first, m->next, __ATOMIC_RELEASE);
		if (c->last == m)
			c->last = before;
	}
	(void)pthread_mutex_unlock(&lock);
	return m;
}

/*
 * A message of ours to ourselves: so it is received exactly as any other, also in part and into holes.
 * That it is too long Open MPI does not see there.
 */
int ckpti_mpi_message_deliver(struct ckpti_mpi_message *m, void *buf, int count,
			      struct ckpti_mpi_handle *type, MPI_Status *status)
{
	MPI_Datatype byte = ckpti_mpi_real(MPI_BYTE), real = ckpti_mpi_real(type);
	MPI_Count size = 0;
	int ret;

	if (m->taking)
		(void)ckpti_mpi_request_wait(ckpti_guest_self, m->taking, MPI_STATUS_IGNORE);
	/* One at a time: all have the same tag. */
	(void)pthread_mutex_lock(&lock);
	ret = GUEST(MPI_Sendrecv, m->bytes, (int)m->status._ucount, byte, 0, 0, buf, count, real, 0,
		    0, ckpti_mpi_own_comm, MPI_STATUS_IGNORE);
	(void)pthread_mutex_unlock(&lock);
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_Type_size_x, real, &size);
	if (ret == MPI_SUCCESS && (size_t)size * (size_t)count < m->status._ucount)
		ret = MPI_ERR_TRUNCATE;
	*status = m->status;
	ckpti_mpi_message_free(m);
	return ret;
}

/* ---- probes --------------------------------------------------------------------------------------- */

/* Both kinds; message: it is taken for a later MPI_Mrecv.  Waits if block. */
static int probe(int source, int tag, MPI_Comm comm, int *flag, struct ckpti_mpi_handle **message,
		 MPI_Status *status, bool block)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_coll *c = ckpti_mpi_coll(comm);
	struct ckpti_mpi_message *m = NULL;
	MPI_Message real = NULL;
	MPI_Status got = {0};
	int ret, found = 0;

	for (;;) {
		__typeof__(ckpti_mpi.MPI_Iprobe) iprobe = ckpti_mpi.MPI_Iprobe;
		__typeof__(ckpti_mpi.MPI_Improbe) improbe = ckpti_mpi.MPI_Improbe;
		MPI_Comm g_comm = ckpti_mpi_real(comm);

		if (ckpti_mpi_buffered_any(c))
			m = ckpti_mpi_buffered_find(c, source, tag, message != NULL);
		if (m) {
			got = m->status;
			ret = MPI_SUCCESS;
			found = 1;
			break;
		}
		ckpti_guest_enter(self);
		do {
			ret = message ? improbe(source, tag, g_comm, &found, &real, &got)
				      : iprobe(source, tag, g_comm, &found, &got);
		} while (block && ret == MPI_SUCCESS && !found &&
			 ckpti_mpi_gate_now() != CKPTI_MPI_HOLD);
		ckpti_guest_leave(self);
		if (found || !block || ret != MPI_SUCCESS)
			break;
		ckpti_mpi_gate_stand(self);
	}
	*flag = found;
	if (message && found && ret == MPI_SUCCESS) {
		*message = m ? NULL : ckpti_mpi_find(real);
		if (!*message) {
			*message = ckpti_mpi_request_take(CKPTI_MPI_MESSAGE);
			(*message)->real = real;
			(*message)->request.operation = CKPTI_MPI_MATCHED;
			(*message)->request.comm = c;
			(*message)->request.status = got;
			(*message)->request.data = m;
		}
	}
	ckpti_mpi_call_end(self);
	if (found)
		ckpti_mpi_status_give(status, &got);
	return ret;
}

int PMPI_Probe(int source, int tag, MPI_Comm comm, MPI_Status *status)
{
	int flag;

	return probe(source, tag, comm, &flag, NULL, status, true);
}
CKPTI_MPI_WEAK(MPI_Probe)

int PMPI_Iprobe(int source, int tag, MPI_Comm comm, int *flag, MPI_Status *status)
{
	return probe(source, tag, comm, flag, NULL, status, false);
}
CKPTI_MPI_WEAK(MPI_Iprobe)

int PMPI_Mprobe(int source, int tag, MPI_Comm comm, MPI_Message *message, MPI_Status *status)
{
	struct ckpti_mpi_handle *h = ckpti_mpi_null(CKPTI_MPI_MESSAGE);
	int flag, ret = probe(source, tag, comm, &flag, &h, status, true);

	*message = (MPI_Message)h;
	return ret;
}
CKPTI_MPI_WEAK(MPI_Mprobe)

int PMPI_Improbe(int source, int tag, MPI_Comm comm, int *flag, MPI_Message *message,
		 MPI_Status *status)
{
	struct ckpti_mpi_handle *h = ckpti_mpi_null(CKPTI_MPI_MESSAGE);
	int ret = probe(source, tag, comm, flag, &h, status, false);

	*message = (MPI_Message)h;
	return ret;
}
CKPTI_MPI_WEAK(MPI_Improbe)

/* A request for a matched message; the message's handle goes. */
static int receive_matched(struct ckpti_guest_thread *self, void *buf, int count, MPI_Datatype type,
			   MPI_Message *message, struct ckpti_mpi_handle *request)
{
	struct ckpti_mpi_handle *h = (void *)*message;
	MPI_Message real;
	int ret;

	ckpti_mpi_request_note(request, CKPTI_MPI_MATCHED, CKPTI_MPI_STANDARD, buf, count, type,
			       MPI_ANY_SOURCE, MPI_ANY_TAG, h ? h->request.comm : NULL);
	if (h && !h->predefined && h->request.data) {
		struct ckpti_mpi_message *m = h->request.data;

		ret = ckpti_mpi_message_deliver(m, buf, count, (void *)type,
						&request->request.status);
		ckpti_mpi_request_ended(request, ret);
		request->request.delivered = 1;
		ret = MPI_SUCCESS;
	} else {
		real = ckpti_mpi_real(h);
		ckpti_guest_enter(self);
		ret = ckpti_mpi.MPI_Imrecv(buf, count, ckpti_mpi_real(type), &real,
					   (MPI_Request *)&request->real);
		ckpti_guest_leave(self);
		if (ret == MPI_SUCCESS)
			request->request.active = 1;
	}
	if (ret == MPI_SUCCESS && h && !h->predefined) {
		h->request.data = NULL;
		ckpti_mpi_request_drop(h);
	}
	if (ret == MPI_SUCCESS)
		*message = ckpti_mpi_null(CKPTI_MPI_MESSAGE);
	return ret;
}

int PMPI_Mrecv(void *buf, int count, MPI_Datatype type, MPI_Message *message, MPI_Status *status)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);
	int ret = receive_matched(self, buf, count, type, message, h);

	if (ret == MPI_SUCCESS)
		ret = ckpti_mpi_request_wait(self, h, status);
	else
		ckpti_mpi_request_drop(h);
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Mrecv)

int PMPI_Imrecv(void *buf, int count, MPI_Datatype type, MPI_Message *message, MPI_Request *request)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);
	int ret = receive_matched(self, buf, count, type, message, h);

	if (ret == MPI_SUCCESS)
		*request = (MPI_Request)h;
	else
		ckpti_mpi_request_drop(h);
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Imrecv)
