/* SPDX-License-Identifier: BSD-3-Clause */
#include "api/target.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <unistd.h>

static ckpt_id_t own_id(unsigned long type)
{
	switch (type) {
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
		return 0;
	case P_ASH:
		return ckpti_err(err, -ENOTSUP, "P_ASH needs a Slurm job step: there is none here");
	case P_JID:
		return ckpti_err(err, -ENOTSUP, "P_JID needs a Slurm job: there is none here");
	default:
		return ckpti_err(err, -EINVAL, "unknown type of target 0x%lx", type);
	}
}

static int add(struct api_targets *t, ckpt_id_t id, struct ckpti_err *err)
{
	if (id < 0 || id > INT32_MAX)
		return ckpti_err(err, -EINVAL, "%" PRId64 " is no id of type %s", id,
				 ckpt_type_str(t->type));
	t->id[t->n++] = id == CKPT_SELF ? own_id(t->type) : id;
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
	for (size_t i = 0; i < t->n; i++)
		(void)kill((pid_t)(t->type == P_PGID ? -t->id[i] : t->id[i]), signo);
}
