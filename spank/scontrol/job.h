/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests for one job, by its owner.  All return an exit status; everything has been said then. */
#ifndef CKPT_SCONTROL_JOB_H
#define CKPT_SCONTROL_JOB_H

#include "spank/lib/kv.h"
#include "spank/lib/slurm.h"
#include "spank/scontrol/request.h"

enum ckpti_job_phase {
	CKPTI_JOB_PENDING,
	CKPTI_JOB_RUNNING,
	CKPTI_JOB_SUSPENDED,
	CKPTI_JOB_COMPLETING,
	CKPTI_JOB_DONE,
};
enum ckpti_job_phase ckpti_job_phase(const struct ckpti_slurm_job *job);

/* Every verb; those but restart need the job's coordinators. */
int ckpti_job_request(const struct ckpti_request *q, const struct ckpti_slurm_job *job);

/* restart.c: a job that Slurm still knows, and one that it has forgotten. */
int ckpti_restart_known(const struct ckpti_request *q, const struct ckpti_slurm_job *job);
int ckpti_restart_forgotten(const struct ckpti_request *q);

/* show.c: directories. */
int ckpti_show(const struct ckpti_request *q);

/* status.c: the result of one step, and everything of the caller's. */
void ckpti_status_print(uint32_t job, const char *step, const struct ckpti_kv *result);
int ckpti_status_all(const struct ckpti_request *q);

#endif
