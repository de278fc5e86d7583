/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the coordinator of a running step is found: a kv file in the owner's home,
 *
 *     $HOME/.local/state/ckpt/<cluster>/<job>.<step>       0600 in directories 0700
 *
 * with host, port, pid, dir (the step's directory), epoch, set when the coordinator starts.  It is
 * a hint and no authority: the server proves itself (auth.h).  What stays after a crash tells where
 * the generations are.  Always touched as the owner.
 */
#ifndef CKPT_SPANK_REGISTRY_H
#define CKPT_SPANK_REGISTRY_H

#include "spank/lib/kv.h"
#include "util/err.h"

/* step as text: a number or "batch".  HOME is that of the password database. */
int ckpti_registry_write(const char *cluster, uint32_t job, const char *step,
			 const struct ckpti_kv *kv, struct ckpti_err *err);
/* -ENOENT: none. */
int ckpti_registry_read(const char *cluster, uint32_t job, const char *step, struct ckpti_kv *ret,
			struct ckpti_err *err);
int ckpti_registry_remove(const char *cluster, uint32_t job, const char *step);
/* All steps of a job, or of all jobs (job 0): calls fn until it returns non-zero. */
int ckpti_registry_each(const char *cluster, uint32_t job,
			int (*fn)(void *arg, uint32_t job, const char *step,
				  const struct ckpti_kv *kv),
			void *arg);

#endif
