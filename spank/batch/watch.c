/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `#SBATCH --checkpoint=30` and a program without srun or `cpr run`: nothing would ever be
 * checkpointed, and nobody would say so.  The plugin starts this beside the script; it sleeps, looks
 * whether a step has a coordinator, and ends with the first one, or with a line after the interval.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "spank/batch/batch.h"
#include "spank/lib/interval.h"
#include "spank/lib/registry.h"
#include "spank/lib/slurm.h"

#define AUTO_S 600U /* of no length that is known now */
#define LOOK_S 5U

static int found(void *arg, uint32_t job, const char *step, const struct ckpti_kv *kv)
{
	const struct ckpti_batch *b = arg;

	(void)job;
	(void)step;
	/* Not what an earlier life has left. */
	return ckpti_kv_get_u64(kv, "lives", 0) == b->restarts;
}

int ckpti_batch_watch(const struct ckpti_batch *b)
{
	const char *text = ckpti_batch_option(CKPTI_BATCH_INTERVAL);
	struct ckpti_slurm_conf conf;
	uint64_t interval = CKPTI_INTERVAL_NONE, passed = 0;
	struct timespec pause = {.tv_sec = 0};

	if (!text || ckpti_interval_parse(text, &interval) < 0 || interval == CKPTI_INTERVAL_NONE)
		return EXIT_SUCCESS;
	if (interval == CKPTI_INTERVAL_AUTO)
		interval = AUTO_S;
	if (ckpti_slurm_conf(&conf, NULL) < 0)
		return EXIT_FAILURE;
	while (passed < interval) {
		pause.tv_sec = (time_t)(interval - passed < LOOK_S ? interval - passed : LOOK_S);
		(void)nanosleep(&pause, NULL);
		passed += (uint64_t)pause.tv_sec;
		if (ckpti_registry_each(conf.cluster, b->job, found, (void *)(uintptr_t)b) != 0)
			return EXIT_SUCCESS;
	}
	(void)fprintf(stderr,
		      "checkpoint: nothing of job %u is checkpointed: the script must start its "
		      "programs with srun, or one with `cpr run`\n",
		      b->job);
	return EXIT_SUCCESS;
}
