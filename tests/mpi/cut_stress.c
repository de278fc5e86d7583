/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: cut_stress SECONDS|/FILE [THREADS]
 *
 * All ways of communication in turn, each byte looked at, until a time is over or there is a file:
 * blocking, non-blocking, persistent, buffered and synchronous sends, receives from anybody, probes,
 * collective calls on communicators that overlap, collective calls with requests, communicators that
 * come and go, windows, a file.  With THREADS each thread does that on a communicator of its own, but
 * windows and files.
 */
#include <mpi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST     (1 << 20)
#define WINDOW   6 /* messages to each rank at a time */
#define MAXRANKS 8
#define CELLS    5000  /* of a window */
#define PLACE    21000 /* bytes of a rank in the file */
#define PLACES   64

struct work {
	MPI_Comm all, half, pair; /* overlapping: `half` are neighbours, `pair` are the others */
	int rank, size;
	uint32_t random; /* the same on all ranks */
	uint32_t step;
	unsigned char *out, *in;
	int thread;
	MPI_Win fenced, locked, shared; /* `shared` is locked by all for the whole run */
	int *fenced_at, *locked_at, *shared_at;
	int counted; /* in `locked` and `shared`, by all ranks */
	MPI_File file;
	uint32_t places; /* in `file` that were used */
	MPI_Comm inter;  /* even ranks and odd ranks */
};

static const char *until; /* seconds, or a file */
static int threads;
static uint64_t steps_done;

static void check(const struct work *w, int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "rank %d thread %d step %u: wrong: %s\n", w->rank, w->thread, w->step,
		what);
	abort();
}

static uint32_t draw(struct work *w, uint32_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 17;
	w->random ^= w->random << 5;
	return w->random % n;
}

/* Short ones mostly; some of each protocol. */
static int draw_size(struct work *w)
{
	static const int size[] = {0, 1, 64, 1000, 3000, 4100, 20000, 70000, 300000, MOST};

	return size[draw(w, sizeof(size) / sizeof(size[0]))];
}

static unsigned char pattern(uint32_t seed, int i)
{
	return (unsigned char)(seed * 2654435761u >> 13) ^ (unsigned char)(i * 7 + (i >> 9));
}

static void fill(unsigned char *p, uint32_t seed, int n)
{
	for (int i = 0; i < n; i++)
		p[i] = pattern(seed, i);
}

static void look(const struct work *w, const unsigned char *p, uint32_t seed, int n,
		 const char *what)
{
	char text[160];
	int bad = 0, first = -1;

	for (int i = 0; i < n; i++)
		if (p[i] != pattern(seed, i)) {
			first = first < 0 ? i : first;
			bad++;
		}
	if (!bad)
		return;
	snprintf(text, sizeof(text), "%s: %d of %d bytes, from the %dth on, which is %d", what, bad,
		 n, first, p[first]);
	check(w, 0, text);
}

static uint32_t seed_of(const struct work *w, int from, int to, int k)
{
	return w->step * 977u + (uint32_t)(from * 131 + to * 17 + k);
}

/* ---- the ways ------------------------------------------------------------------------------------ */

static void ring(struct work *w)
{
	int n = draw_size(w), to = (w->rank + 1) % w->size,
	    from = (w->rank + w->size - 1) % w->size;
	MPI_Status status;
	int got;

	fill(w->out, seed_of(w, w->rank, to, 0), n);
	MPI_Sendrecv(w->out, n, MPI_BYTE, to, 1, w->in, MOST, MPI_BYTE, from, 1, w->all, &status);
	MPI_Get_count(&status, MPI_BYTE, &got);
	check(w, got == n && status.MPI_SOURCE == from, "status of a ring");
	look(w, w->in, seed_of(w, from, w->rank, 0), n, "a ring");
	MPI_Sendrecv_replace(w->in, n, MPI_BYTE, to, 2, from, 2, w->all, &status);
	look(w, w->in, seed_of(w, (from + w->size - 1) % w->size, from, 0), n, "a ring onward");
}

/* Ranks with even numbers send first, then the others. */
static void blocking(struct work *w)
{
	int n = draw_size(w), kind = (int)draw(w, 3), peer = w->rank ^ 1;
	MPI_Status status;

	if (peer >= w->size)
		return;
	for (int turn = 0; turn < 2; turn++) {
		if ((w->rank + turn) % 2 == 0) {
			fill(w->out, seed_of(w, w->rank, peer, 3), n);
			if (kind == 0)
				MPI_Send(w->out, n, MPI_BYTE, peer, 3, w->all);
			else if (kind == 1)
				MPI_Ssend(w->out, n, MPI_BYTE, peer, 3, w->all);
			else
				MPI_Bsend(w->out, n, MPI_BYTE, peer, 3, w->all);
		} else {
			MPI_Recv(w->in, MOST, MPI_BYTE, MPI_ANY_SOURCE, 3, w->all, &status);
			check(w, status.MPI_SOURCE == peer && status.MPI_TAG == 3, "status");
			look(w, w->in, seed_of(w, peer, w->rank, 3), n, "a blocking message");
		}
	}
}

/* Messages from all to all; each receiver takes them as they come, and each sender's are in order. */
static void from_anybody(struct work *w)
{
	int next[MAXRANKS] = {0}, size[WINDOW], count = 0, how = (int)draw(w, 4);
	MPI_Request request[MAXRANKS * WINDOW];
	unsigned char *at = w->out;
	MPI_Message message;
	MPI_Status status;
	/* A rank that is ahead may send of the next step already. */
	int got, flag, tag = 100 + (int)(w->step % 1000);

	for (int k = 0; k < WINDOW; k++)
		size[k] = draw_size(w) / 8;
	for (int k = 0; k < WINDOW; k++)
		for (int to = 0; to < w->size; to++) {
			if (to == w->rank)
				continue;
			fill(at, seed_of(w, w->rank, to, k), size[k]);
			MPI_Isend(at, size[k], MPI_BYTE, to, tag, w->all, &request[count++]);
			at += size[k];
		}
	if (draw(w, 2))
		usleep(draw(w, 2000) * (uint32_t)(w->rank + 1) / 2);
	for (int i = 0; i < (w->size - 1) * WINDOW; i++) {
		int from;

		if (how == 0) {
			MPI_Recv(w->in, MOST, MPI_BYTE, MPI_ANY_SOURCE, tag, w->all, &status);
		} else if (how == 1) {
			MPI_Probe(MPI_ANY_SOURCE, tag, w->all, &status);
			MPI_Get_count(&status, MPI_BYTE, &got);
			from = status.MPI_SOURCE;
			MPI_Recv(w->in, got, MPI_BYTE, from, tag, w->all, &status);
		} else if (how == 2) {
			MPI_Mprobe(MPI_ANY_SOURCE, tag, w->all, &message, &status);
			MPI_Get_count(&status, MPI_BYTE, &got);
			MPI_Mrecv(w->in, got, MPI_BYTE, &message, &status);
		} else {
			do {
				MPI_Improbe(MPI_ANY_SOURCE, tag, w->all, &flag, &message, &status);
			} while (!flag);
			MPI_Mrecv(w->in, MOST, MPI_BYTE, &message, &status);
		}
		from = status.MPI_SOURCE;
		MPI_Get_count(&status, MPI_BYTE, &got);
		check(w, next[from] < WINDOW && got == size[next[from]], "order of messages");
		look(w, w->in, seed_of(w, from, w->rank, next[from]), got,
		     "a message from anybody");
		next[from]++;
	}
	MPI_Waitall(count, request, MPI_STATUSES_IGNORE);
}

static void requests(struct work *w)
{
	MPI_Request request[2 * MAXRANKS];
	int n = draw_size(w) / 8, count = 0, how = (int)draw(w, 5), left, index, flag;
	int indices[2 * MAXRANKS], some;
	MPI_Status status, statuses[2 * MAXRANKS];

	for (int from = 0; from < w->size; from++)
		MPI_Irecv(w->in + from * n, n, MPI_BYTE, from, 5, w->all, &request[count++]);
	if (draw(w, 2))
		usleep(draw(w, 1500) * (uint32_t)(w->rank + 1) / 2);
	for (int to = 0; to < w->size; to++) {
		fill(w->out + to * n, seed_of(w, w->rank, to, 6), n);
		MPI_Isend(w->out + to * n, n, MPI_BYTE, to, 5, w->all, &request[count++]);
	}
	left = count;
	if (how == 0)
		MPI_Waitall(count, request, statuses);
	while (how == 1 && left--)
		MPI_Waitany(count, request, &index, &status);
	while (how == 2 && left) {
		MPI_Waitsome(count, request, &some, indices, statuses);
		left -= some;
	}
	if (how == 3)
		do {
			MPI_Testall(count, request, &flag, statuses);
		} while (!flag);
	for (int i = 0; how == 4 && i < count; i++)
		MPI_Wait(&request[i], &status);
	for (int i = 0; i < count; i++)
		check(w, request[i] == MPI_REQUEST_NULL, "a request that has ended");
	for (int from = 0; from < w->size; from++)
		look(w, w->in + from * n, seed_of(w, from, w->rank, 6), n,
		     "a non-blocking message");
}

static void persistent(struct work *w)
{
	int n = draw_size(w), to = (w->rank + 1) % w->size,
	    from = (w->rank + w->size - 1) % w->size;
	MPI_Datatype type;
	MPI_Request request[2];

	n -= n % 4;
	MPI_Type_vector(n / 4, 1, 1, MPI_INT, &type);
	MPI_Type_commit(&type);
	MPI_Recv_init(w->in, 1, type, from, 7, w->all, &request[0]);
	MPI_Send_init(w->out, n, MPI_BYTE, to, 7, w->all, &request[1]);
	MPI_Type_free(&type);
	for (int k = 0; k < 3; k++) {
		fill(w->out, seed_of(w, w->rank, to, k), n);
		memset(w->in, 0, (size_t)n);
		MPI_Startall(2, request);
		MPI_Waitall(2, request, MPI_STATUSES_IGNORE);
		look(w, w->in, seed_of(w, from, w->rank, k), n, "a persistent message");
	}
	MPI_Request_free(&request[0]);
	MPI_Request_free(&request[1]);
}

static void collective_on(struct work *w, MPI_Comm comm)
{
	int n = draw_size(w) / 8, rank, size, root, sum = 0, mine;
	int *a = (int *)(void *)w->out, *b = (int *)(void *)w->in;

	MPI_Comm_rank(comm, &rank);
	MPI_Comm_size(comm, &size);
	mine = (int)w->step + rank;
	MPI_Allreduce(&mine, &sum, 1, MPI_INT, MPI_SUM, comm);
	check(w, sum == size * (int)w->step + size * (size - 1) / 2, "a sum");
	root = (int)(w->step % (uint32_t)size);
	if (rank == root)
		fill(w->out, seed_of(w, root, 0, 8), n);
	MPI_Bcast(w->out, n, MPI_BYTE, root, comm);
	look(w, w->out, seed_of(w, root, 0, 8), n, "a broadcast");
	for (int i = 0; i < size; i++)
		a[i] = rank * 1000 + i;
	MPI_Alltoall(a, 1, MPI_INT, b, 1, MPI_INT, comm);
	for (int i = 0; i < size; i++)
		check(w, b[i] == i * 1000 + rank, "an exchange");
	MPI_Barrier(comm);
}

static void collective(struct work *w)
{
	uint32_t order = draw(w, 3), save = w->random;

	collective_on(w, order == 0 ? w->all : order == 1 ? w->half : w->pair);
	w->random = save;
	if (draw(w, 2))
		usleep(draw(w, 1000) * (uint32_t)w->rank);
	w->random = save ^ 0x5bd1e995u;
	collective_on(w, order == 0 ? w->half : order == 1 ? w->pair : w->all);
	w->random = save ^ 0x1b873593u;
}

/* Under way at the same time: reductions, broadcasts, messages. */
static void overlapped(struct work *w)
{
	int n = draw_size(w) / 8 / 4 * 4, to = (w->rank + 1) % w->size;
	int from = (w->rank + w->size - 1) % w->size, *in = (int *)(void *)(w->in + MOST / 2);
	int a[3] = {w->rank, w->rank + 1, (int)w->step}, b[3] = {0};
	MPI_Request request[5];
	unsigned char *own = w->out + MOST / 2;

	for (int i = 0; i < n / 4; i++)
		((int *)(void *)own)[i] = w->rank + i;
	fill(w->out, seed_of(w, w->rank, to, 9), n);
	MPI_Irecv(w->in, n, MPI_BYTE, from, 9, w->all, &request[0]);
	MPI_Iallreduce(a, b, 3, MPI_INT, MPI_SUM, w->all, &request[1]);
	MPI_Isend(w->out, n, MPI_BYTE, to, 9, w->all, &request[2]);
	if (draw(w, 2))
		usleep(draw(w, 1000) * (uint32_t)w->rank);
	MPI_Iallreduce(own, in, n / 4, MPI_INT, MPI_SUM, w->all, &request[3]);
	MPI_Ibarrier(w->half, &request[4]);
	MPI_Waitall(5, request, MPI_STATUSES_IGNORE);
	look(w, w->in, seed_of(w, from, w->rank, 9), n, "a message beside collective calls");
	check(w, b[0] == w->size * (w->size - 1) / 2 && b[2] == w->size * (int)w->step,
	      "a reduction with a request");
	for (int i = 0; i < n / 4; i++)
		check(w, in[i] == w->size * (w->size - 1) / 2 + i * w->size, "a long reduction");
}

/* Each even rank and the odd one after it, which have the same rank in their groups. */
static void two_groups(struct work *w)
{
	int n = draw_size(w), peer = w->rank ^ 1, got = 0;
	MPI_Status status;

	fill(w->out, seed_of(w, w->rank, peer, 12), n);
	if (peer < w->size) {
		MPI_Sendrecv(w->out, n, MPI_BYTE, w->rank / 2, 12, w->in, MOST, MPI_BYTE,
			     MPI_ANY_SOURCE, 12, w->inter, &status);
		MPI_Get_count(&status, MPI_BYTE, &got);
		check(w, got == n && status.MPI_SOURCE == w->rank / 2, "status between groups");
		look(w, w->in, seed_of(w, peer, w->rank, 12), n, "a message between groups");
	}
	MPI_Allreduce(&w->rank, &got, 1, MPI_INT, MPI_MIN, w->inter);
	check(w, got == (w->rank + 1) % 2, "a reduction between groups");
}

static void come_and_go(struct work *w)
{
	MPI_Comm a, b;
	int n, sum;

	MPI_Comm_dup(w->all, &a);
	MPI_Comm_split(a, w->rank % 2, w->rank, &b);
	MPI_Comm_size(b, &n);
	MPI_Comm_free(&a);
	MPI_Allreduce(&w->rank, &sum, 1, MPI_INT, MPI_MAX, b);
	check(w, sum / 2 * 2 + w->rank % 2 <= w->size, "the greatest rank");
	MPI_Comm_free(&b);
}

/* ---- windows and files --------------------------------------------------------------------------- */

static void fences(struct work *w)
{
	int n = (int)draw(w, CELLS) + 1, to = (w->rank + 1) % w->size;
	int from = (w->rank + w->size - 1) % w->size;

	fill(w->out, seed_of(w, w->rank, to, 10), n * (int)sizeof(int));
	MPI_Win_fence(0, w->fenced);
	MPI_Put(w->out, n, MPI_INT, to, 0, n, MPI_INT, w->fenced);
	if (draw(w, 2))
		usleep(draw(w, 1000) * (uint32_t)w->rank);
	MPI_Win_fence(0, w->fenced);
	look(w, (unsigned char *)w->fenced_at, seed_of(w, from, w->rank, 10), n * (int)sizeof(int),
	     "a put between fences");
	MPI_Get(w->in, n, MPI_INT, to, 0, n, MPI_INT, w->fenced);
	MPI_Win_fence(0, w->fenced);
	look(w, w->in, seed_of(w, w->rank, to, 10), n * (int)sizeof(int), "a get between fences");
}

/* Every rank counts at every rank; later the number is what it must be. */
static void locks(struct work *w)
{
	int one = 1, value = 0, old;

	for (int to = 0; to < w->size; to++) {
		MPI_Win_lock(MPI_LOCK_EXCLUSIVE, to, 0, w->locked);
		MPI_Get(&value, 1, MPI_INT, to, 0, 1, MPI_INT, w->locked);
		MPI_Win_flush(to, w->locked);
		value++;
		MPI_Put(&value, 1, MPI_INT, to, 0, 1, MPI_INT, w->locked);
		MPI_Win_unlock(to, w->locked);
		MPI_Fetch_and_op(&one, &old, MPI_INT, to, 0, MPI_SUM, w->shared);
	}
	MPI_Win_flush_all(w->shared);
	w->counted += w->size;
	MPI_Barrier(w->all);
	MPI_Win_lock(MPI_LOCK_SHARED, w->rank, 0, w->locked);
	check(w, w->locked_at[0] == w->counted, "a number counted under a lock");
	MPI_Win_unlock(w->rank, w->locked);
	MPI_Win_sync(w->shared);
	check(w, w->shared_at[0] == w->counted, "a number counted by all");
	MPI_Barrier(w->all);
}

static void post_and_start(struct work *w)
{
	int to = (w->rank + 1) % w->size, from = (w->rank + w->size - 1) % w->size, value;
	MPI_Group all, target, origin;

	MPI_Comm_group(w->all, &all);
	MPI_Group_incl(all, 1, &to, &target);
	MPI_Group_incl(all, 1, &from, &origin);
	value = (int)w->step * 10 + w->rank;
	MPI_Win_post(origin, 0, w->fenced);
	MPI_Win_start(target, 0, w->fenced);
	MPI_Put(&value, 1, MPI_INT, to, 1, 1, MPI_INT, w->fenced);
	if (draw(w, 2))
		usleep(draw(w, 1000) * (uint32_t)w->rank);
	MPI_Win_complete(w->fenced);
	MPI_Win_wait(w->fenced);
	check(w, w->fenced_at[1] == (int)w->step * 10 + from, "a put between post and wait");
	MPI_Group_free(&all);
	MPI_Group_free(&target);
	MPI_Group_free(&origin);
}

/*
 * What is written after a checkpoint stays in the file when the program goes back to it, so that is not
 * to be where the restored program may still be reading: each time takes another place.
 */
static void file(struct work *w)
{
	int n = 1000 + (int)draw(w, PLACE - 1000), got;
	MPI_Offset at =
		(MPI_Offset)(w->places++ % PLACES * (uint32_t)w->size + (uint32_t)w->rank) * PLACE;
	MPI_Request request;
	MPI_Status status;

	fill(w->out, seed_of(w, w->rank, 0, 11), n);
	check(w, MPI_File_write_at_all(w->file, at, w->out, n, MPI_BYTE, &status) == MPI_SUCCESS,
	      "writing a file");
	/* Others write for us: Open MPI returns here before they have. */
	MPI_Barrier(w->all);
	check(w,
	      MPI_File_iread_at(w->file, at, w->in, n, MPI_BYTE, &request) == MPI_SUCCESS &&
		      MPI_Wait(&request, &status) == MPI_SUCCESS,
	      "reading a file");
	MPI_Get_count(&status, MPI_BYTE, &got);
	check(w, got == n, "the length of what was read");
	look(w, w->in, seed_of(w, w->rank, 0, 11), n, "a file");
	memset(w->in, 0, (size_t)n);
	check(w,
	      MPI_File_read_at_all_begin(w->file, at, w->in, n, MPI_BYTE) == MPI_SUCCESS &&
		      MPI_File_read_at_all_end(w->file, w->in, &status) == MPI_SUCCESS,
	      "reading a file by all");
	MPI_Get_count(&status, MPI_BYTE, &got);
	check(w, got == n, "the length of what all have read");
	look(w, w->in, seed_of(w, w->rank, 0, 11), n, "a file that all have read");
}

static void open_all(struct work *w)
{
	char name[32];

	snprintf(name, sizeof(name), "data.%d", w->thread);
	MPI_File_open(w->all, name, MPI_MODE_CREATE | MPI_MODE_RDWR, MPI_INFO_NULL, &w->file);
	MPI_Win_allocate(CELLS * sizeof(int), sizeof(int), MPI_INFO_NULL, w->all, &w->fenced_at,
			 &w->fenced);
	MPI_Win_allocate(sizeof(int), sizeof(int), MPI_INFO_NULL, w->all, &w->locked_at,
			 &w->locked);
	MPI_Win_allocate(sizeof(int), sizeof(int), MPI_INFO_NULL, w->all, &w->shared_at,
			 &w->shared);
	*w->locked_at = *w->shared_at = 0;
	MPI_Barrier(w->all);
	MPI_Win_lock_all(0, w->shared);
}

static void close_all(struct work *w)
{
	MPI_Win_unlock_all(w->shared);
	MPI_Win_free(&w->shared);
	MPI_Win_free(&w->locked);
	MPI_Win_free(&w->fenced);
	MPI_File_close(&w->file);
}

/* ---- all of it ------------------------------------------------------------------------------------ */

static int is_over(double begin)
{
	return *until == '/' ? access(until, F_OK) == 0 : MPI_Wtime() - begin > atoi(until);
}

static void *run(void *arg)
{
	static void (*const way[])(struct work * w) = {ring,       blocking,    from_anybody,
						       requests,   persistent,  collective,
						       overlapped, come_and_go, two_groups,
						       fences,     locks,       post_and_start,
						       file};
	/* Windows and files of Open MPI 4.1 are not safe with threads. */
	uint32_t ways = sizeof(way) / sizeof(way[0]) - (threads ? 4 : 0);
	struct work *w = arg;
	double begin = MPI_Wtime();
	int stop = 0;

	w->out = malloc(MOST * 2);
	w->in = malloc(MOST * 2);
	for (w->step = 1; !stop; w->step++) {
		way[draw(w, ways)](w);
		if (w->step % 20 == 0) {
			stop = is_over(begin);
			MPI_Bcast(&stop, 1, MPI_INT, 0, w->all);
		}
	}
	__atomic_add_fetch(&steps_done, w->step, __ATOMIC_SEQ_CST);
	free(w->out);
	free(w->in);
	return NULL;
}

static void ready(int rank)
{
	char name[2][32];
	FILE *f;

	snprintf(name[0], sizeof(name[0]), "pid.%d", rank);
	snprintf(name[1], sizeof(name[1]), "ready.%d", rank);
	f = fopen(name[0], "w");
	if (!f)
		abort();
	fprintf(f, "%d\n", getpid());
	fclose(f);
	rename(name[0], name[1]);
}

int main(int argc, char **argv)
{
	int provided, rank, size, buffer_size = 64 * (MOST + MPI_BSEND_OVERHEAD);
	void *buffer = malloc((size_t)buffer_size);
	pthread_t thread[8];
	MPI_Comm group, inter;
	struct work work[8];

	until = argc > 1 ? argv[1] : "5";
	threads = argc > 2 ? atoi(argv[2]) : 0;
	MPI_Init_thread(&argc, &argv, threads ? MPI_THREAD_MULTIPLE : MPI_THREAD_SINGLE, &provided);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	if (size > MAXRANKS || threads > 8)
		MPI_Abort(MPI_COMM_WORLD, 2);
	MPI_Buffer_attach(buffer, buffer_size);
	memset(work, 0, sizeof(work));
	for (int i = 0; i < (threads ? threads : 1); i++) {
		struct work *w = &work[i];

		w->thread = i;
		w->rank = rank;
		w->size = size;
		w->random = 12345u + (uint32_t)i * 77777u;
		MPI_Comm_dup(MPI_COMM_WORLD, &w->all);
		MPI_Comm_split(w->all, rank / 2, rank, &w->half);
		MPI_Comm_split(w->all, rank % 2, -rank, &w->pair);
		MPI_Comm_split(w->all, rank % 2, rank, &group);
		MPI_Intercomm_create(group, 0, w->all, 1 - rank % 2, 1, &inter);
		MPI_Comm_dup(inter, &w->inter);
		if (!threads)
			open_all(w);
	}
	MPI_Barrier(MPI_COMM_WORLD);
	if (rank == 0) {
		printf("begin\n");
		fflush(stdout);
	}
	ready(rank);
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, run, &work[i]);
	if (!threads)
		(void)run(&work[0]);
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	if (!threads)
		close_all(&work[0]);
	MPI_Buffer_detach(&buffer, &buffer_size);
	free(buffer);
	MPI_Barrier(MPI_COMM_WORLD);
	printf("passed %d: %llu steps\n", rank, (unsigned long long)steps_done);
	MPI_Finalize();
	return 0;
}
