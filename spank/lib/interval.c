/* SPDX-License-Identifier: BSD-3-Clause */
/* See interval.h.  Used inside Slurm's own programs as well, so it needs nothing but libc. */
#include "spank/lib/interval.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

int ckpti_interval_parse(const char *text, uint64_t *ret_seconds)
{
	int r = ckpti_config_seconds(text, ret_seconds);

	/* As with Slurm's limits: none. */
	if (r == 0 && *ret_seconds == 0)
		*ret_seconds = CKPTI_INTERVAL_NONE;
	return r;
}

int ckpti_dir_expand(const char *pattern, uint32_t job, const char *step, const char *user,
		     const char *cluster, char *ret, unsigned long size)
{
	char job_text[16], one[2] = "";
	const char *piece;
	size_t used = 0;

	(void)snprintf(job_text, sizeof(job_text), "%" PRIu32, job);
	for (; *pattern; pattern++) {
		one[0] = *pattern;
		piece = one;
		if (*pattern == '%') {
			pattern++;
			if (*pattern == 'j')
				piece = job_text;
			else if (*pattern == 's')
				piece = step;
			else if (*pattern == 'u')
				piece = user;
			else if (*pattern == 'n')
				piece = cluster;
			else if (*pattern != '%')
				return -EINVAL;
		}
		if (strlen(piece) >= size - used)
			return -ENAMETOOLONG;
		memcpy(ret + used, piece, strlen(piece));
		used += strlen(piece);
	}
	if (used >= size)
		return -ENAMETOOLONG;
	ret[used] = '\0';
	return 0;
}
