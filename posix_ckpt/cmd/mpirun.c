/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How mpirun is told to start its ranks with `cpr run`: Open MPI 4 puts the words of its parameter
 * orte_fork_agent in front of every command that it starts.  So nothing has to be known of the many
 * options in front of the command, and several commands (a : b) are no special case.
 */
#include "mpirun.h"

#include <ckpt.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/procfs.h"
#include "program.h"
#include "text.h"

#define AGENT   "OMPI_MCA_orte_fork_agent"
#define PROGRAM "orterun" /* what mpirun and mpiexec of Open MPI 4 are links to */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* mpirun.mpich, mpiexec.hydra, ... */
static bool is_called(const char *command, const char *name)
{
	const char *base = base_name(command);
	size_t n = strlen(name);

	return strncmp(base, name, n) == 0 && (base[n] == '\0' || base[n] == '.');
}

static int set_agent(struct ckpti_err *err)
{
	const char *old = getenv(AGENT);
	char exe[4096], *value = NULL;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	int r;

	exe[n > 0 ? n : 0] = '\0';
	if (!exe[0] || strchr(exe, ' '))
		return ckpti_err(err, -ENOEXEC,
				 "%s: mpirun cannot start a program with a blank in its path", exe);
	if (asprintf(&value, "%s run --%s%s", exe, old && *old ? " " : "", old ? old : "") < 0)
		return -ENOMEM;
	r = setenv(AGENT, value, 1) < 0 ? -errno : 0;
	free(value);
	return r;
}

int ckpti_mpirun_prepare(const char *command, struct ckpti_err *err)
{
	char path[4096], self[16];

	if (!ckpti_program_path(command, path, sizeof(path)))
		return 0;
	if (strcmp(base_name(path), PROGRAM) != 0) {
		if (is_called(command, "mpirun") || is_called(command, "mpiexec"))
			return ckpti_err(
				err, -ENOTSUP,
				"what it starts cannot be checkpointed together: it is not the "
				"mpirun of Open MPI 4");
		return 0;
	}
	(void)snprintf(self, sizeof(self), "%d", (int)getpid());
	if (setenv(CKPTI_MPIRUN_LAUNCHER, self, 1) < 0)
		return -errno;
	return set_agent(err);
}

int ckpti_mpirun_own_rank(void)
{
	const char *launcher = getenv(CKPTI_MPIRUN_LAUNCHER), *rank = getenv(CKPTI_MPIRUN_RANK);
	uint64_t pid = 0, n = 0;

	if (!rank || ckpti_text_u64(rank, 0, CKPTI_MPIRUN_MAX - 1, &n) < 0)
		return -1;
	if (launcher && ckpti_text_u64(launcher, 1, INT32_MAX, &pid) == 0 &&
	    (pid_t)pid == getppid()) {
		/* A set of its own; and what the rank itself starts is no rank of that mpirun. */
		(void)unsetenv("CKPT_SET");
		(void)unsetenv(CKPTI_MPIRUN_LAUNCHER);
		(void)unsetenv(AGENT);
	}
	return (int)n;
}

bool ckpti_mpirun_is_target(const struct ckpti_target *t)
{
	char text[16];
	uint64_t pid = 0;

	return t->type == P_HID && t->id > 0 && t->id <= INT32_MAX &&
	       ckpti_procfs_environ((int)t->id, CKPTI_MPIRUN_LAUNCHER, text, sizeof(text)) == 1 &&
	       ckpti_text_u64(text, 1, INT32_MAX, &pid) == 0 && pid == (uint64_t)t->id;
}

static int number_in(int pid, const char *name, uint64_t *ret)
{
	char text[16];

	if (ckpti_procfs_environ(pid, name, text, sizeof(text)) != 1)
		return -ENOENT;
	return ckpti_text_u64(text, 0, CKPTI_MPIRUN_MAX, ret);
}

/* A process that mpirun has started; others of its children are none, such as the way to another host. */
static int note_rank(int pid, int **pids, size_t *n, struct ckpti_err *err)
{
	uint64_t rank, size, local;

	if (number_in(pid, CKPTI_MPIRUN_RANK, &rank) < 0 ||
	    number_in(pid, CKPTI_MPIRUN_SIZE, &size) < 0 ||
	    number_in(pid, CKPTI_MPIRUN_LOCAL, &local) < 0 || rank >= size)
		return 0;
	if (local < size)
		return ckpti_err(err, -ENOTSUP,
				 "%" PRIu64 " of %" PRIu64 " ranks of this mpirun run on other "
				 "hosts: start them with srun",
				 size - local, size);
	if (!*pids) {
		*pids = calloc(size, sizeof(**pids));
		*n = size;
	}
	if (!*pids)
		return ckpti_err(err, -ENOMEM, "no memory for %" PRIu64 " ranks", size);
	if (rank < *n)
		(*pids)[rank] = pid;
	return 0;
}

int ckpti_mpirun_ranks(int mpirun, int **ret, size_t *ret_n, struct ckpti_err *err)
{
	struct ckpti_procinfo p;
	int *pids = NULL, r = 0;
	size_t n = 0;

	*ret = NULL;
	*ret_n = 0;
	if (ckpti_procfs_numbers("/proc", &pids, &n) < 0)
		return ckpti_err(err, -errno, "/proc: %s", strerror(errno));
	for (size_t i = 0; r == 0 && i < n; i++)
		if (ckpti_procfs_stat(pids[i], &p) == 0 && p.ppid == mpirun && p.state != 'Z')
			r = note_rank(pids[i], ret, ret_n, err);
	free(pids);
	if (r == 0 && *ret_n == 0)
		r = ckpti_err(err, -EAGAIN, "mpirun (pid %d) has no ranks now", mpirun);
	for (size_t i = 0; r == 0 && i < *ret_n; i++)
		if (!(*ret)[i])
			r = ckpti_err(
				err, -EAGAIN,
				"rank %zu of mpirun (pid %d) has not been started yet, or has "
				"ended",
				i, mpirun);
	if (r < 0) {
		free(*ret);
		*ret = NULL;
	}
	return r;
}
