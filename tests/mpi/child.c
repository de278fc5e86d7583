/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Children of an MPI process: a forked one has no guest, and its MPI calls are refused in one line; one
 * that execs inherits nothing of the guest; the parent goes on.
 */
#include <fcntl.h>
#include <mpi.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int failures;

static void check(int ok, const char *what)
{
	if (!ok) {
		printf("failed: %s\n", what);
		failures++;
	}
}

static volatile sig_atomic_t got;

static void handler(int sig)
{
	got = sig;
}

static int lines_with(const char *path, const char *begin)
{
	char line[4096];
	FILE *f = fopen(path, "r");
	int n = 0;

	while (f && fgets(line, sizeof(line), f))
		n += strncmp(line, begin, strlen(begin)) == 0;
	if (f)
		fclose(f);
	return n;
}

static int high_fds(void)
{
	int n = 0;

	for (int fd = 512; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static void in_child(void)
{
	int rank;

	check(lines_with("/proc/self/maps", "20") == 0, "the child has the guest's memory");
	check(high_fds() == 0, "the child has the guest's descriptors");
	raise(SIGUSR1);
	check(got == SIGUSR1, "a handler does not run in the child");
	fflush(stdout);
	if (failures)
		_exit(1);
	/* Refused: does not come back. */
	MPI_Comm_rank(MPI_COMM_SELF, &rank);
	MPI_Barrier(MPI_COMM_SELF);
	_exit(2);
}

int main(int argc, char **argv)
{
	char text[512] = "";
	int rank, status, err[2], x = 1, sum = 0, size;
	pid_t pid;
	FILE *f;

	MPI_Init(&argc, &argv);
	MPI_Comm_rank(MPI_COMM_WORLD, &rank);
	MPI_Comm_size(MPI_COMM_WORLD, &size);
	signal(SIGUSR1, handler);
	check(high_fds() > 5, "the guest has no descriptors here");
	check(pipe(err) == 0, "pipe");
	pid = fork();
	if (pid == 0) {
		dup2(err[1], 2);
		in_child();
	}
	close(err[1]);
	check(waitpid(pid, &status, 0) == pid, "waitpid");
	check(WIFEXITED(status) && WEXITSTATUS(status) == 1, "the child's status");
	check(read(err[0], text, sizeof(text) - 1) > 0 &&
		      strstr(text, "was forked by an MPI process"),
	      "the child's message");
	f = popen("ls /proc/self/fd; grep SigBlk /proc/self/status", "r");
	while (f && fgets(text, sizeof(text), f)) {
		check(atoi(text) < 512, "an exec'd child has a descriptor of the guest");
		if (strncmp(text, "SigBlk:", 7) == 0)
			check(strtoull(text + 7, NULL, 16) == 0, "an exec'd child blocks signals");
	}
	check(f && pclose(f) == 0, "popen");
	MPI_Allreduce(&x, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
	check(sum == size, "the parent's sum");
	if (!failures)
		printf("passed %d\n", rank);
	MPI_Finalize();
	return failures != 0;
}
