/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * `#SBATCH --checkpoint=30` and a program without srun or `cpr run`: nothing would ever be
 * checkpointed, and nobody would say so.  The plugin starts this beside the script; it sleeps, looks
 * whether a step has a coordinator, and ends with the first one, or with a line after the interval.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#include "spank/batch/batch.h"
#include "spank/lib/interval.h"
#include "spank/lib/registry.h"
#include "spank/lib/slurm.h"

#define AUTO_S      600U /* of no length that is known now */
#define LOOK_MS     500U
#define LOOK_MAX_MS 5000U

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
	uint64_t interval = CKPTI_INTERVAL_NONE, passed = 0, pause;

	if (!text || ckpti_interval_parse(text, &interval) < 0 || interval == CKPTI_INTERVAL_NONE)
		return EXIT_SUCCESS;
	interval = 1000 * (interval == CKPTI_INTERVAL_AUTO ? AUTO_S : interval);
	if (ckpti_slurm_conf(&conf, NULL) < 0)
		return EXIT_FAILURE;
	/* Less and less often: most scripts begin with what they are for. */
	while (passed < interval) {
		pause = passed / 10 < LOOK_MS ? LOOK_MS : passed / 10;
		pause = pause > LOOK_MAX_MS ? LOOK_MAX_MS : pause;
		pause = pause > interval - passed ? interval - passed : pause;
		(void)poll(NULL, 0, (int)pause);
		passed += pause;
		if (ckpti_registry_each(conf.cluster, b->job, found, (void *)(uintptr_t)b) != 0)
			return EXIT_SUCCESS;
	}
	(void)fprintf(stderr,
		      "checkpoint: nothing of job %u is checkpointed: the script must start its "
		      "programs with srun, or one with `cpr run`\n",
		      b->job);
	return EXIT_SUCCESS;
}
