/* SPDX-License-Identifier: BSD-3-Clause */
/* A conversation with the coordinator of one step, by the owner of the job. */
#ifndef CKPT_SCONTROL_TALK_H
#define CKPT_SCONTROL_TALK_H

#include <limits.h>
#include <stdint.h>
#include <sys/types.h>

#include "spank/lib/wire.h"
#include "spank/scontrol/request.h"

struct ckpti_talk {
	uint32_t job, step;
	char host[64];      /* where slurmctld says that srun runs */
	char name[16];      /* of the step: number or "batch" */
	char dir[PATH_MAX]; /* the step's directory; empty: not known */
	struct ckpti_wire *wire;
	unsigned max_wait; /* seconds that the request may take */
	int64_t sent_ms;
};

/* host: NULL for a step that has none. */
void ckpti_talk_init(struct ckpti_talk *t, uint32_t job, uint32_t step, const char *host);
void ckpti_talk_close(struct ckpti_talk *t);

/*
 * Find the coordinator and prove each other.  -ENOENT: there is none (nothing said), -EPERM,
 * -EACCES: it is not the owner's, or at a place that Slurm does not know, or does not want us;
 * -EHOSTDOWN: it does not answer.
 */
int ckpti_talk_open(struct ckpti_talk *t, const char *cluster, uid_t owner, struct ckpti_err *err);
int ckpti_talk_send(struct ckpti_talk *t, const struct ckpti_request *q, enum ckpti_verb verb,
		    struct ckpti_err *err);
/* Waits for the result; how far it is goes to stderr after `label` when it takes long.  -EHOSTDOWN,
 * -ETIMEDOUT. */
int ckpti_talk_result(struct ckpti_talk *t, const char *label, struct ckpti_kv *ret,
		      struct ckpti_err *err);

/* "last good generation N of DIR", or why there is none. */
void ckpti_talk_last_good(const char *dir, char *ret, size_t size);

#endif
