/* SPDX-License-Identifier: BSD-3-Clause */
/* Shared by the files step*.c and manifest.c only. */
#ifndef CKPT_SPANK_STEP_PRIVATE_H
#define CKPT_SPANK_STEP_PRIVATE_H

#include "spank/lib/step.h"

#define STEP_FILE     "step"
#define REJECTED_FILE "rejected"
#define GEN_PREFIX    "gen-"
#define LIFE_PREFIX   "life-"
#define TASK_PREFIX   "task-"
#define PINS_DIR      "pins"

#define MAX_MANIFEST (64U << 20)

/* As text with its check sum: malloc()ed; -EINVAL: not complete. */
int ckpti_manifest_write(const struct ckpti_manifest *m, char **ret, size_t *ret_len);
/* Read gen-<generation>; -EBADMSG damaged. */
int ckpti_step_read_manifest(const struct ckpti_step *st, uint64_t generation,
			     struct ckpti_manifest *ret);

/* Is it in the list that REJECTED_FILE holds? */
bool ckpti_step_rejected(const struct ckpti_kv *rejected, uint64_t generation);

/* All numbers of "prefix<number>" in the directory, ascending; *ret is malloc()ed. */
int ckpti_step_numbers(int dirfd, const char *prefix, uint64_t **ret, size_t *ret_n);

/* "cannot VERB 'NAME' in 'DIR': reason"; returns code. */
int ckpti_step_fail(const struct ckpti_step *st, struct ckpti_err *err, int code, const char *verb,
		    const char *name);

#endif
