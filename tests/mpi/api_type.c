/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Every constructor of datatypes, the old names too, and what can be asked of them; packing; attributes
 * of datatypes.  Run under the real library and under the shim, the output is the same.
 */
#include "api.h"

#include <stdint.h>
#include <string.h>

/* The layout itself: where the bytes of one element come from. */
static void look(const char *what, MPI_Datatype type)
{
	static unsigned char memory[512], packed[512];
	unsigned int sum = 0, n = 0;
	MPI_Aint lb, extent, true_lb, true_extent;
	MPI_Count xlb, xextent, xsize;
	int bytes, at = 0;

	for (size_t i = 0; i < sizeof(memory); i++)
		memory[i] = (unsigned char)(i * 7 + i / 256);
	MPI_Type_commit(&type);
	MPI_Type_size(type, &bytes);
	MPI_Type_size_x(type, &xsize);
	MPI_Type_get_extent(type, &lb, &extent);
	MPI_Type_get_extent_x(type, &xlb, &xextent);
	say("%s: size %d %d, from %ld extent %ld, %d %d", what, bytes, xsize == bytes, (long)lb,
	    (long)extent, xlb == lb, xextent == extent);
	MPI_Type_get_true_extent(type, &true_lb, &true_extent);
	MPI_Type_get_true_extent_x(type, &xlb, &xextent);
	say("%s: true from %ld extent %ld, %d %d", what, (long)true_lb, (long)true_extent,
	    xlb == true_lb, xextent == true_extent);
	MPI_Pack(memory - (true_lb < 0 ? true_lb : 0), 1, type, packed, sizeof(packed), &at,
		 MPI_COMM_SELF);
	for (int i = 0; i < at; i++) {
		sum = sum * 31 + packed[i];
		n++;
	}
	say("%s: %u bytes, sum %u", what, n, sum);
	MPI_Type_free(&type);
}

static void constructors(void)
{
	int lengths[3] = {1, 2, 3}, places[3] = {0, 4, 9};
	int sizes[2] = {6, 6}, sub[2] = {3, 4}, start[2] = {2, 1}, grid[2] = {2, 1};
	int distribs[2] = {MPI_DISTRIBUTE_CYCLIC, MPI_DISTRIBUTE_BLOCK};
	int args[2] = {2, MPI_DISTRIBUTE_DFLT_DARG};
	MPI_Aint at[3] = {0, 40, 100};
	MPI_Datatype t;

	MPI_Type_contiguous(5, MPI_SHORT, &t);
	look("contiguous", t);
	MPI_Type_create_hvector(3, 2, 33, MPI_INT, &t);
	look("hvector", t);
	MPI_Type_indexed(3, lengths, places, MPI_DOUBLE, &t);
	look("indexed", t);
	MPI_Type_create_hindexed(3, lengths, at, MPI_FLOAT, &t);
	look("hindexed", t);
	MPI_Type_create_indexed_block(3, 2, places, MPI_INT, &t);
	look("indexed_block", t);
	MPI_Type_create_hindexed_block(3, 2, at, MPI_INT, &t);
	look("hindexed_block", t);
	MPI_Type_create_subarray(2, sizes, sub, start, MPI_ORDER_FORTRAN, MPI_INT, &t);
	look("subarray", t);
	MPI_Type_create_darray(2, rank % 2, 2, sizes, distribs, args, grid, MPI_ORDER_C, MPI_INT,
			       &t);
	look("darray", t);
	MPI_Type_create_f90_real(10, MPI_UNDEFINED, &t);
	MPI_Type_size(t, &sizes[0]);
	MPI_Type_create_f90_integer(5, &t);
	MPI_Type_size(t, &sizes[1]);
	show("f90", sizes, 2);
	MPI_Type_create_f90_complex(10, MPI_UNDEFINED, &t);
	MPI_Type_size(t, &sizes[0]);
	show("f90 complex", sizes, 1);
}

/* Removed by MPI-3. */
static void old_names(void)
{
	int lengths[2] = {1, 2}, word;
	MPI_Aint at[2] = {0, 16}, a, b;
	MPI_Datatype types[2] = {MPI_INT, MPI_DOUBLE}, t;

	MPI_Address(&word, &a);
	MPI_Get_address(&word, &b);
	say("address %d %d", a == b, (void *)a == (void *)&word);
	MPI_Type_hindexed(2, lengths, at, MPI_FLOAT, &t);
	look("old hindexed", t);
	MPI_Type_hvector(3, 2, 33, MPI_INT, &t);
	look("old hvector", t);
	MPI_Type_struct(2, lengths, at, types, &t);
	MPI_Type_extent(t, &a);
	MPI_Type_lb(t, &b);
	say("extent %ld, lower %ld", (long)a, (long)b);
	MPI_Type_ub(t, &b);
	say("upper %ld", (long)b);
	look("old struct", t);
}

static void packing(void)
{
	int in[3] = {1, -2, rank}, out[3] = {0};
	char buffer[64];
	MPI_Aint place = 0, bytes;
	MPI_Count xn;
	MPI_Status status;

	MPI_Pack_external_size("external32", 3, MPI_INT, &bytes);
	MPI_Pack_external("external32", in, 3, MPI_INT, buffer, sizeof(buffer), &place);
	say("external %ld %ld, first bytes %d %d", (long)bytes, (long)place, buffer[0], buffer[3]);
	place = 0;
	MPI_Unpack_external("external32", buffer, sizeof(buffer), &place, out, 3, MPI_INT);
	show("unpacked", out, 3);
	memset(&status, 0, sizeof(status));
	MPI_Status_set_elements_x(&status, MPI_INT, 12);
	MPI_Get_elements_x(&status, MPI_INT, &xn);
	say("elements %ld", (long)xn);
}

static int copied, deleted;

static int copy_attr(MPI_Datatype type, int key, void *extra, void *in, void *out, int *flag)
{
	(void)type;
	(void)key;
	copied++;
	*(void **)out = (char *)in + (intptr_t)extra;
	*flag = 1;
	return MPI_SUCCESS;
}

static int delete_attr(MPI_Datatype type, int key, void *value, void *extra)
{
	(void)type;
	(void)key;
	(void)value;
	(void)extra;
	deleted++;
	return MPI_SUCCESS;
}

static void attributes(void)
{
	MPI_Datatype t, dup;
	void *value = NULL;
	int key, flag;

	MPI_Type_contiguous(2, MPI_INT, &t);
	MPI_Type_create_keyval(copy_attr, delete_attr, &key, (void *)5);
	MPI_Type_set_attr(t, key, (void *)10);
	MPI_Type_dup(t, &dup);
	MPI_Type_get_attr(dup, key, &value, &flag);
	say("attribute %d %ld", flag, (long)value);
	MPI_Type_delete_attr(t, key);
	MPI_Type_get_attr(t, key, &value, &flag);
	say("deleted %d", flag);
	MPI_Type_free(&dup);
	MPI_Type_free(&t);
	MPI_Type_free_keyval(&key);
	say("%d copied %d deleted %d", copied, deleted, key == MPI_KEYVAL_INVALID);
}

int main(int argc, char **argv)
{
	api_begin(&argc, &argv);
	constructors();
	old_names();
	packing();
	attributes();
	MPI_Finalize();
	return 0;
}
