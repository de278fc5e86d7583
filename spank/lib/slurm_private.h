/* SPDX-License-Identifier: BSD-3-Clause */
/* The readers of scontrol's output, apart for tests.  They change the text. */
#ifndef CKPT_SPANK_SLURM_PRIVATE_H
#define CKPT_SPANK_SLURM_PRIVATE_H

#include "spank/lib/slurm.h"

/* want 0: there is only one.  -ENOENT: not in it, -EBADMSG: not to be trusted. */
int ckpti_slurm_parse_job(char *text, uint32_t want, struct ckpti_slurm_job *ret);
/* job: as it stands there, "123" or "120_3". */
int ckpti_slurm_parse_steps(char *text, const char *job, struct ckpti_slurm_step **ret,
			    size_t *ret_n);
void ckpti_slurm_parse_conf(char *text, struct ckpti_slurm_conf *ret);

#endif
