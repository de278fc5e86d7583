/* SPDX-License-Identifier: BSD-3-Clause */
/* See interval.h.  Used inside Slurm's own programs as well, so it needs nothing but libc. */
#include "spank/lib/interval.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define MAX_LENGTH 24 /* as Slurm has it: longer ones are invalid */
#define MAX_DIGITS 9

#define MINUTE 60U
#define HOUR   3600U
#define DAY    86400U

/* The number at *p, which is moved behind it. */
static bool number(const char **p, uint64_t *ret)
{
	size_t digits = 0;

	*ret = 0;
	for (; **p >= '0' && **p <= '9'; (*p)++, digits++)
		*ret = *ret * 10 + (uint64_t)(**p - '0');
	return digits > 0 && digits <= MAX_DIGITS;
}

/* What follows a '-': hours[:minutes[:seconds]]. */
static int after_days(const char *p, uint64_t *seconds)
{
	static const unsigned unit[] = {HOUR, MINUTE, 1};
	uint64_t n;

	for (size_t i = 0; i < 3; i++) {
		if (!number(&p, &n))
			return -EINVAL;
		*seconds += n * unit[i];
		if (*p == '\0')
			return 0;
		if (*p++ != ':')
			return -EINVAL;
	}
	return -EINVAL;
}

/* A number of seconds, minutes, hours or days with its letter. */
static bool with_unit(const char *p, uint64_t n, uint64_t *ret)
{
	static const char letter[] = "smhd";
	static const unsigned unit[] = {1, MINUTE, HOUR, DAY};
	const char *found = *p ? strchr(letter, *p) : NULL;

	if (!found || p[1] != '\0')
		return false;
	*ret = n * unit[found - letter];
	return true;
}

static int parse(const char *p, uint64_t *ret)
{
	uint64_t part[3] = {0};
	size_t n = 0;

	for (;;) {
		if (n == 3 || !number(&p, &part[n]))
			return -EINVAL;
		n++;
		if (*p == '\0')
			break;
		if (n == 1 && *p == '-') {
			*ret = part[0] * DAY;
			return after_days(p + 1, ret);
		}
		if (n == 1 && with_unit(p, part[0], ret))
			return 0;
		if (*p++ != ':')
			return -EINVAL;
	}
	if (n == 3)
		*ret = part[0] * HOUR + part[1] * MINUTE + part[2];
	else
		*ret = part[0] * MINUTE + part[1];
	return 0;
}

int ckpti_interval_parse(const char *text, uint64_t *ret_seconds)
{
	int r;

	if (strlen(text) >= MAX_LENGTH)
		return -EINVAL;
	if (strcasecmp(text, "auto") == 0) {
		*ret_seconds = CKPTI_INTERVAL_AUTO;
		return 0;
	}
	if (strcmp(text, "-1") == 0 || strcasecmp(text, "INFINITE") == 0 ||
	    strcasecmp(text, "UNLIMITED") == 0) {
		*ret_seconds = CKPTI_INTERVAL_NONE;
		return 0;
	}
	r = parse(text, ret_seconds);
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
