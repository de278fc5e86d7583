/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asking Slurm, by its own commands: their output is stable over versions, libslurm is not.  The
 * real commands are found in PATH, passing over our own scontrol.  Every call has a deadline.
 */
#ifndef CKPT_SPANK_SLURM_H
#define CKPT_SPANK_SLURM_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/err.h"

/* Run argv[0] from PATH, output (stdout, at most size - 1 bytes) into ret; *ret_status as wait().
 * stderr goes to ret_err when not NULL (512 bytes), else away.  -ETIMEDOUT after timeout_ms (it is
 * killed). */
int ckpti_slurm_run(char *const argv[], int timeout_ms, char *ret, size_t size, char *ret_err,
		    int *ret_status, struct ckpti_err *err);
/* Path of the real scontrol: not us.  ret: PATH_MAX bytes. */
int ckpti_slurm_real_scontrol(char *ret, struct ckpti_err *err);

struct ckpti_slurm_job {
	uint32_t job;
	uid_t uid;
	char user[64], name[128], state[32], partition[64], reason[64];
	int64_t submit_time; /* changes when the job is requeued, see step.h */
	int64_t start_time, end_time, preempt_time; /* 0 unknown */
	unsigned restarts;
	bool requeue, batch;
	uint32_t array_job, array_task; /* 0, UINT32_MAX when none */
	uint32_t het_job;               /* 0 when none */
	char batch_host[64], work_dir[4096], command[4096];
};
/* `text` is what users write: 123, 123_4.  Of an array "123" is the task that has the number itself
 * (the last one).  -ENOENT: Slurm does not know it (any more); -EBADMSG: not to be understood or
 * trusted. */
int ckpti_slurm_job(const char *text, struct ckpti_slurm_job *ret, struct ckpti_err *err);

struct ckpti_slurm_step {
	uint32_t job, step;
	char state[32], srun_host[64], name[128];
	int srun_pid;
};
/* The running steps of a job (or task of an array) without batch, extern and interactive ones; *ret
 * is malloc()ed.  -ENOENT: Slurm does not know the job. */
int ckpti_slurm_steps(uint32_t job, struct ckpti_slurm_step **ret, size_t *ret_n,
		      struct ckpti_err *err);

struct ckpti_slurm_conf {
	char cluster[64];
	unsigned port_low, port_high; /* SrunPortRange, 0: any */
	unsigned kill_wait;
	char plugstack[PATH_MAX]; /* plugstack.conf, "" when it does not say */
};
int ckpti_slurm_conf(struct ckpti_slurm_conf *ret, struct ckpti_err *err);

/* `scontrol requeue` / `scontrol update JobId=… Comment=…` / `scontrol hold` by the caller. */
int ckpti_slurm_requeue(uint32_t job, bool hold, struct ckpti_err *err);
int ckpti_slurm_comment(uint32_t job, const char *text, struct ckpti_err *err);

#endif
