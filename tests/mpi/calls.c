/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages and collective calls of each kind; prints what has come in.  Run under the real library and
 * under the shim, the output is the same.
 */
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N 5

static int rank, size, right, left;
static MPI_Comm world = MPI_COMM_WORLD;

static void show(const char *what, const int *v, int n)
{
	char line[512];
	int at = snprintf(line, sizeof(line), "rank %d %s:", rank, what);

	for (int i = 0; i < n; i++)
		at += snprintf(line + at, sizeof(line) - (size_t)at, " %d", v[i]);
	puts(line);
}

static void fill(int *v, int n, int seed)
{
	for (int i = 0; i < n; i++)
		v[i] = seed * 100 + i + rank * 10;
}

static void show_status(const char *what, const MPI_Status *status)
{
	int v[4] = {status->MPI_SOURCE, status->MPI_TAG, 0, 0};

	MPI_Get_count(status, MPI_INT, &v[2]);
	MPI_Test_cancelled(status, &v[3]);
	show(what, v, 4);
}

static void blocking(void)
{
	int out[N], in[N] = {0}, *buffer, len = 10000, flag;
	MPI_Status status;
	MPI_Message message;
	void *detached;

	fill(out, N, 1);
	MPI_Sendrecv(out, N, MPI_INT, right, 1, in, N, MPI_INT, left, 1, world, &status);
	show("sendrecv", in, N);
	show_status("sendrecv status", &status);
	MPI_Sendrecv_replace(out, N, MPI_INT, right, 1, left, MPI_ANY_TAG, world, &status);
	show("replace", out, N);
	buffer = malloc((size_t)len);
	MPI_Buffer_attach(buffer, len);
	MPI_Bsend(in, 2, MPI_INT, right, 2, world);
	MPI_Probe(MPI_ANY_SOURCE, 2, world, &status);
	show_status("probe", &status);
	MPI_Recv(in, N, MPI_INT, left, 2, world, &status);
	show("bsend", in, N);
	MPI_Buffer_detach(&detached, &len);
	show("detach", (int[]){detached == buffer, len}, 2);
	free(buffer);
	MPI_Bsend_init(in, 1, MPI_INT, right, 3, world, &(MPI_Request){MPI_REQUEST_NULL});
	if (rank == 0)
		MPI_Ssend(out, 3, MPI_INT, right, 4, world);
	else if (rank == 1)
		MPI_Recv(in, N, MPI_INT, 0, 4, world, MPI_STATUS_IGNORE);
	show("ssend", in, N);
	if (rank == 0) {
		MPI_Send(out, 4, MPI_INT, right, 5, world);
	} else if (rank == 1) {
		MPI_Mprobe(0, 5, world, &message, &status);
		MPI_Mrecv(in, N, MPI_INT, &message, &status);
		show("mrecv", in, N);
		show("message is null", (int[]){message == MPI_MESSAGE_NULL}, 1);
	}
	MPI_Improbe(MPI_PROC_NULL, 6, world, &flag, &message, &status);
	show("no process", (int[]){flag, message == MPI_MESSAGE_NO_PROC, status.MPI_SOURCE}, 3);
	MPI_Iprobe(MPI_ANY_SOURCE, 77, world, &flag, &status);
	show("iprobe", &flag, 1);
}

static void requests(void)
{
	int out[4][N], in[4][N], n, which[4], flag, many = 200;
	MPI_Request r[8], *big;
	MPI_Status s[8];

	for (int i = 0; i < 4; i++) {
		fill(out[i], N, 20 + i);
		MPI_Irecv(in[i], N, MPI_INT, left, i, world, &r[i]);
	}
	MPI_Isend(out[0], N, MPI_INT, right, 0, world, &r[4]);
	MPI_Issend(out[1], N, MPI_INT, right, 1, world, &r[5]);
	MPI_Isend(out[2], N, MPI_INT, right, 2, world, &r[6]);
	MPI_Isend(out[3], N, MPI_INT, right, 3, world, &r[7]);
	MPI_Waitall(8, r, s);
	for (int i = 0; i < 4; i++) {
		show("irecv", in[i], N);
		show_status("irecv status", &s[i]);
	}
	n = 0;
	for (int i = 0; i < 8; i++)
		n += r[i] == MPI_REQUEST_NULL;
	show("null requests", &n, 1);
	/* Persistent ones, three times. */
	MPI_Send_init(out[0], N, MPI_INT, right, 9, world, &r[0]);
	MPI_Recv_init(in[0], N, MPI_INT, left, 9, world, &r[1]);
	for (int i = 0; i < 3; i++) {
		fill(out[0], N, 30 + i);
		MPI_Startall(2, r);
		MPI_Waitall(2, r, MPI_STATUSES_IGNORE);
		show("persistent", in[0], N);
	}
	show("still there", (int[]){r[0] != MPI_REQUEST_NULL, r[1] != MPI_REQUEST_NULL}, 2);
	MPI_Request_free(&r[0]);
	MPI_Request_free(&r[1]);
	show("freed", (int[]){r[0] == MPI_REQUEST_NULL, r[1] == MPI_REQUEST_NULL}, 2);
	/* Cancelled. */
	MPI_Irecv(in[0], N, MPI_INT, left, 12345, world, &r[0]);
	MPI_Cancel(&r[0]);
	MPI_Wait(&r[0], &s[0]);
	MPI_Test_cancelled(&s[0], &flag);
	show("cancelled", &flag, 1);
	/* Some, any, and with null requests among them. */
	for (int i = 0; i < 4; i++)
		r[i] = MPI_REQUEST_NULL;
	MPI_Irecv(in[1], N, MPI_INT, left, 13, world, &r[2]);
	MPI_Send(out[1], N, MPI_INT, right, 13, world);
	MPI_Waitany(4, r, &n, &s[0]);
	show("waitany", (int[]){n, r[2] == MPI_REQUEST_NULL}, 2);
	MPI_Waitany(4, r, &n, &s[0]);
	show("none", (int[]){n == MPI_UNDEFINED}, 1);
	MPI_Irecv(in[1], N, MPI_INT, left, 14, world, &r[1]);
	MPI_Send(out[1], N, MPI_INT, right, 14, world);
	MPI_Waitsome(4, r, &n, which, s);
	show("waitsome", (int[]){n, which[0]}, 2);
	MPI_Testall(4, r, &flag, s);
	show("testall", &flag, 1);
	MPI_Irecv(in[0], N, MPI_INT, MPI_PROC_NULL, 1, world, &r[0]);
	do
		MPI_Test(&r[0], &flag, &s[0]);
	while (!flag);
	show_status("no process", &s[0]);
	/* More than fit on the stack. */
	big = malloc((size_t)many * 2 * sizeof(*big));
	for (int i = 0; i < many; i++) {
		MPI_Irecv(&in[0][0], 1, MPI_INT, left, 1000 + i, world, &big[i]);
		MPI_Isend(&out[0][0], 1, MPI_INT, right, 1000 + i, world, &big[many + i]);
	}
	MPI_Waitall(2 * many, big, MPI_STATUSES_IGNORE);
	n = 0;
	for (int i = 0; i < 2 * many; i++)
		n += big[i] == MPI_REQUEST_NULL;
	show("many", (int[]){n, in[0][0]}, 2);
	free(big);
}

static void first_of_two(void *in, void *into, int *len, MPI_Datatype *type)
{
	int *a = in, *b = into;

	if (*type != MPI_INT)
		puts("the datatype is another");
	for (int i = 0; i < *len; i++)
		b[i] = 2 * a[i] + 3 * b[i];
}

static void collectives(void)
{
	int v[64], w[64], counts[8], displs[8], ones[8];
	MPI_Datatype types[8], other[8];
	MPI_Request r;
	MPI_Op op;

	for (int i = 0; i < size; i++) {
		counts[i] = i + 1;
		displs[i] = i * (i + 1) / 2;
		ones[i] = 1;
		types[i] = i % 2 ? MPI_INT : MPI_FLOAT;
		other[i] = rank % 2 ? MPI_INT : MPI_FLOAT;
	}
	fill(v, N, 40);
	MPI_Bcast(v, N, MPI_INT, size - 1, world);
	show("bcast", v, N);
	fill(v, N, 41);
	MPI_Reduce(v, w, N, MPI_INT, MPI_SUM, 0, world);
	if (rank == 0)
		show("reduce", w, N);
	MPI_Allreduce(v, w, N, MPI_INT, MPI_BXOR, world);
	show("allreduce", w, N);
	MPI_Allreduce(MPI_IN_PLACE, v, N, MPI_INT, MPI_MAX, world);
	show("in place", v, N);
	fill(v, N, 42);
	MPI_Scan(v, w, N, MPI_INT, MPI_SUM, world);
	show("scan", w, N);
	memset(w, 0, sizeof(w));
	MPI_Exscan(v, w, N, MPI_INT, MPI_SUM, world);
	show("exscan", w, rank ? N : 0);
	MPI_Gather(v, 2, MPI_INT, w, 2, MPI_INT, 0, world);
	if (rank == 0)
		show("gather", w, 2 * size);
	MPI_Allgatherv(v, rank + 1, MPI_INT, w, counts, displs, MPI_INT, world);
	show("allgatherv", w, size * (size + 1) / 2);
	MPI_Scatter(w, 1, MPI_INT, v, 1, MPI_INT, 0, world);
	show("scatter", v, 1);
	fill(v, size, 43);
	MPI_Alltoall(v, 1, MPI_INT, w, 1, MPI_INT, world);
	show("alltoall", w, size);
	for (int i = 0; i < size; i++)
		displs[i] = i * (int)sizeof(int);
	MPI_Alltoallw(v, ones, displs, types, w, ones, displs, other, world);
	show("alltoallw", w, size);
	MPI_Ialltoallw(v, ones, displs, types, w, ones, displs, other, world, &r);
	MPI_Wait(&r, MPI_STATUS_IGNORE);
	show("ialltoallw", w, size);
	MPI_Reduce_scatter_block(v, w, 1, MPI_INT, MPI_SUM, world);
	show("reduce_scatter_block", w, 1);
	MPI_Op_create(first_of_two, 0, &op);
	fill(v, N, 44);
	MPI_Allreduce(v, w, N, MPI_INT, op, world);
	show("own operation", w, N);
	MPI_Iallreduce(v, w, N, MPI_INT, op, world, &r);
	MPI_Op_free(&op);
	MPI_Wait(&r, MPI_STATUS_IGNORE);
	show("own operation, later", w, N);
	show("op is null", (int[]){op == MPI_OP_NULL}, 1);
	MPI_Reduce_local(v, w, N, MPI_INT, MPI_SUM);
	show("reduce_local", w, N);
	MPI_Ibarrier(world, &r);
	MPI_Wait(&r, MPI_STATUS_IGNORE);
	MPI_Barrier(world);
}

int main(int argc, char **argv)
{
	int before, after;
	double t;

	MPI_Initialized(&before);
	MPI_Init(&argc, &argv);
	MPI_Initialized(&after);
	MPI_Comm_rank(world, &rank);
	MPI_Comm_size(world, &size);
	right = (rank + 1) % size;
	left = (rank + size - 1) % size;
	show("initialized", (int[]){before, after, size}, 3);
	t = MPI_Wtime();
	blocking();
	requests();
	collectives();
	t = MPI_Wtime() - t;
	show("time", (int[]){t > 0 && t < 30, MPI_Wtick() < 0.01}, 2);
	MPI_Finalize();
	MPI_Finalized(&after);
	show("finalized", &after, 1);
	return 0;
}
