/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of sbatch, as they reach the job: Slurm puts those of the command line and of the
 * script into variables of its own, our plugin those that came from sbatch's variables.  Inside, the
 * variables of srun hold as well.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "spank/batch/batch.h"
#include "spank/lib/slurm.h"

#define OF_SLURM  "SLURM_SPANK__SLURM_SPANK_OPTION_spank_ckpt_"
#define OF_PLUGIN "SLURM_SPANK_CKPT_"

const char *ckpti_batch_option(enum ckpti_batch_option opt)
{
	static const char *const names[CKPTI_BATCH_OPTIONS][3] = {
		[CKPTI_BATCH_INTERVAL] = {OF_SLURM "checkpoint", "SLURM_CHECKPOINT",
					  OF_PLUGIN "INTERVAL"},
		[CKPTI_BATCH_DIR] = {OF_SLURM "checkpoint_dir", "SLURM_CHECKPOINT_DIR",
				     OF_PLUGIN "DIR"},
		[CKPTI_BATCH_RESTART_DIR] = {OF_SLURM "restart_dir", "SLURM_RESTART_DIR"},
		[CKPTI_BATCH_KEEP] = {OF_SLURM "checkpoint_keep"},
		[CKPTI_BATCH_INCLUDE] = {OF_SLURM "checkpoint_include", "SLURM_CHECKPOINT_INCLUDE",
					 OF_PLUGIN "INCLUDE"},
		[CKPTI_BATCH_FRESH] = {OF_SLURM "checkpoint_fresh"},
		[CKPTI_BATCH_SKIP_DONE] = {OF_SLURM "checkpoint_skip_done"},
	};

	for (size_t i = 0; i < 3 && names[opt][i]; i++) {
		const char *text = getenv(names[opt][i]);

		if (text && *text)
			return text;
	}
	return NULL;
}

static bool number(const char *name, uint32_t *ret)
{
	const char *text = getenv(name);
	unsigned long value;
	char *end;

	if (!text || *text < '0' || *text > '9')
		return false;
	errno = 0;
	value = strtoul(text, &end, 10);
	*ret = (uint32_t)value;
	return !errno && !*end && value <= UINT32_MAX;
}

bool ckpti_batch_surroundings(struct ckpti_batch *b)
{
	uint32_t restarts = 0;

	/* Slurm sets the number of the step for tasks of srun only. */
	if (getenv("SLURM_STEP_ID") || !number("SLURM_JOB_ID", &b->job) || b->job == 0)
		return false;
	(void)number("SLURM_RESTART_COUNT", &restarts);
	b->restarts = restarts;
	return true;
}

void ckpti_batch_ask_lives(struct ckpti_batch *b)
{
	struct ckpti_slurm_job job;
	char text[16];

	(void)snprintf(text, sizeof(text), "%" PRIu32, b->job);
	if (ckpti_slurm_job(text, &job, NULL) == 0)
		b->restarts = job.restarts;
}
