/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files: every read and write by position, own pointer and shared pointer, in each of its forms, and what
 * can be set.  Run under the real library and under the shim, the output is the same.
 */
#include "api.h"

#include <string.h>

static MPI_File file;
static MPI_Offset mine;
static int v[4], w[8];
static MPI_Status status;

static void fill(int seed)
{
	for (int i = 0; i < 4; i++)
		v[i] = seed * 100 + rank * 10 + i;
	memset(w, -1, sizeof(w));
	MPI_File_seek(file, mine, MPI_SEEK_SET);
}

static void check(const char *what, const int *data, int n)
{
	int count = -1;

	MPI_Get_count(&status, MPI_INT, &count);
	show(what, (int[]){count, data[0], data[1], data[2], data[3]}, 1 + n);
}

/* Written so; read back by its twin. */
static void by_position(void)
{
	MPI_Request r;

	fill(1);
	MPI_File_write_at(file, mine, v, 4, MPI_INT, &status);
	MPI_File_read_at(file, mine, w, 4, MPI_INT, &status);
	check("at", w, 4);
	fill(2);
	MPI_File_write_at_all(file, mine, v, 4, MPI_INT, &status);
	MPI_File_read_at_all(file, mine, w, 4, MPI_INT, &status);
	check("at_all", w, 4);
	fill(3);
	MPI_File_write_at_all_begin(file, mine, v, 4, MPI_INT);
	MPI_File_write_at_all_end(file, v, &status);
	MPI_File_read_at_all_begin(file, mine, w, 4, MPI_INT);
	MPI_File_read_at_all_end(file, w, &status);
	check("at_all begin and end", w, 4);
	fill(4);
	MPI_File_iwrite_at(file, mine, v, 4, MPI_INT, &r);
	MPI_Wait(&r, &status);
	MPI_File_iread_at(file, mine, w, 4, MPI_INT, &r);
	MPI_Wait(&r, &status);
	check("i at", w, 4);
	fill(5);
	MPI_File_iwrite_at_all(file, mine, v, 4, MPI_INT, &r);
	MPI_Wait(&r, &status);
	MPI_File_iread_at_all(file, mine, w, 4, MPI_INT, &r);
	MPI_Wait(&r, &status);
	check("i at_all", w, 4);
}

static void by_pointer(void)
{
	MPI_Request r;
	MPI_Offset place;

	fill(11);
	MPI_File_write(file, v, 4, MPI_INT, &status);
	MPI_File_get_position(file, &place);
	say("position %ld", (long)(place - mine));
	MPI_File_seek(file, -4, MPI_SEEK_CUR);
	MPI_File_read(file, w, 4, MPI_INT, &status);
	check("plain", w, 4);
	fill(12);
	MPI_File_write_all(file, v, 4, MPI_INT, &status);
	MPI_File_seek(file, mine, MPI_SEEK_SET);
	MPI_File_read_all(file, w, 4, MPI_INT, &status);
	check("all", w, 4);
	fill(13);
	MPI_File_write_all_begin(file, v, 4, MPI_INT);
	MPI_File_write_all_end(file, v, &status);
	MPI_File_seek(file, mine, MPI_SEEK_SET);
	MPI_File_read_all_begin(file, w, 4, MPI_INT);
	MPI_File_read_all_end(file, w, &status);
	check("all begin and end", w, 4);
	fill(14);
	MPI_File_iwrite(file, v, 4, MPI_INT, &r);
	MPI_Wait(&r, &status);
	MPI_File_seek(file, mine, MPI_SEEK_SET);
	MPI_File_iread(file, w, 4, MPI_INT, &r);
	MPI_Wait(&r, &status);
	check("i", w, 4);
	fill(15);
	MPI_File_iwrite_all(file, v, 4, MPI_INT, &r);
	MPI_Wait(&r, &status);
	MPI_File_seek(file, mine, MPI_SEEK_SET);
	MPI_File_iread_all(file, w, 4, MPI_INT, &r);
	MPI_Wait(&r, &status);
	check("i all", w, 4);
}

/* Who is first is not known, but for the ordered ones. */
static void by_shared_pointer(void)
{
	MPI_Request r;
	MPI_Offset place;

	fill(21);
	MPI_File_seek_shared(file, 0, MPI_SEEK_SET);
	MPI_File_write_shared(file, v, 4, MPI_INT, &status);
	MPI_File_iwrite_shared(file, v, 4, MPI_INT, &r);
	MPI_Wait(&r, &status);
	MPI_Barrier(world);
	MPI_File_get_position_shared(file, &place);
	say("shared position %ld", (long)place);
	MPI_Barrier(world);
	MPI_File_seek_shared(file, 0, MPI_SEEK_SET);
	MPI_File_read_shared(file, w, 4, MPI_INT, &status);
	say("shared %d", w[1] - w[0]);
	MPI_File_iread_shared(file, w, 4, MPI_INT, &r);
	MPI_Wait(&r, &status);
	say("i shared %d", w[3] - w[0]);
	MPI_Barrier(world);
	fill(22);
	MPI_File_seek_shared(file, 0, MPI_SEEK_SET);
	MPI_File_write_ordered(file, v, 4, MPI_INT, &status);
	MPI_File_seek_shared(file, 0, MPI_SEEK_SET);
	MPI_File_read_ordered(file, w, 4, MPI_INT, &status);
	check("ordered", w, 4);
	fill(23);
	MPI_File_seek_shared(file, 0, MPI_SEEK_SET);
	MPI_File_write_ordered_begin(file, v, 4, MPI_INT);
	MPI_File_write_ordered_end(file, v, &status);
	MPI_File_seek_shared(file, 0, MPI_SEEK_SET);
	MPI_File_read_ordered_begin(file, w, 4, MPI_INT);
	MPI_File_read_ordered_end(file, w, &status);
	check("ordered begin and end", w, 4);
}

static int called;

static void on_error(MPI_File *f, int *code, ...)
{
	called = *f == file && *code == MPI_ERR_OTHER;
}

static void settings(void)
{
	MPI_Errhandler mine_too, now;
	MPI_Offset bytes;
	MPI_Aint extent;
	MPI_Group group;
	MPI_Info info, seen;
	int flag, n;

	MPI_File_set_atomicity(file, 1);
	MPI_File_get_atomicity(file, &flag);
	say("atomic %d", flag);
	MPI_File_set_atomicity(file, 0);
	MPI_File_get_type_extent(file, MPI_DOUBLE, &extent);
	MPI_File_get_byte_offset(file, 3, &bytes);
	say("extent %ld, byte %ld", (long)extent, (long)bytes);
	MPI_File_get_group(file, &group);
	MPI_Group_size(group, &n);
	MPI_Group_free(&group);
	MPI_Info_create(&info);
	MPI_Info_set(info, "cb_nodes", "1");
	MPI_File_set_info(file, info);
	MPI_Info_free(&info);
	MPI_File_get_info(file, &seen);
	say("group %d, info %d", n, seen != MPI_INFO_NULL);
	MPI_Info_free(&seen);
	MPI_File_create_errhandler(on_error, &mine_too);
	MPI_File_set_errhandler(file, mine_too);
	MPI_File_get_errhandler(file, &now);
	MPI_File_call_errhandler(file, MPI_ERR_OTHER);
	say("errors %d %d", now == mine_too, called);
	MPI_Errhandler_free(&now);
	MPI_Errhandler_free(&mine_too);
	say("number %d", MPI_File_f2c(MPI_File_c2f(file)) == file);
	MPI_File_set_size(file, 1000);
	MPI_File_preallocate(file, 2000);
	MPI_File_get_size(file, &bytes);
	say("size %ld", (long)bytes);
}

static int file_extent(MPI_Datatype type, MPI_Aint *extent, void *extra)
{
	int n;

	MPI_Type_size(type, &n);
	*extent = n;
	(void)extra;
	return MPI_SUCCESS;
}

int main(int argc, char **argv)
{
	api_begin(&argc, &argv);
	MPI_File_open(world, "api.data", MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &file);
	MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "native", MPI_INFO_NULL);
	mine = 4 * rank;
	by_position();
	by_pointer();
	by_shared_pointer();
	settings();
	MPI_File_close(&file);
	MPI_Barrier(world);
	if (rank == 0)
		say("deleted %d", MPI_File_delete("api.data", MPI_INFO_NULL) == MPI_SUCCESS);
	say("representation %d",
	    MPI_Register_datarep("ours", MPI_CONVERSION_FN_NULL, MPI_CONVERSION_FN_NULL,
				 file_extent, NULL) == MPI_SUCCESS);
	MPI_Finalize();
	return 0;
}
