/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Windows: every way to open an epoch, every operation, and what can be set.  Run under the real library
 * and under the shim, the output is the same.
 */
#include "api.h"

#include <stdint.h>
#include <string.h>

static int *memory, other;
static MPI_Win win;

static void operations(void)
{
	int one = rank + 1, got = -1, old = -1, expected = 0, more[2] = {5, 6},
	    before[2] = {-1, -1};
	MPI_Request r[2];

	memset(memory, 0, 8 * sizeof(int));
	MPI_Barrier(world);
	MPI_Win_lock_all(0, win);
	MPI_Rput(&one, 1, MPI_INT, other, 0, 1, MPI_INT, win, &r[0]);
	MPI_Raccumulate(more, 2, MPI_INT, other, 1, 2, MPI_INT, MPI_SUM, win, &r[1]);
	MPI_Waitall(2, r, MPI_STATUSES_IGNORE);
	MPI_Win_flush(other, win);
	MPI_Rget(&got, 1, MPI_INT, other, 0, 1, MPI_INT, win, &r[0]);
	MPI_Rget_accumulate(more, 2, MPI_INT, before, 2, MPI_INT, other, 1, 2, MPI_INT, MPI_PROD,
			    win, &r[1]);
	MPI_Waitall(2, r, MPI_STATUSES_IGNORE);
	show("with requests", (int[]){got, before[0], before[1]}, 3);
	MPI_Win_flush_all(win);
	MPI_Compare_and_swap(&one, &expected, &old, MPI_INT, other, 3, win);
	MPI_Win_flush_local(other, win);
	MPI_Get_accumulate(&one, 1, MPI_INT, &got, 1, MPI_INT, other, 3, 1, MPI_INT, MPI_REPLACE,
			   win);
	MPI_Win_flush_local_all(win);
	show("swapped", (int[]){old, got}, 2);
	MPI_Win_sync(win);
	MPI_Win_unlock_all(win);
	MPI_Barrier(world);
	show("memory", memory, 4);
}

/* Each is origin and target of the other. */
static void post_and_start(void)
{
	int flag, word = 70 + rank;
	MPI_Group whole, them;

	MPI_Comm_group(world, &whole);
	MPI_Group_incl(whole, 1, &other, &them);
	for (int i = 0; i < 2; i++) {
		MPI_Win_post(them, 0, win);
		MPI_Win_start(them, 0, win);
		MPI_Put(&word, 1, MPI_INT, other, 4 + i, 1, MPI_INT, win);
		MPI_Win_complete(win);
		if (i)
			MPI_Win_wait(win);
		for (flag = i; !flag;)
			MPI_Win_test(win, &flag);
		word += 10;
	}
	show("posted", memory + 4, 2);
	MPI_Group_free(&them);
	MPI_Group_free(&whole);
}

static int called;

static void on_error(MPI_Win *window, int *code, ...)
{
	called = *window == win && *code == MPI_ERR_OTHER;
}

static int copy_attr(MPI_Win window, int key, void *extra, void *in, void *out, int *flag)
{
	(void)window;
	(void)key;
	(void)extra;
	*(void **)out = in;
	*flag = 1;
	return MPI_SUCCESS;
}

static int deleted;

static int delete_attr(MPI_Win window, int key, void *value, void *extra)
{
	deleted += window == win && value == (void *)30 && extra == (void *)4;
	(void)key;
	return MPI_SUCCESS;
}

static void settings(void)
{
	char text[MPI_MAX_OBJECT_NAME] = "";
	MPI_Errhandler mine, now;
	MPI_Info info, seen;
	void *value = NULL;
	int n, key, flag;

	MPI_Win_create_errhandler(on_error, &mine);
	MPI_Win_set_errhandler(win, mine);
	MPI_Win_get_errhandler(win, &now);
	say("errors %d", now == mine);
	MPI_Win_call_errhandler(win, MPI_ERR_OTHER);
	say("called %d", called);
	MPI_Errhandler_free(&now);
	MPI_Errhandler_free(&mine);
	MPI_Win_set_name(win, "a window");
	MPI_Win_get_name(win, text, &n);
	say("name %s %d", text, n);
	MPI_Info_create(&info);
	MPI_Info_set(info, "no_locks", "false");
	MPI_Win_set_info(win, info);
	MPI_Info_free(&info);
	MPI_Win_get_info(win, &seen);
	say("info %d", seen != MPI_INFO_NULL);
	MPI_Info_free(&seen);
	MPI_Win_create_keyval(copy_attr, delete_attr, &key, (void *)4);
	MPI_Win_set_attr(win, key, (void *)30);
	MPI_Win_get_attr(win, key, &value, &flag);
	say("attribute %d %ld", flag, (long)value);
	MPI_Win_delete_attr(win, key);
	MPI_Win_get_attr(win, key, &value, &flag);
	MPI_Win_free_keyval(&key);
	show("deleted", (int[]){flag, deleted, key == MPI_KEYVAL_INVALID}, 3);
	say("number %d", MPI_Win_f2c(MPI_Win_c2f(win)) == win);
}

static void dynamic(void)
{
	int own[4] = {0}, word = 90 + rank;
	MPI_Aint mine, theirs;
	MPI_Win w;

	MPI_Win_create_dynamic(MPI_INFO_NULL, world, &w);
	MPI_Win_attach(w, own, sizeof(own));
	MPI_Get_address(own, &mine);
	MPI_Sendrecv(&mine, 1, MPI_AINT, other, 1, &theirs, 1, MPI_AINT, other, 1, world,
		     MPI_STATUS_IGNORE);
	MPI_Win_lock(MPI_LOCK_SHARED, other, 0, w);
	MPI_Put(&word, 1, MPI_INT, other, MPI_Aint_add(theirs, (MPI_Aint)sizeof(int)), 1, MPI_INT,
		w);
	MPI_Win_unlock(other, w);
	MPI_Barrier(world);
	show("dynamic", own, 2);
	say("difference %ld", (long)MPI_Aint_diff(MPI_Aint_add(mine, 8), mine));
	MPI_Win_detach(w, own);
	MPI_Win_free(&w);
}

/* What every rank sees of everybody's part, and that all see the same memory. */
static void shared(const char *noncontiguous)
{
	MPI_Aint bytes = (rank + 1) * (MPI_Aint)sizeof(int) * 4, its_bytes;
	int *mine, *its, unit, flavor_flag, *flavor;
	MPI_Info info;
	MPI_Comm near;
	MPI_Win w;

	MPI_Comm_split_type(world, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &near);
	MPI_Info_create(&info);
	MPI_Info_set(info, "alloc_shared_noncontig", noncontiguous);
	MPI_Win_allocate_shared(bytes, sizeof(int), info, near, &mine, &w);
	MPI_Info_free(&info);
	MPI_Win_lock_all(MPI_MODE_NOCHECK, w);
	for (int i = 0; i < 4 * (rank + 1); i++)
		mine[i] = 1000 * rank + i;
	MPI_Win_sync(w);
	MPI_Barrier(near);
	MPI_Win_sync(w);
	for (int r = 0; r < size; r++) {
		MPI_Win_shared_query(w, r, &its_bytes, &unit, &its);
		show("part", (int[]){r, (int)its_bytes, unit, its[0], its[4 * r + 3]}, 5);
		if (r == rank)
			say("at its place %d", its == mine);
	}
	MPI_Win_shared_query(w, MPI_PROC_NULL, &its_bytes, &unit, &its);
	show("first part", (int[]){(int)its_bytes, unit, its[0]}, 3);
	MPI_Win_shared_query(w, 0, &its_bytes, &unit, &its);
	if (noncontiguous[0] == 'f')
		show("in one piece", its, 12);
	MPI_Win_get_attr(w, MPI_WIN_CREATE_FLAVOR, &flavor, &flavor_flag);
	say("shared %d", flavor_flag && *flavor == MPI_WIN_FLAVOR_SHARED);
	MPI_Barrier(near);
	its[rank] = 55 + rank;
	MPI_Win_sync(w);
	MPI_Barrier(near);
	MPI_Win_sync(w);
	show("written", its, 2);
	MPI_Win_unlock_all(w);
	MPI_Win_fence(0, w);
	MPI_Put(&rank, 1, MPI_INT, other, 3, 1, MPI_INT, w);
	MPI_Win_fence(0, w);
	show("put", mine + 3, 1);
	MPI_Win_free(&w);
	MPI_Comm_free(&near);
}

int main(int argc, char **argv)
{
	api_begin(&argc, &argv);
	other = 1 - rank;
	MPI_Win_allocate(8 * sizeof(int), sizeof(int), MPI_INFO_NULL, world, &memory, &win);
	operations();
	post_and_start();
	settings();
	MPI_Win_free(&win);
	dynamic();
	shared("false");
	shared("true");
	MPI_Finalize();
	return 0;
}
