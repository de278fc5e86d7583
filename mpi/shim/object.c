/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that do more than translate handles: attributes are copied and deleted with their object, and
 * memory that MPI hands to the application must be the application's, or it would be lost with the
 * guest.
 */
#include "shim/request.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/segment.h"

/* ---- duplication and end --------------------------------------------------------------------- */

/* Ends the collective call: the user's functions for attributes may call MPI. */
static int comm_made(int ret, struct ckpti_guest_thread *coll, MPI_Comm from, MPI_Comm real,
		     MPI_Comm *newcomm)
{
	if (ret == MPI_SUCCESS) {
		*newcomm = ckpti_mpi_out(CKPTI_MPI_COMM, real);
		ckpti_mpi_coll_made(from, *newcomm);
	}
	ckpti_mpi_coll_end(coll);
	if (ret != MPI_SUCCESS)
		return ret;
	return ckpti_mpi_attrs_copy((void *)from, (void *)*newcomm);
}

int PMPI_Comm_dup(MPI_Comm comm, MPI_Comm *newcomm)
{
	struct ckpti_guest_thread *coll = ckpti_mpi_coll_begin(comm, "MPI_Comm_dup");
	MPI_Comm real = NULL;
	int ret = GUEST(MPI_Comm_dup, ckpti_mpi_real(comm), &real);

	return comm_made(ret, coll, comm, real, newcomm);
}
CKPTI_MPI_WEAK(MPI_Comm_dup)

int PMPI_Comm_dup_with_info(MPI_Comm comm, MPI_Info info, MPI_Comm *newcomm)
{
	struct ckpti_guest_thread *coll = ckpti_mpi_coll_begin(comm, "MPI_Comm_dup_with_info");
	MPI_Comm real = NULL;
	int ret = GUEST(MPI_Comm_dup_with_info, ckpti_mpi_real(comm), ckpti_mpi_real(info), &real);

	return comm_made(ret, coll, comm, real, newcomm);
}
CKPTI_MPI_WEAK(MPI_Comm_dup_with_info)

static int idup_made(int ret, struct ckpti_guest_thread *coll, MPI_Comm comm,
		     struct ckpti_mpi_handle *h, MPI_Request real, MPI_Comm *newcomm,
		     MPI_Request *request)
{
	if (ret == MPI_SUCCESS) {
		*newcomm = (MPI_Comm)h;
		*request = ckpti_mpi_request_new(real);
		ckpti_mpi_coll_made_like(comm, h);
	}
	ckpti_mpi_coll_end(coll);
	if (ret != MPI_SUCCESS)
		return ret;
	return ckpti_mpi_attrs_copy((void *)comm, h);
}

/* The guest writes the new one when the request ends. */
int PMPI_Comm_idup(MPI_Comm comm, MPI_Comm *newcomm, MPI_Request *request)
{
	struct ckpti_guest_thread *coll = ckpti_mpi_coll_begin(comm, "MPI_Comm_idup");
	struct ckpti_mpi_handle *h = ckpti_mpi_handle_new(CKPTI_MPI_COMM);
	MPI_Request real = NULL;
	int ret = GUEST(MPI_Comm_idup, ckpti_mpi_real(comm), (MPI_Comm *)&h->real, &real);

	return idup_made(ret, coll, comm, h, real, newcomm, request);
}
CKPTI_MPI_WEAK(MPI_Comm_idup)

#if MPI_VERSION >= 4 || OMPI_MAJOR_VERSION >= 5
int PMPI_Comm_idup_with_info(MPI_Comm comm, MPI_Info info, MPI_Comm *newcomm, MPI_Request *request)
{
	struct ckpti_guest_thread *coll = ckpti_mpi_coll_begin(comm, "MPI_Comm_idup_with_info");
	struct ckpti_mpi_handle *h = ckpti_mpi_handle_new(CKPTI_MPI_COMM);
	MPI_Request real = NULL;
	int ret = GUEST(MPI_Comm_idup_with_info, ckpti_mpi_real(comm), ckpti_mpi_real(info),
			(MPI_Comm *)&h->real, &real);

	return idup_made(ret, coll, comm, h, real, newcomm, request);
}
CKPTI_MPI_WEAK(MPI_Comm_idup_with_info)
#endif

int PMPI_Type_dup(MPI_Datatype type, MPI_Datatype *newtype)
{
	MPI_Datatype real = NULL;
	int ret = GUEST(MPI_Type_dup, ckpti_mpi_real(type), &real);

	if (ret != MPI_SUCCESS)
		return ret;
	*newtype = ckpti_mpi_out(CKPTI_MPI_DATATYPE, real);
	return ckpti_mpi_attrs_copy((void *)type, (void *)*newtype);
}
CKPTI_MPI_WEAK(MPI_Type_dup)

int PMPI_Comm_free(MPI_Comm *comm)
{
	int ret = ckpti_mpi_attrs_delete((void *)*comm);
	struct ckpti_guest_thread *coll = ckpti_mpi_coll_begin(*comm, "MPI_Comm_free");
	MPI_Comm real = ckpti_mpi_real(*comm);

	/* Also where a user's function has failed: the others are in it. */
	(void)ckpti_mpi_recurring_tidy(*comm);
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_Comm_free, &real);
	*comm = ckpti_mpi_after(CKPTI_MPI_COMM, *comm, real);
	ckpti_mpi_coll_end(coll);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Comm_free)

int PMPI_Comm_disconnect(MPI_Comm *comm)
{
	int ret = ckpti_mpi_attrs_delete((void *)*comm);
	struct ckpti_guest_thread *coll = ckpti_mpi_coll_begin(*comm, "MPI_Comm_disconnect");
	MPI_Comm real = ckpti_mpi_real(*comm);

	/* Also where a user's function has failed: the others are in it. */
	(void)ckpti_mpi_recurring_tidy(*comm);
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_Comm_disconnect, &real);
	*comm = ckpti_mpi_after(CKPTI_MPI_COMM, *comm, real);
	ckpti_mpi_coll_end(coll);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Comm_disconnect)

/* A request that has not ended may have to be started again in a new life. */
static bool is_put_off(struct ckpti_mpi_handle *h)
{
	if (!h || h->predefined || !__atomic_load_n(&h->uses, __ATOMIC_SEQ_CST))
		return false;
	(void)__atomic_add_fetch(&h->frees, 1, __ATOMIC_SEQ_CST);
	return true;
}

static int type_end(MPI_Datatype *type)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = (void *)*type;
	MPI_Datatype real = ckpti_mpi_real(h);
	int ret = MPI_SUCCESS;

	if (is_put_off(h)) {
		*type = ckpti_mpi_null(CKPTI_MPI_DATATYPE);
	} else {
		ret = GUEST(MPI_Type_free, &real);
		*type = ckpti_mpi_after(CKPTI_MPI_DATATYPE, h, real);
	}
	ckpti_mpi_call_end(self);
	return ret;
}

int PMPI_Op_free(MPI_Op *op)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = (void *)*op;
	MPI_Op real = ckpti_mpi_real(h);
	int ret = MPI_SUCCESS;

	if (is_put_off(h)) {
		*op = ckpti_mpi_null(CKPTI_MPI_OP);
	} else {
		ret = GUEST(MPI_Op_free, &real);
		*op = ckpti_mpi_after(CKPTI_MPI_OP, h, real);
	}
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Op_free)

void ckpti_mpi_unused(struct ckpti_mpi_handle *h)
{
	int n = __atomic_exchange_n(&h->frees, 0, __ATOMIC_SEQ_CST);

	while (n--) {
		MPI_Datatype type = (MPI_Datatype)h;
		MPI_Op op = (MPI_Op)h;

		(void)(h->kind == CKPTI_MPI_OP ? PMPI_Op_free(&op) : type_end(&type));
	}
}

int PMPI_Type_free(MPI_Datatype *type)
{
	int ret = ckpti_mpi_attrs_delete((void *)*type);

	return ret == MPI_SUCCESS ? type_end(type) : ret;
}
CKPTI_MPI_WEAK(MPI_Type_free)

int PMPI_Win_free(MPI_Win *win)
{
	struct ckpti_mpi_handle *h = (void *)*win;
	int ret = ckpti_mpi_attrs_delete(h);
	struct ckpti_guest_thread *coll = ckpti_mpi_coll_begin(h, "MPI_Win_free");
	MPI_Win real = ckpti_mpi_real(h);

	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_Win_free, &real);
	if (ret == MPI_SUCCESS)
		ckpti_mpi_segment_free(h->segment);
	*win = ckpti_mpi_after(CKPTI_MPI_WIN, *win, real);
	ckpti_mpi_coll_end(coll);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_free)

/* ---- answers that need no crossing --------------------------------------------------------------- */

int PMPI_Comm_size(MPI_Comm comm, int *size)
{
	struct ckpti_mpi_handle *h = (void *)comm;
	int ret;

	if (h && h->size >= 0 && ckpti_mpi_running) {
		*size = h->size;
		return MPI_SUCCESS;
	}
	ret = GUEST(MPI_Comm_size, ckpti_mpi_real(comm), size);
	if (ret == MPI_SUCCESS)
		h->size = *size;
	return ret;
}
CKPTI_MPI_WEAK(MPI_Comm_size)

int PMPI_Comm_rank(MPI_Comm comm, int *rank)
{
	struct ckpti_mpi_handle *h = (void *)comm;
	int ret;

	if (h && h->rank >= 0 && ckpti_mpi_running) {
		*rank = h->rank;
		return MPI_SUCCESS;
	}
	ret = GUEST(MPI_Comm_rank, ckpti_mpi_real(comm), rank);
	if (ret == MPI_SUCCESS)
		h->rank = *rank;
	return ret;
}
CKPTI_MPI_WEAK(MPI_Comm_rank)

int PMPI_Type_size(MPI_Datatype type, int *size)
{
	struct ckpti_mpi_handle *h = (void *)type;
	int ret;

	if (h && h->size >= 0 && ckpti_mpi_running) {
		*size = h->size;
		return MPI_SUCCESS;
	}
	ret = GUEST(MPI_Type_size, ckpti_mpi_real(type), size);
	if (ret == MPI_SUCCESS)
		h->size = *size; /* MPI_UNDEFINED if it is too large: asked again */
	return ret;
}
CKPTI_MPI_WEAK(MPI_Type_size)

int PMPI_Get_count(const MPI_Status *status, MPI_Datatype type, int *count)
{
	const struct ckpti_mpi_handle *h = (void *)type;
	int ret, size;

	if (h && h->size > 0 && status->_ucount <= INT_MAX && ckpti_mpi_running) {
		int bytes = (int)status->_ucount;

		*count = bytes % h->size ? MPI_UNDEFINED : bytes / h->size;
		return MPI_SUCCESS;
	}
	ret = GUEST(MPI_Get_count, status, ckpti_mpi_real(type), count);
	if (ret == MPI_SUCCESS && h->size < 0)
		(void)PMPI_Type_size(type, &size);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Get_count)

/* ---- memory ---------------------------------------------------------------------------------- */

static void *memory_new(MPI_Aint size)
{
	void *p;

	return posix_memalign(&p, (size_t)sysconf(_SC_PAGESIZE), size > 0 ? (size_t)size : 1) == 0
		       ? p
		       : NULL;
}

int PMPI_Alloc_mem(MPI_Aint size, MPI_Info info, void *baseptr)
{
	void *p;

	(void)info;
	if (size < 0 || !baseptr)
		return MPI_ERR_ARG;
	p = size ? memory_new(size) : NULL;
	if (size && !p)
		return MPI_ERR_NO_MEM;
	*(void **)baseptr = p;
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Alloc_mem)

int PMPI_Free_mem(void *base)
{
	free(base);
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Free_mem)

int PMPI_Win_allocate(MPI_Aint size, int disp_unit, MPI_Info info, MPI_Comm comm, void *baseptr,
		      MPI_Win *win)
{
	void *memory = memory_new(size);
	struct ckpti_guest_thread *coll;
	struct ckpti_mpi_handle *h;
	MPI_Win real = NULL;
	int ret;

	if (!memory)
		return MPI_ERR_NO_MEM;
	coll = ckpti_mpi_coll_begin(comm, "MPI_Win_allocate");
	ret = GUEST(MPI_Win_create, memory, size, disp_unit, ckpti_mpi_real(info),
		    ckpti_mpi_real(comm), &real);
	if (ret == MPI_SUCCESS) {
		h = ckpti_mpi_out(CKPTI_MPI_WIN, real);
		h->memory = memory;
		*(void **)baseptr = memory;
		*win = (MPI_Win)h;
		ckpti_mpi_coll_made(comm, h);
	} else {
		free(memory);
	}
	ckpti_mpi_coll_end(coll);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_allocate)

/* ---- lengths that only MPI knows --------------------------------------------------------------- */

int ckpti_mpi_peers(MPI_Comm comm)
{
	int inter = 0, n = 0;

	(void)PMPI_Comm_test_inter(comm, &inter);
	if (inter)
		(void)PMPI_Comm_remote_size(comm, &n);
	else
		(void)PMPI_Comm_size(comm, &n);
	return n;
}

int ckpti_mpi_neighbors(MPI_Comm comm, bool out)
{
	int topology = MPI_UNDEFINED, n = 0, m = 0, weighted, rank;

	(void)PMPI_Topo_test(comm, &topology);
	if (topology == MPI_CART) {
		(void)PMPI_Cartdim_get(comm, &n);
		return 2 * n;
	}
	if (topology == MPI_GRAPH) {
		(void)PMPI_Comm_rank(comm, &rank);
		(void)PMPI_Graph_neighbors_count(comm, rank, &n);
		return n;
	}
	if (topology == MPI_DIST_GRAPH)
		(void)PMPI_Dist_graph_neighbors_count(comm, &n, &m, &weighted);
	return out ? m : n;
}

/* ---- MPI_T: a handle behind a pointer --------------------------------------------------------- */

int PMPI_T_cvar_handle_alloc(int cvar_index, void *obj_handle, MPI_T_cvar_handle *handle,
			     int *count)
{
	void *object = obj_handle ? ckpti_mpi_real(*(void **)obj_handle) : NULL;

	return GUEST(MPI_T_cvar_handle_alloc, cvar_index, obj_handle ? &object : NULL, handle,
		     count);
}
CKPTI_MPI_WEAK(MPI_T_cvar_handle_alloc)

int PMPI_T_pvar_handle_alloc(MPI_T_pvar_session session, int pvar_index, void *obj_handle,
			     MPI_T_pvar_handle *handle, int *count)
{
	void *object = obj_handle ? ckpti_mpi_real(*(void **)obj_handle) : NULL;

	return GUEST(MPI_T_pvar_handle_alloc, session, pvar_index, obj_handle ? &object : NULL,
		     handle, count);
}
CKPTI_MPI_WEAK(MPI_T_pvar_handle_alloc)
