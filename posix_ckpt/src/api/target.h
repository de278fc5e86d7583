/* SPDX-License-Identifier: BSD-3-Clause */
/* Whom a checkpoint is about: ids and type of the public calls, checked and made explicit. */
#ifndef CKPT_API_TARGET_H
#define CKPT_API_TARGET_H

#include "api/api_private.h"

struct api_targets {
	unsigned long type;
	size_t n;
	ckpt_id_t id[API_LIST_MAX + 1];
};

/* CKPT_SELF becomes the caller's own id.  -EINVAL, or -ENOTSUP for what needs a batch system. */
int ckpti_targets_read(ckpt_id_t id, unsigned long type, const struct api_opts *opts,
		       struct api_targets *ret, struct ckpti_err *err);
/* Is the calling process one of them? */
bool ckpti_targets_have_self(const struct api_targets *t);
/* Send signo to each. */
void ckpti_targets_signal(const struct api_targets *t, int signo);

#endif
