/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A new life: see restart.h.  The order is: the application's descriptors (the restart has done that),
 * the guest and MPI_Init with all signals blocked, objects, the cut's own, and only then the threads.
 */
#include "shim/restart.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ckpt_hooks.h"
#include "shim/cut.h"
#include "shim/remake.h"
#include "shim/segment.h"

#pragma weak ckpt_launch_environment

#define MEET_MS 60000

/*
 * Ranks of one node find each other's memory by process number, and after a restart they may have the
 * same one in namespaces of their own: data would come from the wrong process, and UCX waits for one
 * that it cannot see.  So Open MPI copies through memory that both have mapped, and UCX goes through the
 * network's transports.
 */
static const char *const no_pids[] = {
	CKPTI_MPI_NO_PIDS,
	"UCX_TLS=^sm",
};
#define NO_PIDS (sizeof(no_pids) / sizeof(no_pids[0]))

static bool names_pids(const char *e)
{
	for (size_t i = 0; i < NO_PIDS; i++)
		if (strncmp(e, no_pids[i], strcspn(no_pids[i], "=") + 1) == 0)
			return true;
	return false;
}

/* The value of a variable of the launch; "": it is not set.  name: with the sign of equality. */
static const char *of_launch(const char *name)
{
	const char *block = ckpt_launch_environment ? ckpt_launch_environment() : NULL;

	for (const char *e = block; e && *e; e += strlen(e) + 1)
		if (strncmp(e, name, strlen(name)) == 0)
			return e + strlen(name);
	return "";
}

/* What all ranks of this launch have in common, and no other launch has. */
static void name_launch(char *ret, size_t size)
{
	const char *space = of_launch("PMIX_NAMESPACE=");

	if (*space)
		(void)snprintf(ret, size, "%s", space);
	else
		(void)snprintf(ret, size, "%s.%s", of_launch("SLURM_JOB_ID="),
			       of_launch("SLURM_STEP_ID="));
}

/* How long to wait for the other ranks of a shared window: their images may be larger. */
static int meet_ms(void)
{
	long s = strtol(of_launch("CKPT_MPI_MEET_TIMEOUT="), NULL, 10);

	return s >= 1 && s <= 3600 ? (int)s * 1000 : MEET_MS;
}

/* In one block; NULL: no memory. */
static char **launch_env(void)
{
	const char *block = ckpt_launch_environment ? ckpt_launch_environment() : NULL;
	size_t n = NO_PIDS + 1;
	char **ret;

	for (const char *e = block; e && *e; e += strlen(e) + 1)
		n++;
	ret = calloc(n, sizeof(*ret));
	if (!ret)
		return NULL;
	n = 0;
	for (const char *e = block; e && *e; e += strlen(e) + 1)
		if (!names_pids(e))
			ret[n++] = (char *)e;
	for (size_t i = 0; i < NO_PIDS; i++)
		ret[n++] = (char *)no_pids[i];
	return ret;
}

/* Every rank's objects are made in the same order where they have members in common. */
static int objects_again(struct ckpti_err *err)
{
	int r = ckpti_mpi_errhandlers_again(err);

	if (r == 0)
		r = ckpti_mpi_infos_again(err);
	if (r == 0)
		r = ckpti_mpi_ops_again(err);
	if (r == 0)
		r = ckpti_mpi_types_again(err);
	if (r == 0)
		r = ckpti_mpi_groups_again(err);
	if (r == 0)
		r = ckpti_mpi_comms_again(err);
	if (r == 0)
		r = ckpti_mpi_windows_again(err);
	if (r == 0)
		r = ckpti_mpi_files_again(err);
	return r;
}

int ckpti_mpi_save(struct ckpti_err *err)
{
	int r;

	ckpti_mpi_errhandlers_save();
	r = ckpti_mpi_infos_save(err);
	if (r == 0)
		r = ckpti_mpi_ops_save(err);
	if (r == 0)
		r = ckpti_mpi_types_save(err);
	if (r == 0)
		r = ckpti_mpi_groups_save(err);
	if (r == 0)
		r = ckpti_mpi_comms_save(err);
	if (r == 0)
		r = ckpti_mpi_windows_save(err);
	if (r == 0)
		r = ckpti_mpi_segments_prepare(err);
	if (r == 0)
		r = ckpti_mpi_files_save(err);
	ckpti_mpi_clock_save();
	return r;
}

static int new_life(struct ckpti_err *err)
{
	char **env = launch_env();
	int r;

	if (!env)
		return ckpti_err(err, -ENOMEM, "no memory for the launch's environment");
	r = ckpti_mpi_load(env, err);
	free(env);
	if (r == 0 && ckpti_mpi_running) {
		r = ckpti_mpi_start_again(err);
		if (r == 0)
			r = objects_again(err);
		if (r == 0)
			r = ckpti_mpi_cut_restarted(err);
	}
	return r;
}

static bool lost;

/* Not exit(): the application's buffers are those of the checkpoint. */
static void give_up(const struct ckpti_err *err)
{
	(void)dprintf(STDERR_FILENO, "posix-ckpt: MPI: cannot go on after the restart: %s\n",
		      err->text);
	_exit(1);
}

void ckpti_mpi_lost(void)
{
	struct ckpti_err err = {0};
	char launch[256];

	name_launch(launch, sizeof(launch));
	/* Threads may look at shared windows before they call MPI. */
	if (ckpti_mpi_segments_again(launch, meet_ms(), &err) < 0)
		give_up(&err);
	lost = true;
	ckpti_mpi_hold_back(true);
	ckpti_guest_lost();
	ckpti_mpi_clock_again();
}

/* Without a guest every thread would wait for ever at its next call. */
void ckpti_mpi_restart(void)
{
	struct ckpti_err err = {0};

	if (!lost)
		return;
	lost = false;
	if (new_life(&err) < 0)
		give_up(&err);
	ckpti_mpi_hold_back(false);
}
