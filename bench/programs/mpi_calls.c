/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: mpi_calls TURNS INDEX BLOCKS [realtime]
 *
 * Times of MPI calls between two ranks, "NAME NS" a line.  Three launches of this program share the file
 * TURNS: each measures a short block while the others sleep, so what else the machine does meets all
 * alike.  By INDEX they run under the real library (0), under the shim (1), and under the real library
 * with a write of FS base before and after each call (2): no way into a guest and back costs less.
 * realtime: from the end of MPI_Init on nothing else gets these processors while they measure.
 */
#include <fcntl.h>
#include <linux/futex.h>
#include <mpi.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MOST     (1 << 20)
#define LAUNCHES 3

/* In TURNS.  Launch INDEX has the turns INDEX, INDEX + LAUNCHES and so on. */
struct turns {
	uint32_t number, done; /* of its two ranks */
};

static struct turns *turns;
static uint32_t next;
static int rank, blocks;
static uint64_t write_fs; /* 0: do not */
static char *a, *b;

/* No longer than the driver waits: it ends us. */
static void turn_begin(void)
{
	uint32_t now;

	while ((now = __atomic_load_n(&turns->number, __ATOMIC_SEQ_CST)) != next)
		(void)syscall(SYS_futex, &turns->number, FUTEX_WAIT, now, NULL, NULL, 0);
	next += LAUNCHES;
}

static void turn_end(void)
{
	if (__atomic_add_fetch(&turns->done, 1, __ATOMIC_SEQ_CST) < 2)
		return;
	turns->done = 0;
	(void)__atomic_add_fetch(&turns->number, 1, __ATOMIC_SEQ_CST);
	(void)syscall(SYS_futex, &turns->number, FUTEX_WAKE, 2 * LAUNCHES, NULL, NULL, 0);
}

static double now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* ---- what is measured ---------------------------------------------------------------------------- */

#define CALL(name, ...)                                                               \
	do {                                                                          \
		if (write_fs)                                                         \
			__asm__ volatile("wrfsbase %0" : : "r"(write_fs) : "memory"); \
		(void)name(__VA_ARGS__);                                              \
		if (write_fs)                                                         \
			__asm__ volatile("wrfsbase %0" : : "r"(write_fs) : "memory"); \
	} while (0)

/* A call that does next to nothing, and that the shim does not answer by itself. */
static void crossing(int n)
{
	int flag;

	(void)n;
	CALL(MPI_Comm_test_inter, MPI_COMM_WORLD, &flag);
}

static void comm_rank(int n)
{
	(void)n;
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
}

static void type_size(int n)
{
	MPI_Type_size(MPI_DOUBLE, &n);
}

static void wtime(int n)
{
	(void)n;
	(void)MPI_Wtime();
}

static void exchange(int n)
{
	if (rank == 0) {
		CALL(MPI_Send, a, n, MPI_BYTE, 1, 0, MPI_COMM_WORLD);
		CALL(MPI_Recv, b, n, MPI_BYTE, 1, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
	} else {
		CALL(MPI_Recv, b, n, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
		CALL(MPI_Send, a, n, MPI_BYTE, 0, 0, MPI_COMM_WORLD);
	}
}

static void waitall(int n)
{
	MPI_Request request[2];

	CALL(MPI_Irecv, b, n, MPI_BYTE, !rank, 0, MPI_COMM_WORLD, &request[0]);
	CALL(MPI_Isend, a, n, MPI_BYTE, !rank, 0, MPI_COMM_WORLD, &request[1]);
	CALL(MPI_Waitall, 2, request, MPI_STATUSES_IGNORE);
}

static void irecv_send_wait(int n)
{
	MPI_Request request;

	CALL(MPI_Irecv, b, n, MPI_BYTE, !rank, 0, MPI_COMM_WORLD, &request);
	CALL(MPI_Send, a, n, MPI_BYTE, !rank, 0, MPI_COMM_WORLD);
	CALL(MPI_Wait, &request, MPI_STATUS_IGNORE);
}

static void sendrecv(int n)
{
	CALL(MPI_Sendrecv, a, n, MPI_BYTE, !rank, 0, b, n, MPI_BYTE, !rank, 0, MPI_COMM_WORLD,
	     MPI_STATUS_IGNORE);
}

static void reduce(int n)
{
	CALL(MPI_Allreduce, a, b, n / 8, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD);
}

static void barrier(int n)
{
	(void)n;
	CALL(MPI_Barrier, MPI_COMM_WORLD);
}

static const struct {
	const char *name;
	void (*call)(int n);
	int n, count;
	double share;
} measured[] = {
	{"crossing", crossing, 0, 10000, 1},
	{"comm_rank", comm_rank, 0, 20000, 1},
	{"type_size", type_size, 0, 20000, 1},
	{"wtime", wtime, 0, 10000, 1},
	/* Half of there and back. */
	{"ping_pong_8", exchange, 8, 2000, 0.5},
	{"ping_pong_4096", exchange, 4096, 300, 0.5},
	{"ping_pong_1048576", exchange, MOST, 10, 0.5},
	{"irecv_isend_waitall_8", waitall, 8, 2000, 1},
	{"irecv_send_wait_8", irecv_send_wait, 8, 2000, 1},
	{"sendrecv_8", sendrecv, 8, 2000, 1},
	{"barrier", barrier, 0, 2000, 1},
	{"allreduce_8", reduce, 8, 2000, 1},
	{"allreduce_1048576", reduce, MOST, 5, 1},
};

static double block(size_t k)
{
	double start;

	measured[k].call(measured[k].n);
	MPI_Barrier(MPI_COMM_WORLD);
	start = now_ns();
	for (int i = 0; i < measured[k].count; i++)
		measured[k].call(measured[k].n);
	return (now_ns() - start) / measured[k].count * measured[k].share;
}

/* Physical memory of this process, in bytes. */
static double memory(void)
{
	FILE *file = fopen("/proc/self/statm", "re");
	long total = 0, here = 0;

	if (!file || fscanf(file, "%ld %ld", &total, &here) != 2)
		exit(1);
	(void)fclose(file);
	return (double)here * (double)sysconf(_SC_PAGESIZE);
}

int main(int argc, char **argv)
{
	double start = now_ns(), load, up, here;
	int fd, version, sub;

	if (argc < 4)
		return 1;
	fd = open(argv[1], O_RDWR | O_CLOEXEC);
	next = (uint32_t)atoi(argv[2]);
	blocks = atoi(argv[3]);
	turns = mmap(NULL, sizeof(*turns), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd < 0 || turns == MAP_FAILED)
		return 1;
	if (next == 2)
		__asm__ volatile("rdfsbase %0" : "=r"(write_fs));
	a = calloc(1, MOST);
	b = calloc(1, MOST);
	turn_begin();
	start = now_ns();
	MPI_Get_version(&version, &sub);
	load = now_ns() - start;
	MPI_Init(&argc, &argv);
	up = now_ns() - start;
	here = memory();
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	if (rank == 0)
		printf("load %.0f\ninit %.0f\nmemory %.0f\n", load, up, here);
	if (argc > 4 && sched_setscheduler(0, SCHED_RR, &(struct sched_param){.sched_priority = 1}))
		return 1;
	turn_end();
	for (size_t k = 0; k < sizeof(measured) / sizeof(measured[0]); k++)
		for (int i = 0; i < blocks; i++) {
			double ns;

			turn_begin();
			ns = block(k);
			turn_end();
			if (rank == 0)
				printf("%s %.2f\n", measured[k].name, ns);
		}
	turn_begin();
	/* The end needs other threads of the process. */
	(void)sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
	MPI_Finalize();
	turn_end();
	return 0;
}
