/* SPDX-License-Identifier: BSD-3-Clause */
/* Deadlines in milliseconds of a clock that is never set. */
#include <time.h>

#include "spank/plugin/plugin.h"

uint64_t ckpti_clock_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

struct timespec ckpti_clock_until(uint64_t deadline)
{
	uint64_t now = ckpti_clock_ms(), left = now < deadline ? deadline - now : 0;

	return (struct timespec){.tv_sec = (time_t)(left / 1000),
				 .tv_nsec = (long)(left % 1000 * 1000000)};
}
