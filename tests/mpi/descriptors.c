/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Programs that close what they do not know, as daemons do: MPI goes on, and what is the program's own is
 * closed.
 */
#include <errno.h>
#include <fcntl.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HIGH 560 /* among those of MPI */
#define MOST 1024

static int rank, size;

static void check(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "rank %d: wrong: %s\n", rank, what);
	MPI_Abort(MPI_COMM_WORLD, 1);
}

static int is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

/* MPI talks to the other rank, short and long. */
static void communicate(void)
{
	static char out[1 << 20], in[1 << 20];
	int sum = 0;

	memset(out, 'a' + rank, sizeof(out));
	check(MPI_Sendrecv(out, sizeof(out), MPI_CHAR, (rank + 1) % size, 1, in, sizeof(in),
			   MPI_CHAR, (rank + size - 1) % size, 1, MPI_COMM_WORLD,
			   MPI_STATUS_IGNORE) == 0 &&
		      in[sizeof(in) - 1] == 'a' + (rank + size - 1) % size,
	      "Sendrecv");
	check(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD) == 0 &&
		      sum == size * (size - 1) / 2,
	      "Allreduce");
}

static void with_all(const char *how)
{
	int low = open("/dev/null", O_RDONLY), high = fcntl(low, F_DUPFD, HIGH);

	check(low > 2 && high >= HIGH, "open");
	if (strcmp(how, "close") == 0) {
		for (int fd = 3; fd < MOST; fd++)
			check(close(fd) == 0 || errno == EBADF, "close");
	} else if (strcmp(how, "closefrom") == 0) {
		closefrom(3);
	} else if (strcmp(how, "close_range") == 0) {
		check(close_range(3, ~0U, 0) == 0, "close_range");
	} else {
		for (int fd = 3; fd < MOST; fd++)
			check(dup2(low, fd) == fd || errno == EBUSY || fd == low, "dup2");
		closefrom(3);
	}
	check(!is_open(low) && !is_open(high), how);
	communicate();
}

int main(int argc, char **argv)
{
	static const char *const ways[] = {"close", "closefrom", "close_range", "dup2"};
	int left = 0, tcp;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	communicate();
	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		with_all(ways[i]);
	for (int fd = 3; fd < MOST; fd++)
		left += is_open(fd);
	/* MPI has some, and they are what was not closed. */
	check(left > 0, "none is left");
	tcp = open("/dev/null", O_RDONLY);
	check(tcp == 3, "the lowest number is not free");
	MPI_Finalize();
	printf("passed %d\n", rank);
	return 0;
}
