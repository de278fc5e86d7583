/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: table STEPS
 *
 * A hash table in the windows of all ranks, without help of the ranks that hold it: cells are claimed
 * by compare-and-swap, counted by fetch-and-add, and fetched with requests, under lock_all.  Some
 * updates are made under an exclusive lock.  In the end all counts must be right.
 */
#include <mpi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELLS 2048 /* of each rank */
#define KEYS  1000 /* that each rank inserts, the same ones */

struct cell {
	int64_t key, count, sum;
};

static MPI_Win table, ledger;
static int rank, size;

static void fail(const char *what)
{
	fprintf(stderr, "rank %d: wrong: %s\n", rank, what);
	MPI_Abort(MPI_COMM_WORLD, 1);
}

static int64_t key_of(int i)
{
	return (int64_t)((uint64_t)(i + 1) * 0x9e3779b97f4a7c15ull >> 2);
}

/* The place of a key, which is claimed when it is new. */
static void find(int64_t key, int *ret_rank, MPI_Aint *ret_at)
{
	int64_t at = key % ((int64_t)CELLS * size), none = 0, old;

	for (;; at = (at + 1) % ((int64_t)CELLS * size)) {
		int to = (int)(at / CELLS);
		MPI_Aint disp = at % CELLS * 3;

		MPI_Compare_and_swap(&key, &none, &old, MPI_INT64_T, to, disp, table);
		MPI_Win_flush(to, table);
		if (old && old != key)
			continue;
		*ret_rank = to;
		*ret_at = disp;
		return;
	}
}

static void insert(int64_t key, int64_t value)
{
	int64_t one = 1, old;
	MPI_Request request;
	MPI_Aint at;
	int to;

	find(key, &to, &at);
	MPI_Fetch_and_op(&one, &old, MPI_INT64_T, to, at + 1, MPI_SUM, table);
	MPI_Raccumulate(&value, 1, MPI_INT64_T, to, at + 2, 1, MPI_INT64_T, MPI_SUM, table,
			&request);
	MPI_Wait(&request, MPI_STATUS_IGNORE);
	MPI_Win_flush(to, table);
}

/* Read, changed and written back: only the lock makes that right. */
static void note(int64_t value)
{
	int64_t sum[2];

	MPI_Win_lock(MPI_LOCK_EXCLUSIVE, 0, 0, ledger);
	MPI_Get(sum, 2, MPI_INT64_T, 0, 0, 2, MPI_INT64_T, ledger);
	MPI_Win_flush(0, ledger);
	sum[0] += 1;
	sum[1] += value;
	MPI_Put(sum, 2, MPI_INT64_T, 0, 0, 2, MPI_INT64_T, ledger);
	MPI_Win_unlock(0, ledger);
}

/* All cells, in order of ranks, looked at by each rank; what is there after `steps` of all ranks. */
static void look(int steps)
{
	struct cell *all = calloc((size_t)CELLS * (size_t)size, sizeof(*all));
	MPI_Request *request = calloc((size_t)size, sizeof(MPI_Request));
	int64_t count = 0, sum = 0, found = 0;

	if (!all || !request)
		fail("memory");
	for (int from = 0; from < size; from++)
		MPI_Rget(all + from * CELLS, CELLS * 3, MPI_INT64_T, from, 0, CELLS * 3,
			 MPI_INT64_T, table, &request[from]);
	MPI_Waitall(size, request, MPI_STATUSES_IGNORE);
	for (int i = 0; i < CELLS * size; i++) {
		found += all[i].key != 0;
		count += all[i].count;
		sum += all[i].sum;
	}
	if (found > KEYS || count != (int64_t)steps * size ||
	    sum != (int64_t)steps * (steps - 1) / 2 * size)
		fail("the table");
	if (rank == 0) {
		printf("step %d: %lld keys, %lld times, sum %lld\n", steps, (long long)found,
		       (long long)count, (long long)sum);
		fflush(stdout);
	}
	free(all);
	free(request);
}

int main(int argc, char **argv)
{
	int steps = argc > 1 ? atoi(argv[1]) : 0;
	int64_t *book, mine[2];
	struct cell *cells;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	if (rank == 0) {
		printf("begin\n");
		fflush(stdout);
	}
	MPI_Win_allocate(CELLS * sizeof(*cells), sizeof(int64_t), MPI_INFO_NULL, MPI_COMM_WORLD,
			 (void *)&cells, &table);
	book = calloc(2, sizeof(*book));
	MPI_Win_create(book, 2 * sizeof(*book), sizeof(*book), MPI_INFO_NULL, MPI_COMM_WORLD,
		       &ledger);
	memset(cells, 0, CELLS * sizeof(*cells));
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_Win_lock_all(0, table);
	for (int i = 0; i < steps; i++) {
		insert(key_of((i * 7 + rank * 3) % KEYS), i);
		if (i % 8 == 0)
			note(i);
		if ((i + 1) % (steps / 20) == 0) {
			MPI_Barrier(MPI_COMM_WORLD);
			look(i + 1);
			MPI_Barrier(MPI_COMM_WORLD);
		}
	}
	MPI_Win_unlock_all(table);
	MPI_Barrier(MPI_COMM_WORLD);
	MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, ledger);
	MPI_Get(mine, 2, MPI_INT64_T, 0, 0, 2, MPI_INT64_T, ledger);
	MPI_Win_unlock(0, ledger);
	if (mine[0] != (int64_t)((steps + 7) / 8) * size)
		fail("the ledger");
	printf("result of rank %d: %lld notes, sum %lld\n", rank, (long long)mine[0],
	       (long long)mine[1]);
	MPI_Win_free(&table);
	MPI_Win_free(&ledger);
	free(book);
	MPI_Finalize();
	return 0;
}
