/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/launch.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_CPUS (CKPTI_LAUNCH_WORDS * 64)

static bool has(const uint64_t *mask, unsigned cpu)
{
	return cpu < MAX_CPUS && (mask[cpu / 64] >> (cpu % 64) & 1);
}

int ckpti_launch_cpus_format(char *buf, size_t size)
{
	uint64_t mask[CKPTI_LAUNCH_WORDS] = {0};
	size_t used = 0;

	if (syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask) < 0)
		return -errno;
	for (unsigned first = 0, last; first < MAX_CPUS; first = last + 1) {
		int n;

		last = first;
		if (!has(mask, first))
			continue;
		while (has(mask, last + 1))
			last++;
		n = snprintf(buf + used, size - used, last > first ? "%s%u-%u" : "%s%u",
			     used ? "," : "", first, last);
		if (n < 0 || (size_t)n >= size - used)
			return -ENOSPC;
		used += (size_t)n;
	}
	return used ? 0 : -ENODATA;
}

static bool number(const char **p, unsigned *ret)
{
	char *end;
	unsigned long n;

	if (!isdigit((unsigned char)**p))
		return false;
	n = strtoul(*p, &end, 10);
	*p = end;
	*ret = (unsigned)n;
	return n < MAX_CPUS;
}

int ckpti_launch_cpus_parse(const char *text, uint64_t ret[CKPTI_LAUNCH_WORDS])
{
	uint64_t mask[CKPTI_LAUNCH_WORDS] = {0};
	const char *p = text;

	for (;;) {
		unsigned first, last;

		if (!number(&p, &first))
			return -EINVAL;
		last = first;
		if (*p == '-' && (p++, !number(&p, &last)))
			return -EINVAL;
		for (unsigned cpu = first; cpu <= last; cpu++)
			mask[cpu / 64] |= 1ULL << (cpu % 64);
		if (!*p)
			break;
		if (*p++ != ',')
			return -EINVAL;
	}
	memcpy(ret, mask, sizeof(mask));
	return 0;
}
