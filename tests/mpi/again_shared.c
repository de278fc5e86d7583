/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared windows, and threads that use their memory without calling MPI: that of each rank counts in its
 * own part and in the other's, as fast as it can, before, during and after a checkpoint and a restart.
 * Parts that were saved at different moments, or that are not common any more, show at once.  Two ranks,
 * which wait for a file "go" in between.
 */
#include <mpi.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pause.h"

enum {
	WORDS = 100000
};

struct part {
	volatile unsigned long count;  /* of its rank */
	unsigned long filler[WORDS];   /* the newest counts of its rank */
	volatile unsigned long others; /* the other rank's count */
};

static struct part *mine, *theirs;
static volatile int stop;

static void *count(void *arg)
{
	unsigned long n = 0;

	(void)arg;
	while (!stop) {
		CHECK(mine->count == n && theirs->others == n);
		n++;
		mine->count = n;
		mine->filler[n % WORDS] = n;
		CHECK(theirs->others == n - 1);
		theirs->others = n;
		if (n % 1000 == 0)
			usleep(20);
	}
	return NULL;
}

static void check_query(MPI_Win win, void *at, MPI_Aint bytes)
{
	MPI_Aint its_size;
	void *its_place;
	int unit;

	MPI_Win_shared_query(win, rank, &its_size, &unit, &its_place);
	CHECK(its_place == at && its_size == bytes && unit == 8);
}

int main(int argc, char **argv)
{
	MPI_Comm near;
	MPI_Win win, odd;
	MPI_Info info;
	MPI_Aint size_of_theirs;
	char *bytes, *others;
	long got = -1, put = 77;
	int unit, provided, *flavor, flag;
	unsigned long before;
	pthread_t thread;

	MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &provided);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	CHECK(size == 2);
	MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &near);
	MPI_Info_create(&info);
	MPI_Info_set(info, "alloc_shared_noncontig", "true");
	MPI_Win_allocate_shared(sizeof(struct part), 8, info, near, &mine, &win);
	MPI_Info_free(&info);
	MPI_Win_shared_query(win, 1 - rank, &size_of_theirs, &unit, &theirs);
	/* In one piece, with parts that share a page. */
	MPI_Win_allocate_shared(rank ? 1000 : 11, 1, MPI_INFO_NULL, near, &bytes, &odd);
	memset(bytes, 'a' + rank, rank ? 1000 : 11);
	mine->count = mine->others = 0;
	MPI_Barrier(near);
	CHECK(pthread_create(&thread, NULL, count, NULL) == 0);
	MPI_Win_lock_all(0, win);
	pause_for("go");
	MPI_Barrier(near);
	before = mine->others;
	check_query(win, mine, size_of_theirs);
	MPI_Win_get_attr(win, MPI_WIN_CREATE_FLAVOR, &flavor, &flag);
	CHECK(flag && *flavor == MPI_WIN_FLAVOR_SHARED);
	/* Operations of MPI reach the same memory. */
	MPI_Get(&got, 1, MPI_LONG, 1 - rank, offsetof(struct part, filler) / 8 + 3, 1, MPI_LONG,
		win);
	MPI_Win_flush(1 - rank, win);
	CHECK(got > 0 && got % WORDS == 3);
	usleep(100000);
	MPI_Barrier(near);
	stop = 1;
	MPI_Win_unlock_all(win);
	pthread_join(thread, NULL);
	CHECK(mine->others > before);
	MPI_Barrier(near);
	MPI_Win_fence(0, odd);
	MPI_Win_shared_query(odd, 0, &size_of_theirs, &unit, &others);
	for (int i = 0; i < 1011; i++)
		CHECK(others[i] == (i < 11 ? 'a' : 'b'));
	MPI_Win_fence(0, odd);
	if (rank == 1)
		MPI_Put(&put, 8, MPI_BYTE, 0, 3, 8, MPI_BYTE, odd);
	MPI_Win_fence(0, odd);
	CHECK(memcmp(others + 3, &put, 8) == 0);
	MPI_Win_free(&odd);
	MPI_Win_free(&win);
	MPI_Comm_free(&near);
	printf("passed %d\n", rank);
	MPI_Finalize();
	return 0;
}
