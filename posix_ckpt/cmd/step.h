/* SPDX-License-Identifier: BSD-3-Clause */
/* Checkpoints of a Slurm job or job step, which the program ckpt-step asks the job for. */
#ifndef CKPT_CMD_STEP_H
#define CKPT_CMD_STEP_H

#include "cmd.h"

/* Is the target a job or a step? */
bool ckpti_step_is_target(const struct ckpti_target *t);
/* Ask for it and end as ckpt-step does; with --api-result its last line is the error's text.  Returns
 * only when it could not be asked or failed: -ENOTSUP without a ckpt-step, -EREMOTEIO when it ended with
 * an error.  0: done, with --api-result only. */
int ckpti_step_create(const struct ckpti_cmd_opts *o, bool end_them, struct ckpti_err *err);

/* Is it the directory of a job step, which holds those of its tasks? */
bool ckpti_step_is_dir(const char *dir);
/* Let ckpt-step do it (show, check).  0, -EREMOTEIO when the answer is no, which has been said. */
int ckpti_step_ask(const char *verb, const char *dir, struct ckpti_err *err);

#endif
