/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Times and intervals as users write them.  The six formats of Slurm's --time, where a plain number
 * is minutes, and ours: a number with s, m, h or d, and "auto".
 */
#ifndef CKPT_SPANK_INTERVAL_H
#define CKPT_SPANK_INTERVAL_H

#include <stdint.h>

#define CKPTI_INTERVAL_NONE UINT64_MAX /* 0, -1, INFINITE, UNLIMITED: never */
#define CKPTI_INTERVAL_AUTO (UINT64_MAX - 1)

/* Seconds; 0 or -EINVAL. */
int ckpti_interval_parse(const char *text, uint64_t *ret_seconds);
/* Expand %j (job) %s (step) %u (user) %n (cluster name) %% in a directory; -EINVAL: another letter;
 * -ENAMETOOLONG. */
int ckpti_dir_expand(const char *pattern, uint32_t job, const char *step, const char *user,
		     const char *cluster, char *ret, unsigned long size);

#endif
