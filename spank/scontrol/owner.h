/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Root asks in the name of the owner of a job, and becomes him for that: a child for each job,
 * several at once.
 */
#ifndef CKPT_SCONTROL_OWNER_H
#define CKPT_SCONTROL_OWNER_H

#include "spank/lib/slurm.h"
#include "spank/scontrol/request.h"

/* Exit status. */
int ckpti_owner_request(const struct ckpti_request *q, const struct ckpti_slurm_job *job);

struct ckpti_owner_pool;

/* At most `parallel` children; lines are preceded by the job's number when `label`. */
struct ckpti_owner_pool *ckpti_owner_pool_new(unsigned parallel, bool label);
/* Waits for a free place first. */
void ckpti_owner_pool_add(struct ckpti_owner_pool *p, const struct ckpti_request *q,
			  const struct ckpti_slurm_job *job);
/* Waits for all.  Returns how many have failed, and frees p. */
unsigned ckpti_owner_pool_end(struct ckpti_owner_pool *p);

#endif
