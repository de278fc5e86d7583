/* SPDX-License-Identifier: BSD-3-Clause */
/* What options say: intervals as the settings have them (config/seconds.c), and patterns of directories. */
#ifndef CKPT_SPANK_INTERVAL_H
#define CKPT_SPANK_INTERVAL_H

#include <stdint.h>

#include "config/config.h"

#define CKPTI_INTERVAL_NONE CKPTI_CONFIG_NEVER /* also of 0 */
#define CKPTI_INTERVAL_AUTO CKPTI_CONFIG_AUTO

/* Seconds; 0 or -EINVAL. */
int ckpti_interval_parse(const char *text, uint64_t *ret_seconds);
/* Expand %j (job) %s (step) %u (user) %n (cluster name) %% in a directory; -EINVAL: another letter;
 * -ENAMETOOLONG. */
int ckpti_dir_expand(const char *pattern, uint32_t job, const char *step, const char *user,
		     const char *cluster, char *ret, unsigned long size);

#endif
