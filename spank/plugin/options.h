/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The options of srun, sbatch and salloc, and the variables that stand for them.  An option beats a
 * variable; of several the last one counts, which makes that of an inner srun beat that of sbatch.
 */
#ifndef CKPT_SPANK_OPTIONS_H
#define CKPT_SPANK_OPTIONS_H

#include <slurm/spank.h>
#include <stdbool.h>

enum ckpti_option {
	CKPTI_OPT_INTERVAL = 1,
	CKPTI_OPT_DIR,
	CKPTI_OPT_RESTART_DIR,
	CKPTI_OPT_KEEP,
	CKPTI_OPT_FRESH,
	CKPTI_OPT_INCLUDE,
	CKPTI_OPT_SKIP_DONE,
	CKPTI_OPT_N
};

void ckpti_options_register(spank_t sp);

/* For what was not given as an option: variables of srun, or of sbatch.  A bad one ends the process. */
void ckpti_options_from_srun_env(void);
void ckpti_options_from_sbatch_env(void);
/* Hand those that came from sbatch's variables to the sruns in the job, as Slurm does with options. */
void ckpti_options_hand_on(spank_t sp);

/* NULL: not given.  Options without an argument: "". */
const char *ckpti_options_get(enum ckpti_option opt);
/* Has the user asked for anything? */
bool ckpti_options_any(void);

#endif
