/* SPDX-License-Identifier: BSD-3-Clause */
/* See drain.h. */
#include "shim/drain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shim/control.h"

/* Of one communicator: messages that were sent to us and are not here. */
struct missing {
	struct ckpti_mpi_coll *coll;
	int peer;
	uint64_t sent;
};

static struct ckpti_mpi_handle **requests; /* active ones */
static size_t nrequests, room;
static struct missing *missing;
static size_t nmissing;

static void add(struct ckpti_mpi_handle *h)
{
	if (nrequests == room) {
		room = room ? 2 * room : 256;
		requests = realloc(requests, room * sizeof(struct ckpti_mpi_handle *));
		if (!requests)
			ckpti_mpi_fatal("no memory for a checkpoint");
	}
	requests[nrequests++] = h;
}

/* A request of ours that brings a message in.  From here on it is as if it had come already. */
static struct ckpti_mpi_message *take_in(struct ckpti_guest_thread *self, MPI_Message real,
					 const MPI_Status *status, struct ckpti_mpi_coll *c)
{
	struct ckpti_mpi_message *m = ckpti_mpi_message_new(status);
	struct ckpti_mpi_handle *h = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);

	if (!m || status->_ucount > INT32_MAX)
		ckpti_mpi_fatal("no memory for a message of %zu bytes", (size_t)status->_ucount);
	ckpti_mpi_request_note(h, CKPTI_MPI_MATCHED, CKPTI_MPI_STANDARD, m->bytes,
			       (int)status->_ucount, MPI_BYTE, MPI_ANY_SOURCE, MPI_ANY_TAG, c);
	ckpti_guest_enter(self);
	(void)ckpti_mpi.MPI_Imrecv(m->bytes, (int)status->_ucount, ckpti_mpi_real(MPI_BYTE), &real,
				   (MPI_Request *)&h->real);
	ckpti_guest_leave(self);
	h->request.active = 1;
	m->taking = h;
	add(h);
	return m;
}

struct seen {
	struct ckpti_mpi_handle **message;
	size_t nmessages, room;
};

static void see(struct ckpti_mpi_handle *h, void *arg)
{
	struct seen *s = arg;
	struct ckpti_mpi_request *r = &h->request;

	if (h->kind == CKPTI_MPI_MESSAGE) {
		if (r->data)
			return;
		if (s->nmessages == s->room) {
			s->room = s->room ? 2 * s->room : 64;
			s->message =
				realloc(s->message, s->room * sizeof(struct ckpti_mpi_handle *));
			if (!s->message)
				ckpti_mpi_fatal("no memory for a checkpoint");
		}
		s->message[s->nmessages++] = h;
		return;
	}
	/* Looking at a generalized one would call the program's functions. */
	if (r->active && !r->done && r->operation != CKPTI_MPI_GENERAL)
		add(h);
}

int ckpti_mpi_drain_begin(struct ckpti_guest_thread *self, struct ckpti_err *err)
{
	struct seen s = {0};

	nrequests = nmissing = 0;
	ckpti_mpi_requests_each(see, &s);
	/* A message that the application has matched is received now and given when it asks. */
	for (size_t i = 0; i < s.nmessages; i++) {
		struct ckpti_mpi_handle *h = s.message[i];

		h->request.data = take_in(self, h->real, &h->request.status, h->request.comm);
	}
	free(s.message);
	for (struct ckpti_mpi_coll *c = ckpti_mpi_colls(); c; c = c->next)
		if (c->handle && c->handle->kind == CKPTI_MPI_WIN && c->shared)
			(void)GUEST(MPI_Win_flush_all, ckpti_mpi_real(c->handle));
	if (ckpti_mpi_dynamic)
		return ckpti_err(err, -ENOTSUP,
				 "rank %d has communicators with processes of another job",
				 ckpti_mpi_rank);
	return 0;
}

size_t ckpti_mpi_drain_sent(struct ckpti_mpi_sent **ret)
{
	struct ckpti_mpi_sent *list;
	size_t n = 0;

	for (struct ckpti_mpi_coll *c = ckpti_mpi_colls(); c; c = c->next)
		n += (size_t)c->npeers;
	list = calloc(n + 1, sizeof(*list));
	if (!list)
		ckpti_mpi_fatal("no memory for a checkpoint");
	n = 0;
	for (struct ckpti_mpi_coll *c = ckpti_mpi_colls(); c; c = c->next)
		for (int i = 0; i < c->npeers; i++)
			if (c->sent[i])
				list[n++] = (struct ckpti_mpi_sent){
					.id = c->id, .count = c->sent[i], .rank = c->world[i]};
	*ret = list;
	return n;
}

int ckpti_mpi_drain_expect(const struct ckpti_mpi_sent *sent, size_t n, struct ckpti_err *err)
{
	free(missing);
	missing = calloc(n + 1, sizeof(*missing));
	if (!missing)
		ckpti_mpi_fatal("no memory for a checkpoint");
	nmissing = 0;
	for (size_t i = 0; i < n; i++) {
		struct ckpti_mpi_coll *c = ckpti_mpi_coll_of_id(sent[i].id);
		int peer = 0;

		/* Freed here with messages that nobody has asked for: they are lost without us, too. */
		if (!c)
			continue;
		while (peer < c->npeers && c->world[peer] != sent[i].rank)
			peer++;
		if (peer == c->npeers)
			return ckpti_err(err, -EPROTO,
					 "rank %d is not a peer of rank %d on a communicator",
					 sent[i].rank, ckpti_mpi_rank);
		if (c->received[peer] < sent[i].count)
			missing[nmissing++] =
				(struct missing){.coll = c, .peer = peer, .sent = sent[i].count};
	}
	return 0;
}

static bool unfinished(const struct ckpti_mpi_handle *h)
{
	return !h->request.done && h->request.operation != CKPTI_MPI_RECV;
}

static bool all_here(void)
{
	for (size_t i = 0; i < nmissing; i++)
		if (missing[i].coll->received[missing[i].peer] < missing[i].sent)
			return false;
	for (size_t i = 0; i < nrequests; i++)
		if (unfinished(requests[i]))
			return false;
	return true;
}

/* All that has come and that no receive has been posted for. */
static void take_in_all(struct ckpti_guest_thread *self, struct ckpti_mpi_coll *c)
{
	MPI_Comm comm = ckpti_mpi_real(c->handle);
	MPI_Message real = NULL;
	MPI_Status status;
	int flag;

	for (;;) {
		flag = 0;
		ckpti_guest_enter(self);
		(void)ckpti_mpi.MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm, &flag, &real,
					    &status);
		ckpti_guest_leave(self);
		if (!flag)
			return;
		ckpti_mpi_buffered_add(c, take_in(self, real, &status, c));
	}
}

bool ckpti_mpi_drain_step(struct ckpti_guest_thread *self)
{
	struct ckpti_mpi_coll *before = NULL;
	int flag;

	for (size_t i = 0; i < nmissing; i++) {
		struct ckpti_mpi_coll *c = missing[i].coll;

		if (c != before && c->handle && c->received[missing[i].peer] < missing[i].sent)
			take_in_all(self, c);
		before = c;
	}
	for (size_t i = 0; i < nrequests; i++)
		if (!requests[i]->request.done)
			ckpti_mpi_request_look(self, requests[i]);
	(void)GUEST(MPI_Iprobe, MPI_ANY_SOURCE, MPI_ANY_TAG, ckpti_mpi_own_comm, &flag,
		    MPI_STATUS_IGNORE);
	return all_here();
}

void ckpti_mpi_drain_missing(char *text, size_t size)
{
	char name[64];

	for (size_t i = 0; i < nmissing; i++) {
		const struct missing *m = &missing[i];

		if (m->coll->received[m->peer] >= m->sent)
			continue;
		(void)snprintf(text, size, "misses %llu messages from rank %d on %s",
			       (unsigned long long)(m->sent - m->coll->received[m->peer]),
			       m->coll->world[m->peer],
			       ckpti_mpi_coll_name(m->coll, name, sizeof(name)));
		return;
	}
	for (size_t i = 0; i < nrequests; i++)
		if (unfinished(requests[i])) {
			(void)snprintf(text, size, "has a %s that does not end",
				       requests[i]->request.operation == CKPTI_MPI_SEND
					       ? "send"
					       : "request of a collective call, file or window");
			return;
		}
	(void)snprintf(text, size, "has received all messages");
}

int ckpti_mpi_drain_end(struct ckpti_err *err)
{
	for (size_t i = 0; i < nrequests; i++) {
		const struct ckpti_mpi_request *r = &requests[i]->request;

		if (!r->done && r->operation == CKPTI_MPI_RECV && r->comm && !r->comm->handle)
			return ckpti_err(err, -ENOTSUP,
					 "rank %d waits in MPI_Irecv on a freed communicator",
					 ckpti_mpi_rank);
	}
	return 0;
}

/* ---- a new life --------------------------------------------------------------------------------------- */

static int by_order(const void *pa, const void *pb)
{
	const struct ckpti_mpi_handle *a = *(struct ckpti_mpi_handle *const *)pa;
	const struct ckpti_mpi_handle *b = *(struct ckpti_mpi_handle *const *)pb;

	return a->request.order < b->request.order ? -1 : a->request.order > b->request.order;
}

static void see_pending(struct ckpti_mpi_handle *h, void *arg)
{
	const struct ckpti_mpi_request *r = &h->request;

	(void)arg;
	if (h->kind == CKPTI_MPI_REQUEST && r->active && !r->done &&
	    (r->operation == CKPTI_MPI_RECV || r->operation == CKPTI_MPI_GENERAL))
		add(h);
}

int ckpti_mpi_drain_again(struct ckpti_guest_thread *self, struct ckpti_err *err)
{
	int ret = MPI_SUCCESS;

	nrequests = nmissing = 0;
	ckpti_mpi_requests_each(see_pending, NULL);
	if (nrequests)
		qsort(requests, nrequests, sizeof(struct ckpti_mpi_handle *), by_order);
	for (size_t i = 0; ret == MPI_SUCCESS && i < nrequests; i++)
		ret = requests[i]->request.operation == CKPTI_MPI_GENERAL
			      ? ckpti_mpi_grequest_again(requests[i])
			      : ckpti_mpi_request_post_again(self, requests[i]);
	for (struct ckpti_mpi_coll *c = ckpti_mpi_colls(); ret == MPI_SUCCESS && c; c = c->next)
		if (c->handle && c->handle->kind == CKPTI_MPI_WIN && c->shared)
			ret = GUEST(MPI_Win_lock_all, 0, ckpti_mpi_real(c->handle));
	nrequests = 0;
	return ret == MPI_SUCCESS
		       ? 0
		       : ckpti_err(err, -EIO, "rank %d cannot post its receives again: error %d",
				   ckpti_mpi_rank, ret);
}
