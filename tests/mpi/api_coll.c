/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Collective calls: those that calls.c has not, non-blocking and persistent ones, and neighbours.
 * Prints what has come in.  Run under the real library and under the shim, the output is the same.
 */
#include "api.h"

#include <mpi-ext.h>
#include <string.h>

enum {
	MOST = 64
};

static int v[MOST], w[MOST], counts[8], places[8], ones[8], bytes[8];
static MPI_Aint far[8];
static MPI_Datatype types[8];

static void fill(int seed)
{
	for (int i = 0; i < MOST; i++) {
		v[i] = seed * 100 + i + rank * 10;
		w[i] = -1;
	}
}

static void wait_for(MPI_Request *r)
{
	MPI_Wait(r, MPI_STATUS_IGNORE);
}

static void blocking(void)
{
	fill(1);
	MPI_Allgather(v, 2, MPI_INT, w, 2, MPI_INT, world);
	show("allgather", w, 2 * size);
	fill(2);
	MPI_Alltoallv(v, counts, places, MPI_INT, w, (int[2]){rank + 1, rank + 1}, places, MPI_INT,
		      world);
	show("alltoallv", w, 5);
	fill(3);
	MPI_Gatherv(v, rank + 1, MPI_INT, w, counts, places, MPI_INT, 1, world);
	show("gatherv", w, 4);
	fill(4);
	MPI_Scatterv(v, counts, places, MPI_INT, w, 4, MPI_INT, 1, world);
	show("scatterv", w, 4);
	fill(5);
	MPI_Reduce_scatter(v, w, counts, MPI_INT, MPI_SUM, world);
	show("reduce_scatter", w, 3);
}

static void nonblocking(void)
{
	MPI_Request r;

	fill(11);
	MPI_Iallgather(v, 2, MPI_INT, w, 2, MPI_INT, world, &r);
	wait_for(&r);
	show("iallgather", w, 2 * size);
	fill(12);
	MPI_Iallgatherv(v, rank + 1, MPI_INT, w, counts, places, MPI_INT, world, &r);
	wait_for(&r);
	show("iallgatherv", w, 4);
	fill(13);
	MPI_Ialltoall(v, 1, MPI_INT, w, 1, MPI_INT, world, &r);
	wait_for(&r);
	show("ialltoall", w, size);
	fill(14);
	MPI_Ialltoallv(v, counts, places, MPI_INT, w, (int[2]){rank + 1, rank + 1}, places, MPI_INT,
		       world, &r);
	wait_for(&r);
	show("ialltoallv", w, 5);
	fill(15);
	MPI_Ibcast(v, 3, MPI_INT, 1, world, &r);
	wait_for(&r);
	show("ibcast", v, 3);
	fill(16);
	MPI_Iexscan(v, w, 2, MPI_INT, MPI_PROD, world, &r);
	wait_for(&r);
	show("iexscan", w, rank ? 2 : 0);
	fill(17);
	MPI_Igather(v, 2, MPI_INT, w, 2, MPI_INT, 1, world, &r);
	wait_for(&r);
	show("igather", w, 2 * size);
	fill(18);
	MPI_Igatherv(v, rank + 1, MPI_INT, w, counts, places, MPI_INT, 0, world, &r);
	wait_for(&r);
	show("igatherv", w, 4);
	fill(19);
	MPI_Ireduce(v, w, 3, MPI_INT, MPI_MIN, 1, world, &r);
	wait_for(&r);
	show("ireduce", w, 3);
	fill(20);
	MPI_Ireduce_scatter(v, w, counts, MPI_INT, MPI_MAX, world, &r);
	wait_for(&r);
	show("ireduce_scatter", w, 3);
	fill(21);
	MPI_Ireduce_scatter_block(v, w, 2, MPI_INT, MPI_SUM, world, &r);
	wait_for(&r);
	show("ireduce_scatter_block", w, 3);
	fill(22);
	MPI_Iscan(v, w, 2, MPI_INT, MPI_SUM, world, &r);
	wait_for(&r);
	show("iscan", w, 3);
	fill(23);
	MPI_Iscatter(v, 2, MPI_INT, w, 2, MPI_INT, 1, world, &r);
	wait_for(&r);
	show("iscatter", w, 3);
	fill(24);
	MPI_Iscatterv(v, counts, places, MPI_INT, w, 4, MPI_INT, 0, world, &r);
	wait_for(&r);
	show("iscatterv", w, 4);
}

/* Twice each, with other content. */
static void run(const char *what, MPI_Request *r, const int *result, int n)
{
	for (int i = 0; i < 2; i++) {
		fill(50 + i);
		if (i)
			MPI_Startall(1, r);
		else
			MPI_Start(r);
		wait_for(r);
		show(what, result, n);
	}
	MPI_Request_free(r);
	say("%s freed %d", what, *r == MPI_REQUEST_NULL);
}

static void persistent(void)
{
	int theirs[2] = {rank + 1, rank + 1};
	MPI_Info none = MPI_INFO_NULL;
	MPI_Request r;

	PERSISTENT(Allgather)(v, 2, MPI_INT, w, 2, MPI_INT, world, none, &r);
	run("allgather_init", &r, w, 2 * size);
	PERSISTENT(Allgatherv)(v, rank + 1, MPI_INT, w, counts, places, MPI_INT, world, none, &r);
	run("allgatherv_init", &r, w, 4);
	PERSISTENT(Allreduce)(v, w, 3, MPI_INT, MPI_SUM, world, none, &r);
	run("allreduce_init", &r, w, 4);
	PERSISTENT(Alltoall)(v, 1, MPI_INT, w, 1, MPI_INT, world, none, &r);
	run("alltoall_init", &r, w, 3);
	PERSISTENT(Alltoallv)
	(v, counts, places, MPI_INT, w, theirs, places, MPI_INT, world, none, &r);
	run("alltoallv_init", &r, w, 5);
	PERSISTENT(Alltoallw)(v, ones, bytes, types, w, ones, bytes, types, world, none, &r);
	run("alltoallw_init", &r, w, 3);
	PERSISTENT(Barrier)(world, none, &r);
	run("barrier_init", &r, w, 0);
	PERSISTENT(Bcast)(v, 3, MPI_INT, 1, world, none, &r);
	run("bcast_init", &r, v, 4);
	PERSISTENT(Exscan)(v, w, 2, MPI_INT, MPI_SUM, world, none, &r);
	run("exscan_init", &r, w, rank ? 3 : 0);
	PERSISTENT(Gather)(v, 2, MPI_INT, w, 2, MPI_INT, 1, world, none, &r);
	run("gather_init", &r, w, 5);
	PERSISTENT(Gatherv)(v, rank + 1, MPI_INT, w, counts, places, MPI_INT, 0, world, none, &r);
	run("gatherv_init", &r, w, 4);
	PERSISTENT(Reduce)(v, w, 2, MPI_INT, MPI_MAX, 1, world, none, &r);
	run("reduce_init", &r, w, 3);
	PERSISTENT(Reduce_scatter)(v, w, counts, MPI_INT, MPI_SUM, world, none, &r);
	run("reduce_scatter_init", &r, w, 3);
	PERSISTENT(Reduce_scatter_block)(v, w, 2, MPI_INT, MPI_SUM, world, none, &r);
	run("reduce_scatter_block_init", &r, w, 3);
	PERSISTENT(Scan)(v, w, 2, MPI_INT, MPI_SUM, world, none, &r);
	run("scan_init", &r, w, 3);
	PERSISTENT(Scatter)(v, 2, MPI_INT, w, 2, MPI_INT, 0, world, none, &r);
	run("scatter_init", &r, w, 3);
	PERSISTENT(Scatterv)(v, counts, places, MPI_INT, w, 4, MPI_INT, 1, world, none, &r);
	run("scatterv_init", &r, w, 4);
}

static void neighbors(void)
{
	/* Of a ring of two, each is the other's neighbour on both sides. */
	int dims[1] = {size}, periods[1] = {1}, two[2] = {2, 2}, at[2] = {0, 3};
	MPI_Info none = MPI_INFO_NULL;
	MPI_Request r;
	MPI_Comm ring;

	MPI_Cart_create(world, 1, dims, periods, 0, &ring);
	fill(60);
	MPI_Neighbor_allgatherv(v, 2, MPI_INT, w, two, at, MPI_INT, ring);
	show("neighbor_allgatherv", w, 6);
	fill(61);
	MPI_Neighbor_alltoall(v, 2, MPI_INT, w, 2, MPI_INT, ring);
	show("neighbor_alltoall", w, 5);
	fill(62);
	MPI_Neighbor_alltoallv(v, two, at, MPI_INT, w, two, at, MPI_INT, ring);
	show("neighbor_alltoallv", w, 6);
	fill(63);
	MPI_Ineighbor_allgather(v, 2, MPI_INT, w, 2, MPI_INT, ring, &r);
	wait_for(&r);
	show("ineighbor_allgather", w, 5);
	fill(64);
	MPI_Ineighbor_allgatherv(v, 2, MPI_INT, w, two, at, MPI_INT, ring, &r);
	wait_for(&r);
	show("ineighbor_allgatherv", w, 6);
	fill(65);
	MPI_Ineighbor_alltoall(v, 2, MPI_INT, w, 2, MPI_INT, ring, &r);
	wait_for(&r);
	show("ineighbor_alltoall", w, 5);
	fill(66);
	MPI_Ineighbor_alltoallv(v, two, at, MPI_INT, w, two, at, MPI_INT, ring, &r);
	wait_for(&r);
	show("ineighbor_alltoallv", w, 6);
	fill(67);
	MPI_Ineighbor_alltoallw(v, two, far, types, w, two, far, types, ring, &r);
	wait_for(&r);
	show("ineighbor_alltoallw", w, 6);
	PERSISTENT(Neighbor_allgather)(v, 2, MPI_INT, w, 2, MPI_INT, ring, none, &r);
	run("neighbor_allgather_init", &r, w, 5);
	PERSISTENT(Neighbor_allgatherv)(v, 2, MPI_INT, w, two, at, MPI_INT, ring, none, &r);
	run("neighbor_allgatherv_init", &r, w, 6);
	PERSISTENT(Neighbor_alltoall)(v, 2, MPI_INT, w, 2, MPI_INT, ring, none, &r);
	run("neighbor_alltoall_init", &r, w, 5);
	PERSISTENT(Neighbor_alltoallv)(v, two, at, MPI_INT, w, two, at, MPI_INT, ring, none, &r);
	run("neighbor_alltoallv_init", &r, w, 6);
	PERSISTENT(Neighbor_alltoallw)(v, two, far, types, w, two, far, types, ring, none, &r);
	run("neighbor_alltoallw_init", &r, w, 6);
	MPI_Comm_free(&ring);
}

int main(int argc, char **argv)
{
	api_begin(&argc, &argv);
	for (int i = 0; i < size; i++) {
		counts[i] = i + 1;
		places[i] = 2 * i;
		ones[i] = 1;
		bytes[i] = 8 * i;
		far[i] = 8 * i;
		types[i] = MPI_INT;
	}
	blocking();
	nonblocking();
	persistent();
	neighbors();
	say("CUDA %d", MPIX_Query_cuda_support());
	MPI_Finalize();
	return 0;
}
