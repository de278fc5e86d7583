/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of MPI: views, own and shared pointers, atomicity, hints, error handlers and operations under way
 * are after a restart what they were before.  Two ranks, which wait for a file "go" in between.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pause.h"

enum {
	MANY = 1 << 20
};

static MPI_File viewed, shared, settled, busy;
static int *big;
static MPI_Request under_way[2];
static int errors;

static void on_error(MPI_File *file, int *code, ...)
{
	errors += *file == settled && *code == MPI_ERR_OTHER;
}

static MPI_File open_file(const char *name, int mode)
{
	MPI_File file;

	CHECK(MPI_File_open(MPI_COMM_WORLD, name, mode, MPI_INFO_NULL, &file) == MPI_SUCCESS);
	return file;
}

static void make(void)
{
	const int create = MPI_MODE_RDWR | MPI_MODE_CREATE;
	int words[4] = {rank, rank + 10, rank + 20, rank + 30};
	MPI_Datatype pair, stripe;
	MPI_Errhandler handler;
	MPI_Info info;

	/* Pairs by turns, behind a head of 16 bytes. */
	viewed = open_file("viewed", create);
	MPI_Type_contiguous(2, MPI_INT, &pair);
	MPI_Type_commit(&pair);
	MPI_Type_create_resized(pair, 0, 16, &stripe);
	MPI_Type_commit(&stripe);
	MPI_File_set_view(viewed, 16 + 8 * rank, pair, stripe, "native", MPI_INFO_NULL);
	MPI_Type_free(&stripe);
	MPI_Type_free(&pair);
	CHECK(MPI_File_write(viewed, words, 4, MPI_INT, MPI_STATUS_IGNORE) == MPI_SUCCESS);
	shared = open_file("shared", create);
	MPI_File_set_view(shared, 0, MPI_INT, MPI_INT, "native", MPI_INFO_NULL);
	CHECK(MPI_File_write_ordered(shared, words, 4, MPI_INT, MPI_STATUS_IGNORE) == MPI_SUCCESS);
	settled = open_file("settled", create);
	MPI_File_set_atomicity(settled, 1);
	MPI_Info_create(&info);
	MPI_Info_set(info, "cb_buffer_size", "65536");
	MPI_File_set_info(settled, info);
	MPI_Info_free(&info);
	MPI_File_create_errhandler(on_error, &handler);
	MPI_File_set_errhandler(settled, handler);
	MPI_Errhandler_free(&handler);
	MPI_File_set_size(settled, 12345);
	busy = open_file("busy", create | MPI_MODE_UNIQUE_OPEN);
	big = malloc(MANY * sizeof(int));
	CHECK(big);
	for (int i = 0; i < MANY; i++)
		big[i] = rank * MANY + i;
	MPI_File_iwrite_at(busy, (MPI_Offset)sizeof(int) * rank * MANY, big, MANY, MPI_INT,
			   &under_way[0]);
	MPI_File_iwrite_at_all(busy, (MPI_Offset)sizeof(int) * (2 + rank) * MANY, big, MANY,
			       MPI_INT, &under_way[1]);
}

static void check_view(void)
{
	int more[4] = {rank + 40, rank + 50, 0, 0}, all[16], expected[12];
	char name[MPI_MAX_DATAREP_STRING];
	MPI_Offset place, start;
	MPI_Datatype etype, filetype;
	int n;
	FILE *f;

	MPI_File_get_position(viewed, &place);
	CHECK(place == 2);
	MPI_File_get_view(viewed, &start, &etype, &filetype, name);
	MPI_Type_size(etype, &n);
	CHECK(start == 16 + 8 * rank && n == 8 && strcmp(name, "native") == 0);
	/* Both at the same place in a step that is begun and ended. */
	MPI_File_write_all_begin(viewed, more, 2, MPI_INT);
	MPI_File_write_all_end(viewed, more, MPI_STATUS_IGNORE);
	MPI_File_seek(viewed, -2, MPI_SEEK_CUR);
	CHECK(MPI_File_read(viewed, more, 4, MPI_INT, MPI_STATUS_IGNORE) == MPI_SUCCESS);
	CHECK(more[0] == rank + 20 && more[1] == rank + 30 && more[2] == rank + 40 &&
	      more[3] == rank + 50);
	MPI_File_sync(viewed);
	MPI_File_close(&viewed);
	MPI_Barrier(MPI_COMM_WORLD);
	for (int i = 0; i < 12; i++)
		expected[i] = 10 * (i / 4 * 2 + i % 2) + i / 2 % 2;
	f = fopen("viewed", "r");
	CHECK(f && fread(all, sizeof(int), 16, f) == 16);
	fclose(f);
	CHECK(memcmp(all + 4, expected, sizeof(expected)) == 0);
}

static void check_shared(void)
{
	int words[2] = {100 + rank, 200 + rank}, in[12] = {0};
	MPI_Offset place;

	MPI_File_get_position_shared(shared, &place);
	CHECK(place == 8);
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_File_write_ordered(shared, words, 2, MPI_INT, MPI_STATUS_IGNORE);
	MPI_File_sync(shared);
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_File_sync(shared);
	MPI_File_read_at_all(shared, 0, in, 12, MPI_INT, MPI_STATUS_IGNORE);
	for (int i = 0; i < 8; i++)
		CHECK(in[i] == i / 4 + 10 * (i % 4));
	CHECK(in[8] == 100 && in[9] == 200 && in[10] == 101 && in[11] == 201);
	MPI_File_seek_shared(shared, 3, MPI_SEEK_SET);
	MPI_File_read_ordered_begin(shared, in, 1, MPI_INT);
	MPI_File_read_ordered_end(shared, in, MPI_STATUS_IGNORE);
	CHECK(in[0] == (rank ? 1 : 30));
	MPI_File_close(&shared);
}

static void check_settings(void)
{
	char value[32] = "";
	MPI_Offset bytes;
	MPI_Info info;
	int flag, mode;

	MPI_File_get_atomicity(settled, &flag);
	CHECK(flag);
	MPI_File_get_amode(settled, &mode);
	CHECK((mode & MPI_MODE_RDWR) == MPI_MODE_RDWR);
	MPI_File_get_info(settled, &info);
	MPI_Info_get(info, "cb_buffer_size", sizeof(value) - 1, value, &flag);
	CHECK(!flag || strcmp(value, "65536") == 0);
	MPI_Info_free(&info);
	MPI_File_get_size(settled, &bytes);
	CHECK(bytes == 12345);
	MPI_File_call_errhandler(settled, MPI_ERR_OTHER);
	CHECK(errors == 1);
	MPI_File_close(&settled);
}

static void check_busy(void)
{
	MPI_Status status[2];
	MPI_Request r;
	int *in = malloc(MANY * sizeof(int)), n;

	CHECK(in);
	MPI_Waitall(2, under_way, status);
	MPI_Get_count(&status[0], MPI_INT, &n);
	CHECK(n == MANY);
	MPI_File_sync(busy);
	MPI_Barrier(MPI_COMM_WORLD);
	for (int part = 0; part < 4; part++) {
		memset(in, 0, MANY * sizeof(int));
		MPI_File_iread_at(busy, (MPI_Offset)sizeof(int) * part * MANY, in, MANY, MPI_INT,
				  &r);
		MPI_Wait(&r, MPI_STATUS_IGNORE);
		for (int i = 0; i < MANY; i++)
			CHECK(in[i] == part % 2 * MANY + i);
	}
	MPI_File_close(&busy);
	free(in);
	free(big);
}

int main(int argc, char **argv)
{
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	CHECK(size == 2);
	make();
	pause_for("go");
	check_view();
	check_shared();
	check_settings();
	check_busy();
	printf("passed %d\n", rank);
	MPI_Finalize();
	return 0;
}
