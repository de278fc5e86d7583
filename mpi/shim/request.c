/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests (request.h), and MPI_Wait and MPI_Test and their kin. */
#include "shim/request.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct ckpti_mpi_handle *orphans; /* by ->next */

MPI_Request ckpti_mpi_at_once;
const MPI_Status ckpti_mpi_empty_status = {.MPI_SOURCE = MPI_ANY_SOURCE, .MPI_TAG = MPI_ANY_TAG};

static bool is_ours(const struct ckpti_mpi_handle *h)
{
	return h && !h->predefined;
}

/* ---- one request --------------------------------------------------------------------------------- */

/* Open MPI gives the same request for all sends that need none, as to nobody. */
void ckpti_mpi_requests_begin(void)
{
	MPI_Comm world = ckpti_mpi_real(MPI_COMM_WORLD);
	MPI_Datatype byte = ckpti_mpi_real(MPI_BYTE);
	MPI_Request real[2] = {NULL, NULL};
	int level = MPI_THREAD_MULTIPLE;

	(void)GUEST(MPI_Query_thread, &level);
	ckpti_mpi_many = level == MPI_THREAD_MULTIPLE;
	for (int i = 0; i < 2; i++)
		(void)GUEST(MPI_Isend, NULL, 0, byte, MPI_PROC_NULL, 0, world, &real[i]);
	ckpti_mpi_at_once = real[0] == real[1] ? real[0] : NULL;
	for (int i = 0; i < 2; i++)
		(void)GUEST(MPI_Wait, &real[i], MPI_STATUS_IGNORE);
}

int ckpti_mpi_request_post_again(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h)
{
	struct ckpti_mpi_request *r = &h->request;
	ckpti_mpi_post_f *post = ckpti_mpi_post_call(r->operation, r->mode);
	MPI_Datatype type = ckpti_mpi_real(r->type);
	/* Of what is no communicator: the guest complains. */
	MPI_Comm comm = ckpti_mpi_real(r->comm ? (void *)r->comm->handle : (void *)MPI_COMM_NULL);
	int ret;

	ckpti_guest_enter(self);
	ret = post(r->buf, r->count, type, r->peer, r->tag, comm, (MPI_Request *)&h->real);
	ckpti_guest_leave(self);
	if (ret == MPI_SUCCESS)
		ckpti_mpi_request_posted(h);
	return ret;
}

int ckpti_mpi_request_post(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h)
{
	struct ckpti_mpi_request *r = &h->request;
	struct ckpti_mpi_message *m;
	int ret;

	if (r->operation == CKPTI_MPI_SEND && r->mode == CKPTI_MPI_BUFFERED) {
		ret = ckpti_mpi_send_copy(self, h, true);
		if (ret == MPI_SUCCESS) {
			r->active = r->done = 1;
			r->status = ckpti_mpi_empty_status;
			r->error = MPI_SUCCESS;
		}
		return ret;
	}
	if (r->operation == CKPTI_MPI_RECV && ckpti_mpi_buffered_any(r->comm)) {
		m = ckpti_mpi_buffered_find(r->comm, r->peer, r->tag, true);
		if (m) {
			ret = ckpti_mpi_message_deliver(m, r->buf, r->count, r->type, &r->status);
			r->active = r->done = r->delivered = 1;
			r->error = ret;
			return MPI_SUCCESS;
		}
	}
	return ckpti_mpi_request_post_again(self, h);
}

void ckpti_mpi_request_look(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h)
{
	MPI_Request real = h->real;
	int ret, flag = 0;

	ckpti_guest_enter(self);
	ret = ckpti_mpi.MPI_Test(&real, &flag, &h->request.status);
	ckpti_guest_leave(self);
	if (ret != MPI_SUCCESS || flag)
		ckpti_mpi_request_ended(h, ret);
}

/* The guest has called the error handler for what it has found itself. */
static int complain(const struct ckpti_mpi_request *r)
{
	if (r->delivered && r->comm && r->comm->handle)
		(void)GUEST(MPI_Comm_call_errhandler, ckpti_mpi_real(r->comm->handle), r->error);
	return r->error;
}

int ckpti_mpi_request_give(struct ckpti_mpi_handle *h, MPI_Status *status)
{
	struct ckpti_mpi_request *r = &h->request;
	int ret = r->error == MPI_SUCCESS ? MPI_SUCCESS : complain(r);

	ckpti_mpi_status_give(status, &r->status);
	r->active = r->done = r->delivered = 0;
	if (!r->persistent)
		ckpti_mpi_request_discard(h);
	return ret;
}

int ckpti_mpi_request_wait(struct ckpti_guest_thread *self, struct ckpti_mpi_handle *h,
			   MPI_Status *status)
{
	struct ckpti_mpi_request *r = &h->request;

	while (!r->done) {
		__typeof__(ckpti_mpi.MPI_Test) test = ckpti_mpi.MPI_Test;
		MPI_Request real = h->real;
		int ret, flag = 0;

		ckpti_guest_enter(self);
		do {
			ret = test(&real, &flag, &r->status);
		} while (!flag && ret == MPI_SUCCESS && ckpti_mpi_gate_now() != CKPTI_MPI_HOLD);
		ckpti_guest_leave(self);
		if (flag || ret != MPI_SUCCESS)
			ckpti_mpi_request_ended(h, ret);
		else
			ckpti_mpi_gate_stand(self);
	}
	return ckpti_mpi_request_give(h, status);
}

int PMPI_Wait(MPI_Request *request, MPI_Status *status)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = (void *)*request;
	int ret = MPI_SUCCESS;

	if (!is_ours(h) || !h->request.active) {
		ckpti_mpi_status_give(status, &ckpti_mpi_empty_status);
	} else {
		bool persistent = h->request.persistent;

		ret = ckpti_mpi_request_wait(self, h, status);
		if (!persistent)
			*request = ckpti_mpi_null(CKPTI_MPI_REQUEST);
	}
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Wait)

int PMPI_Test(MPI_Request *request, int *flag, MPI_Status *status)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = (void *)*request;
	int ret = MPI_SUCCESS;

	*flag = 1;
	if (!is_ours(h) || !h->request.active) {
		ckpti_mpi_status_give(status, &ckpti_mpi_empty_status);
	} else {
		bool persistent = h->request.persistent;

		if (!h->request.done)
			ckpti_mpi_request_look(self, h);
		*flag = h->request.done;
		if (*flag) {
			ret = ckpti_mpi_request_give(h, status);
			if (!persistent)
				*request = ckpti_mpi_null(CKPTI_MPI_REQUEST);
		}
	}
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Test)

int PMPI_Request_get_status(MPI_Request request, int *flag, MPI_Status *status)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = (void *)request;

	*flag = 1;
	if (is_ours(h) && h->request.active && !h->request.done)
		ckpti_mpi_request_look(self, h);
	if (!is_ours(h) || !h->request.active) {
		ckpti_mpi_status_give(status, &ckpti_mpi_empty_status);
	} else {
		*flag = h->request.done;
		if (*flag)
			ckpti_mpi_status_give(status, &h->request.status);
	}
	ckpti_mpi_call_end(self);
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Request_get_status)

void ckpti_mpi_request_become(struct ckpti_mpi_handle *h, MPI_Request started)
{
	struct ckpti_mpi_handle *from = (void *)started;
	struct ckpti_mpi_request *r = &h->request;
	void *mine = h->scratch;

	/* The guest may have nothing to do. */
	if (!is_ours(from)) {
		r->active = r->done = 1;
		r->status = ckpti_mpi_empty_status;
		r->error = MPI_SUCCESS;
		return;
	}
	h->real = from->real;
	h->scratch = from->scratch;
	from->scratch = mine; /* goes with it */
	r->done = from->request.done;
	r->status = from->request.status;
	r->error = from->request.error;
	r->active = 1;
	ckpti_mpi_request_drop(from);
}

/* ---- several -------------------------------------------------------------------------------------- */

/* Working memory of one call, by request that the guest still has. */
struct work {
	MPI_Request *real;
	MPI_Status *status, *some;
	int *at, *index;
	bool *ended;
	int n;
	char few[CKPTI_MPI_FEW * (sizeof(MPI_Request) + 2 * sizeof(MPI_Status) + 2 * sizeof(int) +
				  sizeof(bool))] __attribute__((aligned(16)));
	void *many;
};

static bool work_new(struct work *w, int n)
{
	size_t count = n > CKPTI_MPI_FEW ? (size_t)n : CKPTI_MPI_FEW;
	char *p = w->few;

	w->many = NULL;
	if (n > CKPTI_MPI_FEW)
		p = w->many = malloc(count * sizeof(w->few) / CKPTI_MPI_FEW + 64);
	if (!p)
		return false;
	w->real = (void *)p;
	w->status = (void *)(w->real + count);
	w->some = w->status + count;
	w->at = (void *)(w->some + count);
	w->index = w->at + count;
	w->ended = (void *)(w->index + count);
	return true;
}

/* Those that the guest still has; returns how many are done. */
static int gather(struct work *w, const MPI_Request *request, int n, int *ret_active)
{
	int done = 0, active = 0;

	w->n = 0;
	for (int i = 0; i < n; i++) {
		struct ckpti_mpi_handle *h = (void *)request[i];

		if (!is_ours(h) || !h->request.active)
			continue;
		active++;
		if (h->request.done) {
			done++;
			continue;
		}
		w->at[w->n] = i;
		w->ended[w->n] = false;
		w->real[w->n++] = h->real;
	}
	*ret_active = active;
	return done;
}

static void note_end(struct work *w, int k, const MPI_Status *status, int ret)
{
	w->ended[k] = true;
	w->status[k] = *status;
	if (ret != MPI_ERR_IN_STATUS)
		w->status[k].MPI_ERROR = MPI_SUCCESS;
}

/* Inside.  Looks until one has ended, or the gate closes; or once. */
static int poll_some(struct work *w, __typeof__(ckpti_mpi.MPI_Testsome) testsome, bool block)
{
	int ret, out;

	do {
		out = 0;
		ret = testsome(w->n, w->real, &out, w->index, w->some);
		for (int i = 0; out != MPI_UNDEFINED && i < out; i++)
			note_end(w, w->index[i], &w->some[i], ret);
	} while (block && ret == MPI_SUCCESS && out == 0 && ckpti_mpi_gate_now() != CKPTI_MPI_HOLD);
	return ret == MPI_ERR_IN_STATUS ? MPI_SUCCESS : ret;
}

/*
 * Have one ended, with block; else look once.  Returns how many are done, in *ret_active of how many; or
 * negative, with the error in *ret_error.
 */
static int settle(struct ckpti_guest_thread *self, struct work *w, const MPI_Request *request,
		  int n, bool block, int *ret_active, int *ret_error)
{
	bool first = true;

	for (;;) {
		int done = gather(w, request, n, ret_active), ret;

		if (done || *ret_active == 0 || (!block && !first))
			return done;
		first = false;
		ckpti_guest_enter(self);
		ret = poll_some(w, ckpti_mpi.MPI_Testsome, block);
		ckpti_guest_leave(self);
		for (int k = 0; k < w->n; k++) {
			struct ckpti_mpi_handle *h = (void *)request[w->at[k]];

			if (!w->ended[k])
				continue;
			h->request.status = w->status[k];
			ckpti_mpi_request_ended(h, w->status[k].MPI_ERROR);
		}
		if (ret != MPI_SUCCESS) {
			*ret_error = ret;
			return -1;
		}
		if (block && ckpti_mpi_gate_now() == CKPTI_MPI_HOLD)
			ckpti_mpi_gate_stand(self);
	}
}

/* From k on, the first that the guest still has; n: none. */
static int next_pending(const MPI_Request *request, int k, int n)
{
	for (; k < n; k++) {
		const struct ckpti_mpi_handle *h = (void *)request[k];

		if (is_ours(h) && h->request.active && !h->request.done)
			break;
	}
	return k;
}

/*
 * Have all ended, with block; else look once.  One after the other: a look at one moves all others, too,
 * and so each is looked at once after its end, whatever their number.
 */
static bool settle_all(struct ckpti_guest_thread *self, const MPI_Request *request, int n,
		       bool block)
{
	int k = next_pending(request, 0, n);

	while (k < n) {
		__typeof__(ckpti_mpi.MPI_Test) test = ckpti_mpi.MPI_Test;
		int flag, ret;

		ckpti_guest_enter(self);
		do {
			struct ckpti_mpi_handle *h = (void *)request[k];
			MPI_Request real = h->real;

			flag = 0;
			do {
				ret = test(&real, &flag, &h->request.status);
			} while (block && !flag && ret == MPI_SUCCESS &&
				 ckpti_mpi_gate_now() != CKPTI_MPI_HOLD);
			if (!flag && ret == MPI_SUCCESS)
				break;
			ckpti_mpi_request_ended(h, ret);
			k = next_pending(request, k + 1, n);
		} while (k < n);
		ckpti_guest_leave(self);
		if (k == n)
			break;
		if (!block)
			return false;
		/* A drain may end it meanwhile. */
		ckpti_mpi_gate_stand(self);
		k = next_pending(request, k, n);
	}
	return true;
}

/* The application gets one that is done. */
static int give(MPI_Request *request, MPI_Status *status)
{
	struct ckpti_mpi_handle *h = (void *)*request;
	bool persistent = h->request.persistent;
	int ret = ckpti_mpi_request_give(h, status);

	if (!persistent)
		*request = ckpti_mpi_null(CKPTI_MPI_REQUEST);
	return ret;
}

static int give_all(int n, MPI_Request *request, MPI_Status *status)
{
	int ret = MPI_SUCCESS;

	for (int i = 0; i < n; i++) {
		struct ckpti_mpi_handle *h = (void *)request[i];
		MPI_Status *to = status == MPI_STATUSES_IGNORE ? MPI_STATUS_IGNORE : &status[i];
		int error = MPI_SUCCESS;

		if (is_ours(h) && h->request.active)
			error = give(&request[i], to);
		else if (to != MPI_STATUS_IGNORE)
			*to = ckpti_mpi_empty_status;
		if (to != MPI_STATUS_IGNORE)
			to->MPI_ERROR = error;
		if (error != MPI_SUCCESS)
			ret = MPI_ERR_IN_STATUS;
	}
	return ret;
}

static int complete_all(int n, MPI_Request *request, int *flag, MPI_Status *status, bool block)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	int ret = MPI_SUCCESS;

	*flag = settle_all(self, request, n, block);
	if (*flag)
		ret = give_all(n, request, status);
	ckpti_mpi_call_end(self);
	return ret;
}

int PMPI_Waitall(int count, MPI_Request array_of_requests[], MPI_Status *array_of_statuses)
{
	int flag;

	return complete_all(count, array_of_requests, &flag, array_of_statuses, true);
}
CKPTI_MPI_WEAK(MPI_Waitall)

int PMPI_Testall(int count, MPI_Request array_of_requests[], int *flag,
		 MPI_Status array_of_statuses[])
{
	return complete_all(count, array_of_requests, flag, array_of_statuses, false);
}
CKPTI_MPI_WEAK(MPI_Testall)

static int complete_any(int n, MPI_Request *request, int *index, int *flag, MPI_Status *status,
			bool block)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	int active, done, ret = MPI_ERR_NO_MEM;
	struct work w;

	*index = MPI_UNDEFINED;
	*flag = 0;
	if (work_new(&w, n)) {
		done = settle(self, &w, request, n, block, &active, &ret);
		free(w.many);
		if (done >= 0)
			ret = MPI_SUCCESS;
		*flag = done > 0 || active == 0;
		if (active == 0)
			ckpti_mpi_status_give(status, &ckpti_mpi_empty_status);
		for (int i = 0; done > 0 && i < n; i++) {
			struct ckpti_mpi_handle *h = (void *)request[i];

			if (!is_ours(h) || !h->request.active || !h->request.done)
				continue;
			*index = i;
			ret = give(&request[i], status);
			break;
		}
	}
	ckpti_mpi_call_end(self);
	return ret;
}

int PMPI_Waitany(int count, MPI_Request array_of_requests[], int *index, MPI_Status *status)
{
	int flag;

	return complete_any(count, array_of_requests, index, &flag, status, true);
}
CKPTI_MPI_WEAK(MPI_Waitany)

int PMPI_Testany(int count, MPI_Request array_of_requests[], int *index, int *flag,
		 MPI_Status *status)
{
	return complete_any(count, array_of_requests, index, flag, status, false);
}
CKPTI_MPI_WEAK(MPI_Testany)

static int complete_some(int n, MPI_Request *request, int *outcount, int *index, MPI_Status *status,
			 bool block)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	int active, done, ret = MPI_ERR_NO_MEM, out = 0;
	struct work w;

	if (work_new(&w, n)) {
		done = settle(self, &w, request, n, block, &active, &ret);
		free(w.many);
		if (done >= 0)
			ret = MPI_SUCCESS;
		for (int i = 0; done > 0 && i < n; i++) {
			struct ckpti_mpi_handle *h = (void *)request[i];
			MPI_Status *to =
				status == MPI_STATUSES_IGNORE ? MPI_STATUS_IGNORE : &status[out];
			int error;

			if (!is_ours(h) || !h->request.active || !h->request.done)
				continue;
			error = give(&request[i], to);
			index[out++] = i;
			if (to != MPI_STATUS_IGNORE)
				to->MPI_ERROR = error;
			if (error != MPI_SUCCESS)
				ret = MPI_ERR_IN_STATUS;
		}
		*outcount = active ? out : MPI_UNDEFINED;
	}
	ckpti_mpi_call_end(self);
	return ret;
}

int PMPI_Waitsome(int incount, MPI_Request array_of_requests[], int *outcount,
		  int array_of_indices[], MPI_Status array_of_statuses[])
{
	return complete_some(incount, array_of_requests, outcount, array_of_indices,
			     array_of_statuses, true);
}
CKPTI_MPI_WEAK(MPI_Waitsome)

int PMPI_Testsome(int incount, MPI_Request array_of_requests[], int *outcount,
		  int array_of_indices[], MPI_Status array_of_statuses[])
{
	return complete_some(incount, array_of_requests, outcount, array_of_indices,
			     array_of_statuses, false);
}
CKPTI_MPI_WEAK(MPI_Testsome)

/* ---- requests that the application has given away ---------------------------------------------------- */

void ckpti_mpi_orphan_add(struct ckpti_mpi_handle *h)
{
	h->request.orphan = 1;
	(void)pthread_mutex_lock(&lock);
	h->next = orphans;
	orphans = h;
	(void)pthread_mutex_unlock(&lock);
}

void ckpti_mpi_orphans_reap(struct ckpti_guest_thread *self)
{
	struct ckpti_mpi_handle *h, *list, *keep = NULL, *next;

	/* A look may call error handlers: not under the lock. */
	(void)pthread_mutex_lock(&lock);
	list = orphans;
	orphans = NULL;
	(void)pthread_mutex_unlock(&lock);
	for (h = list; h; h = next) {
		next = h->next;
		if (!h->request.done)
			ckpti_mpi_request_look(self, h);
		if (!h->request.done) {
			h->next = keep;
			keep = h;
			continue;
		}
		if (h->request.data) {
			ckpti_mpi_bsend_gone(h);
			free(h->request.data);
		}
		ckpti_mpi_request_discard(h);
	}
	while (keep) {
		next = keep->next;
		ckpti_mpi_orphan_add(keep);
		keep = next;
	}
}

int PMPI_Request_free(MPI_Request *request)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = (void *)*request;
	int ret = MPI_SUCCESS;

	if (!is_ours(h)) {
		ret = MPI_ERR_REQUEST;
	} else if (h->request.operation == CKPTI_MPI_GENERAL) {
		MPI_Request real = h->real;

		if (real) {
			ckpti_guest_enter(self);
			ret = ckpti_mpi.MPI_Request_free(&real);
			ckpti_guest_leave(self);
		}
		ckpti_mpi_request_discard(h);
	} else if (h->request.active && !h->request.done) {
		h->request.persistent = 0;
		ckpti_mpi_orphan_add(h);
		ckpti_mpi_orphans_reap(self);
	} else {
		ckpti_mpi_request_discard(h);
	}
	if (ret == MPI_SUCCESS)
		*request = ckpti_mpi_null(CKPTI_MPI_REQUEST);
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Request_free)

int PMPI_Cancel(MPI_Request *request)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = (void *)*request;
	int ret = MPI_SUCCESS;

	if (!is_ours(h)) {
		ret = MPI_ERR_REQUEST;
	} else if (h->request.active && !h->request.done) {
		MPI_Request real = h->real;

		ckpti_guest_enter(self);
		ret = ckpti_mpi.MPI_Cancel(&real);
		ckpti_guest_leave(self);
	}
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Cancel)
