/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Requests and messages of each kind that are there at a checkpoint, and objects whose functions are the
 * program's: after a restart each does what it would have done.  Two ranks, which wait for a file "go" in
 * between.
 */
#include <mpi.h>

#include <mpi-ext.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "pause.h"
#include "persistent.h"

static int other;

/* ---- persistent collective calls ------------------------------------------------------------------ */

static MPI_Request bcast, reduce, exchange, idle, first_gone;
static int told[3], terms[2], sums[2], out[2], in[2], counts[2] = {1, 1}, places[2] = {0, 4};
static MPI_Datatype types[2];

/* Not commutative: the order of ranks is seen. */
static void last_and_first(void *from, void *into, int *len, MPI_Datatype *type)
{
	(void)type;
	for (int i = 0; i < *len; i++)
		((int *)into)[i] = 10 * ((int *)from)[i] + ((int *)into)[i];
}

static void make_persistent(void)
{
	MPI_Op op;
	MPI_Datatype three, given[2];

	MPI_Op_create(last_and_first, 0, &op);
	MPI_Type_contiguous(3, MPI_INT, &three);
	MPI_Type_commit(&three);
	MPI_Type_contiguous(1, MPI_INT, &types[0]);
	MPI_Type_commit(&types[0]);
	types[1] = MPI_INT;
	memcpy(given, types, sizeof(given));
	PERSISTENT(Bcast)(told, 1, three, 1, MPI_COMM_WORLD, MPI_INFO_NULL, &bcast);
	PERSISTENT(Allreduce)(terms, sums, 2, MPI_INT, op, MPI_COMM_WORLD, MPI_INFO_NULL, &reduce);
	PERSISTENT(Alltoallw)
	(out, counts, places, given, in, counts, places, given, MPI_COMM_WORLD, MPI_INFO_NULL,
	 &exchange);
	/* Fortran's bindings have translated the handles into an array that they free at once. */
	given[0] = given[1] = MPI_DATATYPE_NULL;
	PERSISTENT(Barrier)(MPI_COMM_WORLD, MPI_INFO_NULL, &idle);
	PERSISTENT(Barrier)(MPI_COMM_WORLD, MPI_INFO_NULL, &first_gone);
	/* At the checkpoint one rank has freed it, the other has not. */
	if (rank == 0)
		MPI_Request_free(&first_gone);
	MPI_Op_free(&op);
	MPI_Type_free(&three);
	/* One has run, one is under way, of the others none was ever started. */
	told[0] = 5 * rank;
	MPI_Start(&bcast);
	MPI_Wait(&bcast, MPI_STATUS_IGNORE);
	CHECK(told[0] == 5);
	terms[0] = rank + 1;
	terms[1] = rank + 3;
	MPI_Start(&reduce);
}

static void check_persistent(void)
{
	MPI_Request both[2], many[70];

	MPI_Wait(&reduce, MPI_STATUS_IGNORE);
	CHECK(sums[0] == 12 && sums[1] == 34);
	for (int i = 0; i < 3; i++) {
		told[2] = 100 * rank + i;
		terms[0] = rank + i;
		out[0] = 10 * rank + i;
		out[1] = 20 * rank + i;
		/* In another order on each rank: they match as they were made. */
		both[rank] = bcast;
		both[other] = reduce;
		MPI_Startall(2, both);
		MPI_Start(&exchange);
		MPI_Wait(&exchange, MPI_STATUS_IGNORE);
		MPI_Waitall(2, both, MPI_STATUSES_IGNORE);
		CHECK(told[2] == 100 + i && sums[0] == 10 * i + 1 + i);
		CHECK(in[0] == (rank ? i : i) && in[1] == (rank ? 20 : 10) + i);
	}
	MPI_Start(&idle);
	MPI_Wait(&idle, MPI_STATUS_IGNORE);
	MPI_Request_free(&idle);
	if (rank == 1)
		MPI_Request_free(&first_gone);
	/* More than a word has bits, and each rank frees them in an order of its own. */
	for (int i = 0; i < 70; i++)
		PERSISTENT(Barrier)(MPI_COMM_WORLD, MPI_INFO_NULL, &many[rank ? i : 69 - i]);
	for (int i = 0; i < 70; i++)
		if (i != 50 && i != 19)
			MPI_Request_free(&many[i]);
	PERSISTENT(Barrier)(MPI_COMM_WORLD, MPI_INFO_NULL, &idle);
	MPI_Start(&many[rank ? 50 : 19]);
	MPI_Start(&many[rank ? 19 : 50]);
	MPI_Start(&idle);
	MPI_Wait(&idle, MPI_STATUS_IGNORE);
	MPI_Wait(&many[50], MPI_STATUS_IGNORE);
	MPI_Wait(&many[19], MPI_STATUS_IGNORE);
	MPI_Request_free(&many[50]);
	MPI_Request_free(&many[19]);
	MPI_Request_free(&idle);
	MPI_Request_free(&bcast);
	MPI_Request_free(&reduce);
	MPI_Request_free(&exchange);
	MPI_Type_free(&types[0]);
	CHECK(bcast == MPI_REQUEST_NULL);
}

/* ---- messages ------------------------------------------------------------------------------------ */

static MPI_Request late[3], definition[2];
static MPI_Message matched;
static int word, early, answer, never;

static void make_messages(void)
{
	static int sent[2];

	sent[0] = 60 + rank;
	sent[1] = 70 + rank;
	MPI_Isend(&sent[0], 1, MPI_INT, other, 1, MPI_COMM_WORLD, &late[0]);
	MPI_Mprobe(other, 1, MPI_COMM_WORLD, &matched, MPI_STATUS_IGNORE);
	MPI_Irecv(&word, 1, MPI_INT, MPI_ANY_SOURCE, 2, MPI_COMM_WORLD, &late[1]);
	MPI_Irecv(&never, 1, MPI_INT, other, 99, MPI_COMM_WORLD, &late[2]);
	/* Nobody has asked for it. */
	MPI_Send(&sent[1], 1, MPI_INT, other, 3, MPI_COMM_WORLD);
	MPI_Send(sent, 2, MPI_INT, other, 5, MPI_COMM_WORLD);
	MPI_Send_init(&answer, 1, MPI_INT, other, 4, MPI_COMM_WORLD, &definition[0]);
	MPI_Recv_init(&early, 1, MPI_INT, other, 4, MPI_COMM_WORLD, &definition[1]);
	MPI_Start(&definition[1]);
}

/* ---- generalized requests ------------------------------------------------------------------------ */

static MPI_Request general[3];
static int states[3] = {21, 22, 23}, freed[3];

static int query(void *extra, MPI_Status *status)
{
	MPI_Status_set_elements(status, MPI_INT, *(int *)extra);
	MPI_Status_set_cancelled(status, 0);
	status->MPI_SOURCE = 1;
	status->MPI_TAG = 2;
	return MPI_SUCCESS;
}

static int release(void *extra)
{
	freed[(int *)extra - states]++;
	return MPI_SUCCESS;
}

static int cancel(void *extra, int complete)
{
	(void)extra;
	(void)complete;
	return MPI_SUCCESS;
}

static void *complete_late(void *arg)
{
	usleep(50000);
	MPI_Grequest_complete(general[2]);
	return arg;
}

/* Of the third a thread will say that it is complete, of the second it was said before. */
static void make_general(void)
{
	for (int i = 0; i < 3; i++)
		MPI_Grequest_start(query, release, cancel, &states[i], &general[i]);
	MPI_Grequest_complete(general[1]);
}

static void check_general(void)
{
	MPI_Status status[3];
	pthread_t thread;
	int flag, n;

	MPI_Test(&general[0], &flag, MPI_STATUS_IGNORE);
	CHECK(!flag && freed[0] == 0 && freed[1] == 0);
	MPI_Test(&general[1], &flag, &status[1]);
	CHECK(flag && freed[1] == 1 && general[1] == MPI_REQUEST_NULL);
	MPI_Get_count(&status[1], MPI_INT, &n);
	CHECK(n == 22);
	MPI_Grequest_complete(general[0]);
	CHECK(pthread_create(&thread, NULL, complete_late, NULL) == 0);
	MPI_Waitall(3, general, status);
	(void)pthread_join(thread, NULL);
	MPI_Get_count(&status[2], MPI_INT, &n);
	CHECK(n == 23 && status[2].MPI_TAG == 2 && freed[0] == 1 && freed[2] == 1);
}

static int wrong;

static void on_wrong(MPI_Comm *comm, int *code, ...)
{
	(void)code;
	wrong += *comm == MPI_COMM_WORLD;
}

/* The error handler is told once: of a message that is too long, and of a send to nobody. */
static void check_errors(void)
{
	static int unwanted;
	MPI_Errhandler handler;
	MPI_Status status = {.MPI_ERROR = 77};
	int got[2] = {0, 0};

	MPI_Comm_create_errhandler(on_wrong, &handler);
	MPI_Comm_set_errhandler(MPI_COMM_WORLD, handler);
	MPI_Errhandler_free(&handler);
	CHECK(MPI_Sendrecv(got, 1, MPI_INT, 1000, 6, &unwanted, 1, MPI_INT, other, 6,
			   MPI_COMM_WORLD, MPI_STATUS_IGNORE) != MPI_SUCCESS);
	CHECK(wrong == 1);
	CHECK(MPI_Recv(got, 1, MPI_INT, other, 5, MPI_COMM_WORLD, &status) == MPI_ERR_TRUNCATE);
	CHECK(wrong == 2 && got[0] == 60 + other && status.MPI_TAG == 5 && status.MPI_ERROR == 77);
	/* Its receive is still there. */
	MPI_Send(got, 1, MPI_INT, other, 6, MPI_COMM_WORLD);
	MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_ARE_FATAL);
}

static void check_messages(void)
{
	MPI_Status status;
	int got = 0, flag;

	MPI_Mrecv(&got, 1, MPI_INT, &matched, &status);
	CHECK(got == 60 + other && status.MPI_SOURCE == other && status.MPI_TAG == 1);
	MPI_Recv(&got, 1, MPI_INT, MPI_ANY_SOURCE, 3, MPI_COMM_WORLD, &status);
	CHECK(got == 70 + other && status.MPI_SOURCE == other);
	answer = 80 + rank;
	MPI_Send(&answer, 1, MPI_INT, other, 2, MPI_COMM_WORLD);
	MPI_Start(&definition[0]);
	MPI_Waitall(2, late, MPI_STATUSES_IGNORE);
	MPI_Waitall(2, definition, MPI_STATUSES_IGNORE);
	CHECK(word == 80 + other && early == 80 + other);
	MPI_Cancel(&late[2]);
	MPI_Wait(&late[2], &status);
	MPI_Test_cancelled(&status, &flag);
	CHECK(flag);
	MPI_Request_free(&definition[0]);
	MPI_Request_free(&definition[1]);
}

/* ---- what the program's functions do ---------------------------------------------------------------- */

static MPI_Comm owner, bridge;
static MPI_Win window;
static int key = MPI_KEYVAL_INVALID, copies, deletions, complaints, memory[4];
static MPI_Request reduction;
static int part, whole;

static int copy_attr(MPI_Comm comm, int k, void *extra, void *from, void *to, int *flag)
{
	copies += comm == owner && k == key && extra == (void *)7;
	*(void **)to = (char *)from + 1;
	*flag = 1;
	return MPI_SUCCESS;
}

static int delete_attr(MPI_Comm comm, int k, void *value, void *extra)
{
	(void)comm;
	deletions += k == key && value == (void *)101 && extra == (void *)7;
	return MPI_SUCCESS;
}

static void on_error(MPI_Win *w, int *code, ...)
{
	complaints += *w == window && *code == MPI_ERR_OTHER;
}

static void make_functions(void)
{
	MPI_Errhandler handler;
	MPI_Op op;

	MPI_Comm_dup(MPI_COMM_WORLD, &owner);
	MPI_Comm_create_keyval(copy_attr, delete_attr, &key, (void *)7);
	MPI_Comm_set_attr(owner, key, (void *)100);
	MPI_Intercomm_create(MPI_COMM_SELF, 0, owner, other, 8, &bridge);
	MPI_Win_create(memory, sizeof(memory), sizeof(int), MPI_INFO_NULL, MPI_COMM_WORLD, &window);
	MPI_Win_create_errhandler(on_error, &handler);
	MPI_Win_set_errhandler(window, handler);
	MPI_Errhandler_free(&handler);
	MPI_Op_create(last_and_first, 0, &op);
	part = rank + 1;
	MPI_Ireduce(&part, &whole, 1, MPI_INT, op, 0, MPI_COMM_WORLD, &reduction);
	MPI_Op_free(&op);
}

static void check_functions(void)
{
	MPI_Group world, them;
	MPI_Comm dup, merged;
	void *value = NULL;
	int flag, n;

	MPI_Wait(&reduction, MPI_STATUS_IGNORE);
	CHECK(rank || whole == 12);
	MPI_Comm_dup(owner, &dup);
	MPI_Comm_get_attr(dup, key, &value, &flag);
	CHECK(flag && value == (void *)101 && copies == 1);
	MPI_Comm_free(&dup);
	CHECK(deletions == 1);
	MPI_Comm_free(&owner);
	MPI_Comm_free_keyval(&key);
	/* Rank 1 goes in front. */
	MPI_Intercomm_merge(bridge, rank == 0, &merged);
	MPI_Comm_rank(merged, &n);
	CHECK(n == other);
	n = rank;
	MPI_Bcast(&n, 1, MPI_INT, 0, merged);
	CHECK(n == 1);
	MPI_Comm_free(&merged);
	MPI_Comm_free(&bridge);
	MPI_Win_call_errhandler(window, MPI_ERR_OTHER);
	CHECK(complaints == 1);
	MPI_Comm_group(MPI_COMM_WORLD, &world);
	MPI_Group_incl(world, 1, &other, &them);
	MPI_Win_post(them, 0, window);
	MPI_Win_start(them, 0, window);
	MPI_Put(&part, 1, MPI_INT, other, 2, 1, MPI_INT, window);
	MPI_Win_complete(window);
	MPI_Win_wait(window);
	CHECK(memory[2] == other + 1);
	MPI_Group_free(&them);
	MPI_Group_free(&world);
	MPI_Win_free(&window);
}

int main(int argc, char **argv)
{
	int provided;

	MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &provided);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	CHECK(size == 2);
	other = 1 - rank;
	make_persistent();
	make_messages();
	make_functions();
	make_general();
	pause_for("go");
	check_errors();
	check_messages();
	check_persistent();
	check_functions();
	check_general();
	printf("passed %d\n", rank);
	MPI_Finalize();
	return 0;
}
