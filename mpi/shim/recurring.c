/* SPDX-License-Identifier: BSD-3-Clause */
/* See recurring.h. */
#include "shim/recurring.h"

#include <stdlib.h>

#include "shim/request.h"

void *ckpti_mpi_recurring_new(MPI_Comm comm, const char *call, size_t size,
			      ckpti_mpi_recurring_start_f *start, int *ret)
{
	struct ckpti_guest_thread *coll = ckpti_mpi_coll_begin(comm, call);
	struct ckpti_mpi_recurring *def = NULL;
	MPI_Comm real = NULL;

	*ret = GUEST(MPI_Comm_dup, ckpti_mpi_real(comm), &real);
	if (*ret == MPI_SUCCESS) {
		def = calloc(1, size);
		if (!def)
			ckpti_mpi_fatal("no memory for %s", call);
		def->start = start;
		def->comm = ckpti_mpi_out(CKPTI_MPI_COMM, real);
		ckpti_mpi_coll_made(comm, def->comm);
	}
	ckpti_mpi_coll_end(coll);
	return def;
}

void ckpti_mpi_recurring_keep(struct ckpti_mpi_recurring *def, const void *handle)
{
	struct ckpti_mpi_handle *h = (void *)(uintptr_t)handle;

	if (!h || h->predefined)
		return;
	def->kept = realloc(def->kept, ((size_t)def->nkept + 1) * sizeof(def->kept[0]));
	if (!def->kept)
		ckpti_mpi_fatal("no memory for a request");
	def->kept[def->nkept++] = h;
	ckpti_mpi_type_keep(h);
}

MPI_Request ckpti_mpi_recurring_request(struct ckpti_mpi_recurring *def)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);

	ckpti_mpi_request_note(h, CKPTI_MPI_RECURRING, CKPTI_MPI_STANDARD, def, 0, NULL, 0, 0,
			       NULL);
	h->request.persistent = 1;
	ckpti_mpi_call_end(self);
	return (MPI_Request)h;
}

/* A cut may come between the two steps: then the call has ended when its request is taken over. */
int ckpti_mpi_recurring_start(struct ckpti_mpi_handle *h)
{
	const struct ckpti_mpi_recurring *def = h->request.buf;
	MPI_Request started = NULL;
	struct ckpti_guest_thread *self;
	int ret = def->start(def, &started);

	if (ret != MPI_SUCCESS)
		return ret;
	self = ckpti_mpi_call_begin();
	ckpti_mpi_request_become(h, started);
	ckpti_mpi_call_end(self);
	return MPI_SUCCESS;
}

/* The communicator has no call under way here, and its end is not counted: others free it when they do. */
void ckpti_mpi_recurring_free(struct ckpti_mpi_recurring *def)
{
	MPI_Comm real = ckpti_mpi_real(def->comm);

	if (GUEST(MPI_Comm_free, &real) == MPI_SUCCESS)
		(void)ckpti_mpi_after(CKPTI_MPI_COMM, def->comm, real);
	for (int i = 0; i < def->nkept; i++)
		ckpti_mpi_type_release(def->kept[i]);
	free(def->kept);
	free(def);
}
