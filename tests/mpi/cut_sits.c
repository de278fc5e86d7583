/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: cut_sits CALL [huge]
 *
 * All ranks send messages of 1 byte to 4 MiB (huge: 64 MiB) to all others, which nobody receives yet, some of them with
 * one tag, so that they must stay in order; one is matched (MPI_Mprobe) and not received.  Then rank 0 sits in CALL
 * until the others do their part, which they do when there is a file "go" (or half a second after "ready", for
 * collective calls).  At last everything is received and each byte looked at.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZES 8
#define LONG  (1 << 20)
#define ALIKE 4  /* messages with the tag TAG */
#define TAG   40 /* and those above it, for their content */

static const int sizes[SIZES] = {1, 100, 4000, 5000, 70000, 1 << 20, 4 << 20, 64 << 20};
static int nsizes = SIZES - 1;
static int rank, size;

static void check(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "rank %d: wrong: %s\n", rank, what);
	MPI_Abort(MPI_COMM_WORLD, 1);
}

static unsigned char byte_of(int from, int to, int tag, int i)
{
	return (unsigned char)(from * 31 + to * 17 + tag * 7 + i + (i >> 8) * 3);
}

static unsigned char *message(int from, int to, int tag, int n)
{
	unsigned char *p = malloc((size_t)n);

	for (int i = 0; i < n; i++)
		p[i] = byte_of(from, to, tag, i);
	return p;
}

static void look(const unsigned char *p, int from, int tag, int n)
{
	for (int i = 0; i < n; i++)
		check(p[i] == byte_of(from, rank, tag, i), "a byte");
}

static void ready(void)
{
	char name[2][32];
	FILE *f;

	snprintf(name[0], sizeof(name[0]), "pid.%d", rank);
	snprintf(name[1], sizeof(name[1]), "ready.%d", rank);
	f = fopen(name[0], "w");
	check(f != NULL, "a file");
	fprintf(f, "%d\n", getpid());
	fclose(f);
	rename(name[0], name[1]);
}

static void wait_go(void)
{
	for (int i = 0; access("go", F_OK) != 0; i++) {
		check(i < 2500, "nobody says go");
		usleep(10000);
	}
}

/* Rank 0; what its partner does afterwards is in others(). */
static void sit(const char *call)
{
	unsigned char *buf = malloc(LONG), *mine = message(0, 1, 99, LONG);
	MPI_Request request;
	MPI_Status status;
	int flag = 0, n, sum = 0;

	if (strcmp(call, "recv") == 0) {
		MPI_Recv(buf, LONG, MPI_BYTE, MPI_ANY_SOURCE, 99, MPI_COMM_WORLD, &status);
		look(buf, status.MPI_SOURCE, 99, LONG);
	} else if (strcmp(call, "wait") == 0) {
		MPI_Irecv(buf, LONG, MPI_BYTE, 1, 99, MPI_COMM_WORLD, &request);
		MPI_Wait(&request, &status);
		look(buf, 1, 99, LONG);
	} else if (strcmp(call, "waitall") == 0) {
		MPI_Request two[2];
		unsigned char *more = malloc(LONG);

		MPI_Irecv(buf, LONG, MPI_BYTE, 1, 99, MPI_COMM_WORLD, &two[0]);
		MPI_Irecv(more, LONG, MPI_BYTE, 1, 99, MPI_COMM_WORLD, &two[1]);
		MPI_Waitall(2, two, MPI_STATUSES_IGNORE);
		look(buf, 1, 99, LONG);
		look(more, 1, 99, LONG);
		free(more);
	} else if (strcmp(call, "persistent") == 0) {
		MPI_Recv_init(buf, LONG, MPI_BYTE, 1, 99, MPI_COMM_WORLD, &request);
		for (int i = 0; i < 2; i++) {
			memset(buf, 0, LONG);
			MPI_Start(&request);
			MPI_Wait(&request, &status);
			look(buf, 1, 99, LONG);
		}
		MPI_Request_free(&request);
	} else if (strcmp(call, "probe") == 0) {
		MPI_Probe(MPI_ANY_SOURCE, 99, MPI_COMM_WORLD, &status);
		MPI_Get_count(&status, MPI_BYTE, &n);
		check(n == LONG, "the length that a probe says");
		MPI_Recv(buf, LONG, MPI_BYTE, status.MPI_SOURCE, 99, MPI_COMM_WORLD, &status);
		look(buf, status.MPI_SOURCE, 99, LONG);
	} else if (strcmp(call, "send") == 0) {
		MPI_Send(mine, LONG, MPI_BYTE, 1, 99, MPI_COMM_WORLD);
	} else if (strcmp(call, "ssend") == 0) {
		MPI_Ssend(mine, 1, MPI_BYTE, 1, 99, MPI_COMM_WORLD);
	} else if (strcmp(call, "sendrecv") == 0) {
		MPI_Sendrecv(mine, LONG, MPI_BYTE, 1, 99, buf, LONG, MPI_BYTE, 1, 99,
			     MPI_COMM_WORLD, &status);
		look(buf, 1, 99, LONG);
	} else if (strcmp(call, "barrier") == 0 || strcmp(call, "never") == 0) {
		MPI_Barrier(MPI_COMM_WORLD);
	} else if (strcmp(call, "allreduce") == 0) {
		n = 1;
		MPI_Allreduce(&n, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
		check(sum == size, "a sum");
	} else if (strcmp(call, "ibarrier") == 0) {
		MPI_Ibarrier(MPI_COMM_WORLD, &request);
		while (!flag)
			MPI_Test(&request, &flag, &status);
	} else if (strcmp(call, "bsend") == 0) {
		void *attached = malloc(LONG + MPI_BSEND_OVERHEAD), *p;

		MPI_Buffer_attach(attached, LONG + MPI_BSEND_OVERHEAD);
		MPI_Bsend(mine, LONG, MPI_BYTE, 1, 99, MPI_COMM_WORLD);
		MPI_Buffer_detach(&p, &n);
		check(p == attached, "the buffer of MPI_Bsend");
		free(attached);
	} else {
		check(0, "the name of a call");
	}
	free(buf);
	free(mine);
}

static int among(const char *call, const char *calls)
{
	size_t n = strlen(call);

	for (const char *p = calls; (p = strstr(p, call)); p += n)
		if ((p == calls || p[-1] == ' ') && (p[n] == ' ' || !p[n]))
			return 1;
	return 0;
}

static void others(const char *call)
{
	unsigned char *buf = malloc(LONG), *mine = message(rank, 0, 99, LONG);
	int n = 1, sum = 0;
	MPI_Status status;
	MPI_Request request;

	if (among(call, "barrier allreduce ibarrier"))
		usleep(500000);
	else
		wait_go();
	if (among(call, "barrier never"))
		MPI_Barrier(MPI_COMM_WORLD);
	if (strcmp(call, "allreduce") == 0)
		MPI_Allreduce(&n, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
	if (strcmp(call, "ibarrier") == 0) {
		MPI_Ibarrier(MPI_COMM_WORLD, &request);
		MPI_Wait(&request, MPI_STATUS_IGNORE);
	}
	if (rank == 1) {
		if (among(call, "recv wait waitall persistent probe sendrecv"))
			MPI_Send(mine, LONG, MPI_BYTE, 0, 99, MPI_COMM_WORLD);
		if (among(call, "waitall persistent"))
			MPI_Send(mine, LONG, MPI_BYTE, 0, 99, MPI_COMM_WORLD);
		if (among(call, "send ssend sendrecv bsend")) {
			MPI_Recv(buf, LONG, MPI_BYTE, 0, 99, MPI_COMM_WORLD, &status);
			MPI_Get_count(&status, MPI_BYTE, &n);
			look(buf, 0, 99, n);
		}
	}
	free(buf);
	free(mine);
}

int main(int argc, char **argv)
{
	MPI_Request *request;
	unsigned char **sent, *buf = malloc((size_t)sizes[SIZES - 1]);
	int n = 0, count, matched = 0;
	MPI_Message message_of;
	MPI_Status status;

	if (argc == 3 && strcmp(argv[2], "huge") == 0)
		nsizes = SIZES;
	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	request = calloc((size_t)(size * (SIZES + ALIKE)), sizeof(MPI_Request));
	sent = calloc((size_t)(size * (SIZES + ALIKE)), sizeof(*sent));
	for (int to = 0; to < size; to++) {
		for (int i = 0; to != rank && i < nsizes; i++) {
			sent[n] = message(rank, to, i, sizes[i]);
			MPI_Isend(sent[n], sizes[i], MPI_BYTE, to, i, MPI_COMM_WORLD, &request[n]);
			n++;
		}
		for (int i = 0; to != rank && i < ALIKE; i++) {
			sent[n] = message(rank, to, TAG + i, 2000);
			MPI_Isend(sent[n], 2000, MPI_BYTE, to, TAG, MPI_COMM_WORLD, &request[n]);
			n++;
		}
	}
	MPI_Mprobe(MPI_ANY_SOURCE, 5, MPI_COMM_WORLD, &message_of, &status);
	matched = status.MPI_SOURCE;
	ready();
	if (rank == 0)
		sit(argv[1]);
	else
		others(argv[1]);
	wait_go();
	MPI_Mrecv(buf, sizes[5], MPI_BYTE, &message_of, &status);
	check(status.MPI_SOURCE == matched && status.MPI_TAG == 5, "a matched message");
	look(buf, matched, 5, sizes[5]);
	for (int i = 0; i < nsizes; i++)
		for (int from = 0; from < size; from++) {
			if (from == rank || (from == matched && i == 5))
				continue;
			MPI_Recv(buf, sizes[SIZES - 1], MPI_BYTE, i % 2 ? MPI_ANY_SOURCE : from, i,
				 MPI_COMM_WORLD, &status);
			MPI_Get_count(&status, MPI_BYTE, &count);
			check(count == sizes[i], "a length");
			look(buf, status.MPI_SOURCE, i, count);
		}
	for (int from = 0; from < size; from++)
		for (int i = 0; from != rank && i < ALIKE; i++) {
			MPI_Recv(buf, 2000, MPI_BYTE, from, TAG, MPI_COMM_WORLD, &status);
			look(buf, from, TAG + i, 2000);
		}
	MPI_Waitall(n, request, MPI_STATUSES_IGNORE);
	for (int i = 0; i < n; i++)
		free(sent[i]);
	free(sent);
	free(request);
	free(buf);
	MPI_Barrier(MPI_COMM_WORLD);
	printf("passed %d\n", rank);
	MPI_Finalize();
	return 0;
}
