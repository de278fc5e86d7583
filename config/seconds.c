/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Times as users write them: the formats of Slurm's --time (minutes, minutes:seconds,
 * hours:minutes:seconds, days-hours, days-hours:minutes, days-hours:minutes:seconds), and a number
 * with one of the units s, m, h, d.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "config/schema.h"

/* What is longer than this is no time, as with Slurm. */
#define TEXT_LIMIT 24
/* Far beyond every limit of the table, and no sum below can overflow. */
#define DIGITS_LIMIT 9

static const uint64_t day = 86400, hour = 3600, minute = 60;

/* Digits at *s, which moves behind them. */
static int scan(const char **s, uint64_t *ret)
{
	uint64_t v = 0;
	const char *p = *s;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (p - *s == DIGITS_LIMIT)
			return -EINVAL;
		v = v * 10 + (uint64_t)(*p - '0');
	}
	if (p == *s)
		return -EINVAL;
	*s = p;
	*ret = v;
	return 0;
}

static uint64_t unit(char c)
{
	switch (c) {
	case 's':
		return 1;
	case 'm':
		return minute;
	case 'h':
		return hour;
	case 'd':
		return day;
	default:
		return 0;
	}
}

/* Numbers with colons between them, at most max; *ret_n says how many. */
static int scan_parts(const char *s, uint64_t part[3], unsigned max, unsigned *ret_n)
{
	unsigned n = 0;

	do {
		if (n == max || scan(&s, &part[n]) < 0)
			return -EINVAL;
		n++;
	} while (*s++ == ':');
	*ret_n = n;
	return s[-1] ? -EINVAL : 0;
}

int ckpti_config_seconds(const char *text, uint64_t *ret)
{
	uint64_t first, part[3] = {0};
	const char *p = text;
	unsigned n;

	if (strlen(text) >= TEXT_LIMIT)
		return -EINVAL;
	if (strcmp(text, "-1") == 0 || strcasecmp(text, "infinite") == 0 ||
	    strcasecmp(text, "unlimited") == 0 || strcasecmp(text, "never") == 0 ||
	    strcasecmp(text, "none") == 0) {
		*ret = CKPTI_CONFIG_NEVER;
		return 0;
	}
	if (strcasecmp(text, "auto") == 0) {
		*ret = CKPTI_CONFIG_AUTO;
		return 0;
	}
	if (scan(&p, &first) < 0)
		return -EINVAL;
	if (unit(*p) && !p[1]) {
		*ret = first * unit(*p);
		return 0;
	}
	if (*p == '-') {
		if (scan_parts(p + 1, part, 3, &n) < 0)
			return -EINVAL;
		*ret = first * day + part[0] * hour + part[1] * minute + part[2];
		return 0;
	}
	if (scan_parts(text, part, 3, &n) < 0)
		return -EINVAL;
	*ret = n == 3 ? part[0] * hour + part[1] * minute + part[2] : part[0] * minute + part[1];
	return 0;
}

const char *ckpti_seconds_text(uint64_t seconds, char ret[CKPTI_SECONDS_SIZE])
{
	char letter = 's';

	if (seconds == CKPTI_CONFIG_NEVER || seconds == CKPTI_CONFIG_AUTO)
		return seconds == CKPTI_CONFIG_NEVER ? "never" : "auto";
	if (seconds && seconds % day == 0) {
		seconds /= day;
		letter = 'd';
	} else if (seconds && seconds % hour == 0) {
		seconds /= hour;
		letter = 'h';
	} else if (seconds && seconds % minute == 0) {
		seconds /= minute;
		letter = 'm';
	}
	(void)snprintf(ret, CKPTI_SECONDS_SIZE, "%" PRIu64 "%c", seconds, letter);
	return ret;
}
