/* SPDX-License-Identifier: BSD-3-Clause */
/* See recurring.h. */
#include "shim/recurring.h"

#include <stdlib.h>

#include "shim/request.h"

/* The communicator of one request; those of a parent are listed as they were made, alike on all ranks. */
struct ckpti_mpi_own {
	MPI_Comm comm;
	int unused; /* our request is freed: set by any thread, and the last that the request does to it */
	struct ckpti_mpi_own *next;
};

/* ---- the communicators -------------------------------------------------------------------------- */

/* Which of the first n do all ranks have no use for?  mask: ours, and then that of all. */
static int agree(MPI_Comm parent, uint64_t *mask, int nwords)
{
	MPI_Datatype type = ckpti_mpi_real(MPI_UINT64_T);
	MPI_Op op = ckpti_mpi_real(MPI_BAND);
	uint64_t *theirs = calloc((size_t)nwords, sizeof(*theirs));
	uint64_t *ours = calloc((size_t)nwords, sizeof(*ours));
	int ret;

	if (!theirs || !ours)
		ckpti_mpi_fatal("no memory for an MPI object");
	/* Each of two groups gets what the other says; of one group both times are the same. */
	ret = GUEST(MPI_Allreduce, mask, theirs, nwords, type, op, parent);
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_Allreduce, theirs, ours, nwords, type, op, parent);
	for (int i = 0; i < nwords; i++)
		mask[i] = theirs[i] & ours[i];
	free(theirs);
	free(ours);
	return ret;
}

static void own_free(struct ckpti_mpi_own *own)
{
	MPI_Comm real = ckpti_mpi_real(own->comm);

	if (GUEST(MPI_Comm_free, &real) == MPI_SUCCESS)
		(void)ckpti_mpi_after(CKPTI_MPI_COMM, own->comm, real);
	free(own);
}

int ckpti_mpi_recurring_tidy(MPI_Comm comm)
{
	struct ckpti_mpi_handle *parent = (void *)comm;
	struct ckpti_mpi_own **at;
	uint64_t *mask;
	int n = 0, ret;

	if (!parent || !parent->recurring)
		return MPI_SUCCESS;
	for (const struct ckpti_mpi_own *own = parent->recurring; own; own = own->next)
		n++;
	mask = calloc((size_t)n / 64 + 1, sizeof(*mask));
	if (!mask)
		ckpti_mpi_fatal("no memory for an MPI object");
	n = 0;
	for (struct ckpti_mpi_own *own = parent->recurring; own; own = own->next, n++)
		if (__atomic_load_n(&own->unused, __ATOMIC_ACQUIRE))
			mask[n / 64] |= 1ULL << n % 64;
	ret = agree(parent->real, mask, n / 64 + 1);
	at = &parent->recurring;
	for (int i = 0; ret == MPI_SUCCESS && i < n; i++) {
		struct ckpti_mpi_own *own = *at;

		if (!(mask[i / 64] >> i % 64 & 1)) {
			at = &own->next;
			continue;
		}
		*at = own->next;
		own_free(own);
	}
	free(mask);
	return ret;
}

static struct ckpti_mpi_own *own_new(MPI_Comm comm, MPI_Comm real)
{
	struct ckpti_mpi_handle *parent = (void *)comm;
	struct ckpti_mpi_own *own = calloc(1, sizeof(*own)), **at = &parent->recurring;

	if (!own)
		ckpti_mpi_fatal("no memory for an MPI object");
	own->comm = ckpti_mpi_out(CKPTI_MPI_COMM, real);
	ckpti_mpi_coll_made(comm, own->comm);
	while (*at)
		at = &(*at)->next;
	*at = own;
	return own;
}

/* ---- definitions -------------------------------------------------------------------------------- */

void *ckpti_mpi_recurring_new(MPI_Comm comm, const char *call, size_t size,
			      ckpti_mpi_recurring_start_f *start, int *ret)
{
	struct ckpti_guest_thread *coll = ckpti_mpi_coll_begin(comm, call);
	struct ckpti_mpi_recurring *def = NULL;
	MPI_Comm real = NULL;

	*ret = ckpti_mpi_recurring_tidy(comm);
	if (*ret == MPI_SUCCESS)
		*ret = GUEST(MPI_Comm_dup, ckpti_mpi_real(comm), &real);
	if (*ret == MPI_SUCCESS) {
		def = calloc(1, size);
		if (!def)
			ckpti_mpi_fatal("no memory for %s", call);
		def->start = start;
		def->own = own_new(comm, real);
		def->comm = def->own->comm;
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

const void *ckpti_mpi_recurring_keep_all(struct ckpti_mpi_recurring *def, const void *handles,
					 int n)
{
	struct ckpti_mpi_handle *const *from = handles, **copy;

	copy = calloc((size_t)n + 1, sizeof(struct ckpti_mpi_handle *));
	if (!copy)
		ckpti_mpi_fatal("no memory for a request");
	for (int i = 0; i < n; i++) {
		copy[i] = from[i];
		ckpti_mpi_recurring_keep(def, copy[i]);
	}
	def->array[def->narrays++] = copy;
	return copy;
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

/* A local call: others may have a use for the communicator, and each image must have what all have. */
void ckpti_mpi_recurring_free(struct ckpti_mpi_recurring *def)
{
	for (int i = 0; i < def->nkept; i++)
		ckpti_mpi_type_release(def->kept[i]);
	for (int i = 0; i < def->narrays; i++)
		free(def->array[i]);
	__atomic_store_n(&def->own->unused, 1, __ATOMIC_RELEASE);
	free(def->kept);
	free(def);
}
