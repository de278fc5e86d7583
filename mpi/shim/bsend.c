/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Buffered sends.  The message is packed into memory of ours and sent as any other; the request is an
 * orphan.  The buffer that the application attaches is only a measure of how much may be under way.
 *
 * MPI_Isendrecv() sends such a copy too, which nobody measures: its request is the receive alone.
 */
#include "shim/request.h"

#include <pthread.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *attached;
static int attached_size;
static size_t used; /* bytes under way, with what the standard adds for each */
static int under_way;

static size_t cost(int bytes)
{
	return (size_t)bytes + MPI_BSEND_OVERHEAD;
}

void ckpti_mpi_bsend_gone(const struct ckpti_mpi_handle *h)
{
	if (!h->request.measured)
		return;
	(void)pthread_mutex_lock(&lock);
	used -= cost(h->request.count);
	under_way--;
	(void)pthread_mutex_unlock(&lock);
}

static bool reserve(int bytes)
{
	bool fits;

	(void)pthread_mutex_lock(&lock);
	fits = used + cost(bytes) <= (size_t)attached_size;
	if (fits) {
		used += cost(bytes);
		under_way++;
	}
	(void)pthread_mutex_unlock(&lock);
	return fits;
}

int ckpti_mpi_send_copy(struct ckpti_guest_thread *self, const struct ckpti_mpi_handle *h,
			bool measured)
{
	const struct ckpti_mpi_request *r = &h->request;
	MPI_Comm comm = ckpti_mpi_real(r->comm ? r->comm->handle : (void *)MPI_COMM_NULL);
	struct ckpti_mpi_handle *copy;
	int size = 0, at = 0, ret;
	void *packed = NULL;

	ckpti_mpi_orphans_reap(self);
	ret = GUEST(MPI_Pack_size, r->count, ckpti_mpi_real(r->type), comm, &size);
	if (ret != MPI_SUCCESS)
		return ret;
	packed = malloc((size_t)size + 1);
	if (!packed)
		return MPI_ERR_NO_MEM;
	ret = GUEST(MPI_Pack, r->buf, r->count, ckpti_mpi_real(r->type), packed, size, &at, comm);
	if (ret == MPI_SUCCESS && measured && !reserve(at)) {
		ret = MPI_ERR_BUFFER;
		(void)GUEST(MPI_Comm_call_errhandler, comm, ret);
	}
	if (ret != MPI_SUCCESS) {
		free(packed);
		return ret;
	}
	copy = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);
	ckpti_mpi_request_note(copy, CKPTI_MPI_SEND, CKPTI_MPI_STANDARD, packed, at, MPI_PACKED,
			       r->peer, r->tag, r->comm);
	copy->request.data = packed;
	copy->request.measured = measured;
	ret = ckpti_mpi_request_post(self, copy);
	if (ret == MPI_SUCCESS) {
		ckpti_mpi_orphan_add(copy);
	} else {
		ckpti_mpi_bsend_gone(copy);
		ckpti_mpi_request_discard(copy);
		free(packed);
	}
	return ret;
}

int PMPI_Buffer_attach(void *buffer, int size)
{
	int ret = MPI_SUCCESS;

	(void)pthread_mutex_lock(&lock);
	if (attached || size < 0 || !buffer) {
		ret = attached ? MPI_ERR_BUFFER : MPI_ERR_ARG;
	} else {
		attached = buffer;
		attached_size = size;
	}
	(void)pthread_mutex_unlock(&lock);
	if (ret != MPI_SUCCESS)
		(void)GUEST(MPI_Comm_call_errhandler, ckpti_mpi_real(MPI_COMM_WORLD), ret);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Buffer_attach)

/* Returns when all that was sent has left. */
int PMPI_Buffer_detach(void *buffer, int *size)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();

	while (__atomic_load_n(&under_way, __ATOMIC_SEQ_CST)) {
		ckpti_mpi_orphans_reap(self);
		if (ckpti_mpi_gate_now() == CKPTI_MPI_HOLD)
			ckpti_mpi_gate_stand(self);
	}
	(void)pthread_mutex_lock(&lock);
	*(void **)buffer = attached;
	*size = attached_size;
	attached = NULL;
	attached_size = 0;
	(void)pthread_mutex_unlock(&lock);
	ckpti_mpi_call_end(self);
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Buffer_detach)
