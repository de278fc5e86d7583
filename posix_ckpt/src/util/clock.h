/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Milliseconds of a clock that is never set: for deadlines.  It stands still while the machine sleeps.  A header,
 * because spank_ckpt.so and the library in a program link with nothing for it.
 */
#ifndef CKPT_UTIL_CLOCK_H
#define CKPT_UTIL_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t ckpti_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

#endif
