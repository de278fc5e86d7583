/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects of every kind are made; then the ranks wait for a file "go" between two barriers, where they
 * are checkpointed, killed and restarted under another launch.  Whatever the objects did before they
 * must do after: membership, order of ranks, topology, layout, names, attributes, error handlers.
 * Any even number of ranks from 2 on.
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pause.h"

/* ---- communicators -------------------------------------------------------------------------------- */

static MPI_Comm copy, reversed, halves, evens, grouped, cart, graph, adjacent, inter, freed_parent,
	renamed;
static int key = MPI_KEYVAL_INVALID;
static int value = 4711, times_called;
static MPI_Fint copy_number;

static void on_error(MPI_Comm *comm, int *code, ...)
{
	(void)comm;
	(void)code;
	times_called++;
}

static void make_comms(void)
{
	int dims[2] = {size / 2, 2}, periods[2] = {1, 0}, all[64], edges[64], index[64];
	int left = (rank + size - 1) % size, right = (rank + 1) % size, weight[1] = {7 + rank};
	MPI_Errhandler handler;
	MPI_Group world, group;
	MPI_Comm parent;

	MPI_Comm_dup(MPI_COMM_WORLD, &copy);
	copy_number = MPI_Comm_c2f(copy);
	MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, MPI_COMM_NULL_DELETE_FN, &key, NULL);
	MPI_Comm_set_attr(copy, key, &value);
	MPI_Comm_create_errhandler(on_error, &handler);
	MPI_Comm_set_errhandler(copy, handler);
	MPI_Errhandler_free(&handler);
	MPI_Comm_split(MPI_COMM_WORLD, 0, size - rank, &reversed);
	MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &halves);
	MPI_Comm_split(MPI_COMM_WORLD, rank % 2 ? MPI_UNDEFINED : 0, rank, &evens);
	MPI_Comm_group(MPI_COMM_WORLD, &world);
	for (int i = 0; i < size / 2; i++)
		all[i] = i;
	MPI_Group_incl(world, size / 2, all, &group);
	MPI_Comm_create(MPI_COMM_WORLD, group, &grouped);
	MPI_Group_free(&group);
	MPI_Group_free(&world);
	MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &cart);
	for (int i = 0; i < size; i++) {
		index[i] = i + 1;
		edges[i] = (i + 1) % size;
	}
	MPI_Graph_create(MPI_COMM_WORLD, size, index, edges, 0, &graph);
	MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 1, &left, weight, 1, &right, weight,
				       MPI_INFO_NULL, 0, &adjacent);
	MPI_Intercomm_create(halves, 0, MPI_COMM_WORLD, rank % 2 ? 0 : 1, 99, &inter);
	/* One whose parent is gone; many that are gone. */
	MPI_Comm_dup(reversed, &parent);
	MPI_Comm_dup(parent, &freed_parent);
	MPI_Comm_free(&parent);
	for (int i = 0; i < 20; i++) {
		MPI_Comm_dup(halves, &parent);
		MPI_Comm_free(&parent);
	}
	MPI_Comm_dup(MPI_COMM_SELF, &renamed);
	MPI_Comm_set_name(renamed, "a name of its own");
	MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
}

static int sum_over(MPI_Comm comm, int mine)
{
	int sum = -1;

	CHECK(MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, comm) == MPI_SUCCESS);
	return sum;
}

static void check_comms(void)
{
	int n, r, flag, result, coords[2], dims[2], periods[2], near[2], weights[2], *found;
	char name[MPI_MAX_OBJECT_NAME];

	MPI_Comm_compare(MPI_COMM_WORLD, copy, &result);
	CHECK(result == MPI_CONGRUENT && MPI_Comm_f2c(copy_number) == copy);
	CHECK(sum_over(copy, rank) == size * (size - 1) / 2);
	MPI_Comm_get_attr(copy, key, &found, &flag);
	CHECK(flag && found == &value);
	MPI_Comm_call_errhandler(copy, MPI_ERR_OTHER);
	CHECK(times_called == 1);
	CHECK(MPI_Send(&n, 1, MPI_INT, size + 5, 0, MPI_COMM_WORLD) != MPI_SUCCESS);
	MPI_Comm_rank(reversed, &r);
	CHECK(r == size - 1 - rank);
	n = r;
	MPI_Bcast(&n, 1, MPI_INT, 0, reversed);
	CHECK(n == 0);
	MPI_Sendrecv(&rank, 1, MPI_INT, (r + 1) % size, 5, &n, 1, MPI_INT, (r + size - 1) % size, 5,
		     reversed, MPI_STATUS_IGNORE);
	CHECK(n == (rank + 1) % size);
	MPI_Comm_size(halves, &n);
	CHECK(n == size / 2 && sum_over(halves, 1) == size / 2);
	CHECK((evens == MPI_COMM_NULL) == (rank % 2));
	if (evens != MPI_COMM_NULL)
		CHECK(sum_over(evens, 1) == size / 2);
	CHECK((grouped == MPI_COMM_NULL) == (rank >= size / 2));
	if (grouped != MPI_COMM_NULL)
		CHECK(sum_over(grouped, 2) == size);
	MPI_Cart_get(cart, 2, dims, periods, coords);
	CHECK(dims[0] == size / 2 && dims[1] == 2 && periods[0] == 1 && periods[1] == 0);
	CHECK(coords[0] == rank / 2 && coords[1] == rank % 2 && sum_over(cart, 1) == size);
	MPI_Graph_neighbors(graph, rank, 1, near);
	CHECK(near[0] == (rank + 1) % size && sum_over(graph, 1) == size);
	MPI_Dist_graph_neighbors(adjacent, 1, near, weights, 1, near + 1, weights + 1);
	CHECK(near[0] == (rank + size - 1) % size && near[1] == (rank + 1) % size);
	CHECK(weights[0] == 7 + rank && weights[1] == 7 + rank);
	MPI_Neighbor_alltoall(&rank, 1, MPI_INT, &n, 1, MPI_INT, adjacent);
	CHECK(n == (rank + size - 1) % size);
	MPI_Comm_remote_size(inter, &n);
	CHECK(n == size / 2);
	MPI_Comm_rank(inter, &r);
	MPI_Sendrecv(&rank, 1, MPI_INT, r, 6, &n, 1, MPI_INT, r, 6, inter, MPI_STATUS_IGNORE);
	CHECK(n == (rank ^ 1));
	MPI_Comm_rank(freed_parent, &r);
	CHECK(r == size - 1 - rank && sum_over(freed_parent, 1) == size);
	MPI_Comm_get_name(renamed, name, &n);
	CHECK(strcmp(name, "a name of its own") == 0);
}

/* ---- groups, operations, infos -------------------------------------------------------------------- */

static MPI_Group odd_group, empty_group;
static MPI_Op swapped;
static MPI_Info info;
static MPI_Errhandler kept;

/* 2x2 matrices do not commute. */
static void multiply(void *in, void *inout, int *len, MPI_Datatype *type)
{
	const long *a = in;
	long *b = inout, c[4];

	(void)len;
	(void)type;
	c[0] = a[0] * b[0] + a[1] * b[2];
	c[1] = a[0] * b[1] + a[1] * b[3];
	c[2] = a[2] * b[0] + a[3] * b[2];
	c[3] = a[2] * b[1] + a[3] * b[3];
	memcpy(b, c, sizeof(c));
}

static MPI_Datatype matrix;

static void make_others(void)
{
	MPI_Group world;
	int list[64], n = 0;

	MPI_Comm_group(MPI_COMM_WORLD, &world);
	for (int i = size - 1; i >= 0; i--)
		if (i % 2)
			list[n++] = i;
	MPI_Group_incl(world, n, list, &odd_group);
	MPI_Group_incl(world, 0, list, &empty_group);
	MPI_Group_free(&world);
	MPI_Type_contiguous(4, MPI_LONG, &matrix);
	MPI_Type_commit(&matrix);
	MPI_Op_create(multiply, 0, &swapped);
	MPI_Info_create(&info);
	MPI_Info_set(info, "a key", "a value = with signs");
	MPI_Info_set(info, "another", "x");
	MPI_Comm_create_errhandler(on_error, &kept);
}

static void check_others(void)
{
	long mine[4] = {1, rank + 1, 0, 1}, all[4];
	int n, flag, is[1] = {0}, world_rank[1];
	MPI_Group world;
	char text[64];

	MPI_Group_size(odd_group, &n);
	CHECK(n == size / 2);
	MPI_Comm_group(MPI_COMM_WORLD, &world);
	MPI_Group_translate_ranks(odd_group, 1, is, world, world_rank);
	CHECK(world_rank[0] == size - 1);
	MPI_Group_free(&world);
	MPI_Group_size(empty_group, &n);
	CHECK(n == 0);
	MPI_Allreduce(mine, all, 1, matrix, swapped, MPI_COMM_WORLD);
	CHECK(all[0] == 1 && all[1] == size * (size + 1) / 2 && all[2] == 0 && all[3] == 1);
	MPI_Op_commutative(swapped, &flag);
	CHECK(!flag);
	MPI_Info_get_nkeys(info, &n);
	MPI_Info_get(info, "a key", 60, text, &flag);
	CHECK(n == 2 && flag && strcmp(text, "a value = with signs") == 0);
	MPI_Comm_set_errhandler(renamed, kept);
	MPI_Comm_call_errhandler(renamed, MPI_ERR_OTHER);
	CHECK(times_called == 2);
}

/* ---- datatypes -------------------------------------------------------------------------------------- */

enum {
	TYPES = 13
};
static MPI_Datatype types[TYPES];
static int type_key = MPI_KEYVAL_INVALID;
static unsigned char packed_before[TYPES][4096];
static int packed_size[TYPES];

static void pack(int i, unsigned char *to, int *ret_size)
{
	static unsigned char data[4096];

	for (size_t k = 0; k < sizeof(data); k++)
		data[k] = (unsigned char)(k * 31 + (k >> 8));
	*ret_size = 0;
	memset(to, 0, 4096);
	MPI_Pack(data, 1, types[i], to, 4096, ret_size, MPI_COMM_SELF);
}

static void make_types(void)
{
	int lengths[3] = {1, 2, 3}, places[3] = {0, 4, 9};
	int sizes[2] = {8, 8}, sub[2] = {3, 4}, start[2] = {2, 1};
	int distribs[2] = {MPI_DISTRIBUTE_CYCLIC, MPI_DISTRIBUTE_BLOCK};
	int args[2] = {2, MPI_DISTRIBUTE_DFLT_DARG}, grid[2] = {2, 1};
	MPI_Aint at[3] = {0, 40, 100};
	MPI_Datatype inner, kinds[3];
	int n = 0;

	MPI_Type_contiguous(5, MPI_SHORT, &types[n++]);
	MPI_Type_vector(3, 2, 4, MPI_INT, &types[n++]);
	MPI_Type_create_hvector(3, 2, 33, types[0], &types[n++]);
	MPI_Type_indexed(3, lengths, places, MPI_DOUBLE, &types[n++]);
	MPI_Type_create_hindexed(3, lengths, at, MPI_FLOAT, &types[n++]);
	MPI_Type_create_indexed_block(3, 2, places, MPI_INT, &types[n++]);
	MPI_Type_create_hindexed_block(3, 2, at, MPI_INT, &types[n++]);
	/* Made from types that are freed, one of them made from such a one itself. */
	MPI_Type_vector(2, 1, 3, MPI_CHAR, &inner);
	MPI_Type_create_resized(inner, 0, 16, &kinds[0]);
	MPI_Type_free(&inner);
	kinds[1] = types[1];
	kinds[2] = MPI_BYTE;
	MPI_Type_create_struct(3, lengths, at, kinds, &types[n++]);
	MPI_Type_free(&kinds[0]);
	MPI_Type_create_subarray(2, sizes, sub, start, MPI_ORDER_FORTRAN, MPI_INT, &types[n++]);
	MPI_Type_create_darray(2, rank % 2, 2, sizes, distribs, args, grid, MPI_ORDER_C, MPI_INT,
			       &types[n++]);
	MPI_Type_create_resized(types[3], -8, 256, &types[n++]);
	MPI_Type_dup(types[7], &types[n++]);
	MPI_Type_create_f90_real(10, MPI_UNDEFINED, &types[n++]);
	CHECK(n == TYPES);
	for (int i = 0; i < TYPES - 1; i++)
		MPI_Type_commit(&types[i]);
	MPI_Type_create_keyval(MPI_TYPE_DUP_FN, MPI_TYPE_NULL_DELETE_FN, &type_key, NULL);
	MPI_Type_set_attr(types[1], type_key, &value);
	MPI_Type_set_name(types[1], "pairs");
	for (int i = 0; i < TYPES; i++)
		pack(i, packed_before[i], &packed_size[i]);
}

static void check_types(void)
{
	unsigned char now[4096], name[MPI_MAX_OBJECT_NAME];
	MPI_Aint lb, extent;
	int n, flag, *found;

	for (int i = 0; i < TYPES; i++) {
		pack(i, now, &n);
		CHECK(n == packed_size[i] && n > 0 && memcmp(now, packed_before[i], 4096) == 0);
	}
	MPI_Type_get_extent(types[10], &lb, &extent);
	CHECK(lb == -8 && extent == 256);
	MPI_Type_get_attr(types[1], type_key, &found, &flag);
	CHECK(flag && found == &value);
	MPI_Type_get_name(types[1], (char *)name, &n);
	CHECK(strcmp((char *)name, "pairs") == 0);
	MPI_Sendrecv(packed_before[1], 1, types[1], (rank + 1) % size, 8, now, 1, types[1],
		     (rank + size - 1) % size, 8, copy, MPI_STATUS_IGNORE);
	CHECK(now[0] == packed_before[1][0]);
}

/* ---- windows and files -------------------------------------------------------------------------------- */

static MPI_Win plain_win, own_win, dynamic_win;
static long plain_memory[8], dynamic_memory[4], *own_memory;
static MPI_Aint their_place;
static MPI_File file;
static MPI_Offset place;

static void make_windows(void)
{
	MPI_Aint mine;

	MPI_Win_create(plain_memory, sizeof(plain_memory), sizeof(long), MPI_INFO_NULL,
		       MPI_COMM_WORLD, &plain_win);
	MPI_Win_set_name(plain_win, "plain");
	MPI_Win_allocate(8 * sizeof(long), sizeof(long), MPI_INFO_NULL, reversed, &own_memory,
			 &own_win);
	MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &dynamic_win);
	MPI_Win_attach(dynamic_win, dynamic_memory, sizeof(dynamic_memory));
	MPI_Get_address(dynamic_memory, &mine);
	MPI_Sendrecv(&mine, 1, MPI_AINT, (rank + size - 1) % size, 9, &their_place, 1, MPI_AINT,
		     (rank + 1) % size, 9, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	for (int i = 0; i < 8; i++)
		own_memory[i] = 100 * rank + i;
	MPI_Win_fence(0, plain_win);
	MPI_Win_lock_all(0, own_win);
}

static void check_windows(void)
{
	int other = (rank + 1) % size, *flavor, flag, len;
	long word = 1000 + rank, got = -1;
	char name[MPI_MAX_OBJECT_NAME];

	/* The epochs that were open are open. */
	CHECK(MPI_Put(&word, 1, MPI_LONG, other, 3, 1, MPI_LONG, plain_win) == MPI_SUCCESS);
	MPI_Win_fence(0, plain_win);
	CHECK(plain_memory[3] == 1000 + (rank + size - 1) % size);
	CHECK(MPI_Get(&got, 1, MPI_LONG, size - 1 - other, 5, 1, MPI_LONG, own_win) == MPI_SUCCESS);
	MPI_Win_flush(size - 1 - other, own_win);
	CHECK(got == 100 * other + 5);
	MPI_Win_unlock_all(own_win);
	MPI_Win_get_attr(own_win, MPI_WIN_CREATE_FLAVOR, &flavor, &flag);
	CHECK(flag && *flavor == MPI_WIN_FLAVOR_ALLOCATE);
	MPI_Win_get_name(plain_win, name, &len);
	CHECK(strcmp(name, "plain") == 0);
	MPI_Win_lock(MPI_LOCK_SHARED, other, 0, dynamic_win);
	MPI_Put(&word, 1, MPI_LONG, other, their_place, 1, MPI_LONG, dynamic_win);
	MPI_Win_unlock(other, dynamic_win);
	MPI_Barrier(MPI_COMM_WORLD);
	CHECK(dynamic_memory[0] == 1000 + (rank + size - 1) % size);
	MPI_Win_fence(MPI_MODE_NOSUCCEED, plain_win);
	MPI_Win_free(&plain_win);
	MPI_Win_free(&own_win);
	MPI_Win_detach(dynamic_win, dynamic_memory);
	MPI_Win_free(&dynamic_win);
}

static void make_file(void)
{
	MPI_Datatype stripe;
	int line[4] = {rank, rank, rank, rank};

	MPI_File_open(MPI_COMM_WORLD, "mpi.file", MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_EXCL,
		      MPI_INFO_NULL, &file);
	MPI_Type_vector(100, 1, size, MPI_INT, &stripe);
	MPI_Type_commit(&stripe);
	MPI_File_set_view(file, (MPI_Offset)sizeof(int) * rank, MPI_INT, stripe, "native",
			  MPI_INFO_NULL);
	MPI_Type_free(&stripe);
	CHECK(MPI_File_write_all(file, line, 4, MPI_INT, MPI_STATUS_IGNORE) == MPI_SUCCESS);
	MPI_File_get_position(file, &place);
	CHECK(place == 4);
}

static void check_file(void)
{
	int line[8] = {-1}, next[4] = {-rank, -rank, -rank, -rank};
	MPI_Offset now;

	MPI_File_get_position(file, &now);
	CHECK(now == place);
	CHECK(MPI_File_write_all(file, next, 4, MPI_INT, MPI_STATUS_IGNORE) == MPI_SUCCESS);
	CHECK(MPI_File_read_at_all(file, 0, line, 8, MPI_INT, MPI_STATUS_IGNORE) == MPI_SUCCESS);
	for (int i = 0; i < 8; i++)
		CHECK(line[i] == (i < 4 ? rank : -rank));
	/* The others may not have written theirs yet. */
	MPI_File_sync(file);
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_File_get_size(file, &now);
	CHECK(now == (MPI_Offset)sizeof(int) * 8 * size);
	MPI_File_close(&file);
}

int main(int argc, char **argv)
{
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	CHECK(size % 2 == 0 && size <= 64);
	make_comms();
	make_others();
	make_types();
	make_windows();
	make_file();
	pause_for("go");
	check_comms();
	check_others();
	check_types();
	check_windows();
	check_file();
	printf("passed %d\n", rank);
	MPI_Finalize();
	return 0;
}
