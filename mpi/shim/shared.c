/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * MPI_Win_allocate_shared: the memory is ours (segment.h), and the guest has a window over this rank's
 * part of it as over any memory of the application.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "shim/remake.h"
#include "shim/segment.h"
#include "shim/shim.h"

#define MEET_MS 20000

/* What the first rank decides for all. */
struct decision {
	uint64_t name[2];
	int pages;
};

struct request {
	MPI_Aint size;
	int unit, pad;
};

static int complain(MPI_Comm comm, int class)
{
	(void)GUEST(MPI_Comm_call_errhandler, comm, class);
	return class;
}

/* Of the guest's communicator. */
static bool on_one_node(MPI_Comm comm, int n)
{
	MPI_Comm near = NULL;
	int there = 0;

	if (GUEST(MPI_Comm_split_type, comm, MPI_COMM_TYPE_SHARED, 0, ckpti_mpi_real(MPI_INFO_NULL),
		  &near) != MPI_SUCCESS)
		return false;
	(void)GUEST(MPI_Comm_size, near, &there);
	(void)GUEST(MPI_Comm_free, &near);
	return there == n;
}

static bool wants_pages(MPI_Info info)
{
	char value[8] = "";
	int flag = 0;

	if (info != ckpti_mpi_real(MPI_INFO_NULL))
		(void)GUEST(MPI_Info_get, info, "alloc_shared_noncontig", (int)sizeof(value) - 1,
			    value, &flag);
	return flag && strcmp(value, "true") == 0;
}

/* Sizes of all ranks; a name and a layout that all agree on. */
static int agree(struct ckpti_mpi_segment *s, MPI_Comm comm, MPI_Info info,
		 const struct request *mine)
{
	struct request *each = calloc((size_t)s->n, sizeof(*each));
	MPI_Datatype byte = ckpti_mpi_real(MPI_BYTE);
	struct decision d = {.pages = wants_pages(info)};
	int ret = MPI_ERR_NO_MEM;

	if (!each)
		return ret;
	if (s->rank == 0 && getrandom(d.name, sizeof(d.name), 0) != (ssize_t)sizeof(d.name))
		ckpti_mpi_fatal("no random number for a shared window");
	ret = GUEST(MPI_Allgather, mine, (int)sizeof(*mine), byte, each, (int)sizeof(*mine), byte,
		    comm);
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_Bcast, &d, (int)sizeof(d), byte, 0, comm);
	memcpy(s->name, d.name, sizeof(s->name));
	for (int i = 0; ret == MPI_SUCCESS && i < s->n; i++) {
		s->part[i].size = (size_t)each[i].size;
		s->part[i].unit = each[i].unit;
		if (each[i].size < 0)
			ret = MPI_ERR_SIZE;
	}
	free(each);
	ckpti_mpi_segment_lay_out(s, d.pages);
	return ret;
}

static int make(struct ckpti_mpi_segment *s, MPI_Comm comm, MPI_Info info,
		const struct request *mine, MPI_Win *ret_win)
{
	struct ckpti_err err = {0};
	int ok, all = 0, ret;
	MPI_Op min = ckpti_mpi_real(MPI_MIN);
	MPI_Datatype type = ckpti_mpi_real(MPI_INT);

	if (!on_one_node(comm, s->n))
		return MPI_ERR_RMA_SHARED;
	ret = agree(s, comm, info, mine);
	if (ret != MPI_SUCCESS)
		return ret;
	ok = ckpti_mpi_segment_map(s, MEET_MS, &err) == 0;
	ret = GUEST(MPI_Allreduce, &ok, &all, 1, type, min, comm);
	if (ret != MPI_SUCCESS || !all)
		return ret != MPI_SUCCESS ? ret : MPI_ERR_RMA_SHARED;
	return GUEST(MPI_Win_create, s->base + s->part[s->rank].at, mine->size, mine->unit, info,
		     comm, ret_win);
}

int PMPI_Win_allocate_shared(MPI_Aint size, int disp_unit, MPI_Info info, MPI_Comm comm,
			     void *baseptr, MPI_Win *win)
{
	struct ckpti_guest_thread *coll = ckpti_mpi_coll_begin(comm, "MPI_Win_allocate_shared");
	const struct request mine = {.size = size, .unit = disp_unit};
	MPI_Comm g_comm = ckpti_mpi_real(comm);
	struct ckpti_mpi_segment *s = NULL;
	struct ckpti_mpi_handle *h;
	MPI_Win real = NULL;
	int rank = 0, n = 0, ret;

	ret = GUEST(MPI_Comm_rank, g_comm, &rank);
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_Comm_size, g_comm, &n);
	if (ret == MPI_SUCCESS) {
		s = ckpti_mpi_segment_new(rank, n);
		if (!s)
			ckpti_mpi_fatal("no memory for a shared window");
		ret = make(s, g_comm, ckpti_mpi_real(info), &mine, &real);
		if (ret != MPI_SUCCESS)
			(void)complain(g_comm, ret);
	}
	if (ret == MPI_SUCCESS) {
		h = ckpti_mpi_out(CKPTI_MPI_WIN, real);
		h->segment = s;
		*(void **)baseptr = s->base + s->part[rank].at;
		*win = (MPI_Win)h;
		ckpti_mpi_coll_made(comm, h);
	} else {
		ckpti_mpi_segment_free(s);
	}
	ckpti_mpi_coll_end(coll);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Win_allocate_shared)

int PMPI_Win_shared_query(MPI_Win win, int rank, MPI_Aint *size, int *disp_unit, void *baseptr)
{
	struct ckpti_mpi_handle *h = (void *)win;
	const struct ckpti_mpi_segment *s = h && h->kind == CKPTI_MPI_WIN ? h->segment : NULL;
	const struct ckpti_mpi_part *p;

	/* The guest complains. */
	if (!s || (rank != MPI_PROC_NULL && (rank < 0 || rank >= s->n)))
		return GUEST(MPI_Win_shared_query, ckpti_mpi_real(win), rank, size, disp_unit,
			     baseptr);
	/* The first part that is not empty. */
	for (int i = 0; rank == MPI_PROC_NULL && i < s->n; i++)
		if (s->part[i].size)
			rank = i;
	p = rank == MPI_PROC_NULL ? NULL : &s->part[rank];
	*size = p ? (MPI_Aint)p->size : 0;
	*disp_unit = p ? p->unit : 0;
	*(void **)baseptr = p ? s->base + p->at : NULL;
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Win_shared_query)
