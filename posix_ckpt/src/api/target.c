/* SPDX-License-Identifier: BSD-3-Clause */
#include "api/target.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static long long number(const char *variable)
{
	const char *text = getenv(variable);
	char *end = NULL;
	long long n = text ? strtoll(text, &end, 10) : -1;

	return end && end != text && !*end && n <= UINT32_MAX ? n : -1;
}

/* Slurm tells a program where it runs; 0: it does not. */
static ckpt_id_t own_job(bool step)
{
	long long job = number("SLURM_JOB_ID"), id = number("SLURM_STEP_ID");

	if (job <= 0 || (step && id < 0))
		return 0;
	return step ? CKPT_STEPID(job, id) : job;
}

static ckpt_id_t own_id(unsigned long type)
{
	switch (type) {
	case P_ASH:
		return own_job(true);
	case P_JID:
		return own_job(false);
	case P_PGID:
		return getpgrp();
	case P_SID:
		return getsid(0);
	default:
		return getpid();
	}
}

static int check_type(unsigned long type, struct ckpti_err *err)
{
	switch (type) {
	case P_PID:
	case P_PGID:
	case P_SID:
	case P_HID:
	case P_SPGP:
	case P_ASH:
	case P_JID:
		return 0;
	default:
		return ckpti_err(err, -EINVAL, "unknown type of target 0x%lx", type);
	}
}

static int add(struct api_targets *t, ckpt_id_t id, struct ckpti_err *err)
{
	if (id < 0 || (id > INT32_MAX && t->type != P_ASH))
		return ckpti_err(err, -EINVAL, "%" PRId64 " is no id of type %s", id,
				 ckpt_type_str(t->type));
	if (id == CKPT_SELF)
		id = own_id(t->type);
	/* A job's own variables are missing. */
	if (id == 0)
		return ckpti_err(err, -ENOTSUP, "%s needs a Slurm job%s: there is none here",
				 t->type == P_ASH ? "P_ASH" : "P_JID",
				 t->type == P_ASH ? " step" : "");
	t->id[t->n++] = id;
	return 0;
}

int ckpti_targets_read(ckpt_id_t id, unsigned long type, const struct api_opts *opts,
		       struct api_targets *ret, struct ckpti_err *err)
{
	int r = check_type(type, err);

	if (r < 0)
		return r;
	ret->type = type;
	ret->n = 0;
	r = add(ret, id, err);
	for (size_t i = 0; i < opts->nids && r == 0; i++)
		r = add(ret, opts->ids[i], err);
	return r;
}

bool ckpti_targets_have_self(const struct api_targets *t)
{
	for (size_t i = 0; i < t->n; i++) {
		if (t->id[i] == own_id(t->type))
			return true;
	}
	return false;
}

void ckpti_targets_signal(const struct api_targets *t, int signo)
{
	/* One that has ended meanwhile needs no signal. */
	for (size_t i = 0; i < t->n && t->type != P_ASH && t->type != P_JID; i++)
		(void)kill((pid_t)(t->type == P_PGID ? -t->id[i] : t->id[i]), signo);
}
