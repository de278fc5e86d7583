/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt-batch: a program in a batch script as a step of one task.
 *
 * It stands where srun, slurmstepd and the plugin stand for other steps: it starts the coordinator and a
 * node agent, makes the page, becomes the program in a child, and ends as that does.  Everything
 * is the user's; when a part of it fails the program runs as with a plain `cpr run`, but for a
 * restart that the user has asked for.
 */
#ifndef CKPT_SPANK_BATCH_H
#define CKPT_SPANK_BATCH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "spank/lib/kv.h"
#include "spank/lib/page.h"
#include "spank/plugin/link.h"
#include "util/err.h"

struct ckpti_batch {
	/* The line in plugstack.conf, which the plugin has put into CKPT_LAUNCHER. */
	const char *bindir, *libdir, *config;
	bool quiet, watch;
	char **command;
	uint32_t job;
	unsigned restarts;
	char libexec[PATH_MAX]; /* where this program is */
	struct ckpti_page *page;
	int page_fd;
};

/* ---- options.c: what sbatch was given ------------------------------------------------------ */

enum ckpti_batch_option {
	CKPTI_BATCH_INTERVAL,
	CKPTI_BATCH_DIR,
	CKPTI_BATCH_RESTART_DIR,
	CKPTI_BATCH_KEEP,
	CKPTI_BATCH_INCLUDE,
	CKPTI_BATCH_FRESH,
	CKPTI_BATCH_SKIP_DONE,
	CKPTI_BATCH_OPTIONS
};
/* NULL: not given.  Options without an argument: any text. */
const char *ckpti_batch_option(enum ckpti_batch_option opt);
/* Fill in job and restarts.  False: this is no batch script of a job, or it is inside of a step. */
bool ckpti_batch_surroundings(struct ckpti_batch *b);
/* What the environment says of earlier lives may be of another job, whose script has submitted this one; so the
 * coordinator goes by what Slurm says, and so must who compares with it. */
void ckpti_batch_ask_lives(struct ckpti_batch *b);

/* ---- coordinator.c ------------------------------------------------------------------------- */

enum ckpti_link_answer ckpti_batch_coordinate(const struct ckpti_batch *b);
/* Its variables are for those who work for the program, not for the program. */
void ckpti_batch_clear_env(void);
/* The program has ended.  Does not return when the job was vacated. */
void ckpti_batch_coordinate_end(void);

/* ---- node.c -------------------------------------------------------------------------------- */

int ckpti_batch_make_page(struct ckpti_batch *b, struct ckpti_err *err);
/* Without one there are no checkpoints, and the program runs. */
void ckpti_batch_start_agent(const struct ckpti_batch *b);
/* Tell it how the program has ended, and wait until it has told the coordinator. */
void ckpti_batch_ended(const struct ckpti_batch *b, int status);

/* ---- task.c -------------------------------------------------------------------------------- */

/* Become `cpr run` of the program.  Comes back with errno when that cannot be; cpr is its path then. */
void ckpti_batch_exec_run(const struct ckpti_batch *b, char cpr[PATH_MAX]);
/* Runs the program, or what it was in a generation: its wait status. */
int ckpti_batch_task(struct ckpti_batch *b);

/* ---- watch.c ------------------------------------------------------------------------------- */

/* Say so when nothing in the job is a step when the first checkpoint should have been. */
int ckpti_batch_watch(const struct ckpti_batch *b);

#endif
