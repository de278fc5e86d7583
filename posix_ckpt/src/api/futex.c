/* SPDX-License-Identifier: BSD-3-Clause */
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "api/api_private.h"

void ckpti_futex_sleep(const uint32_t *word, uint32_t value, int ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};

	/* Not FUTEX_PRIVATE: the agent wakes without it.  Every way to return means "look again". */
	(void)syscall(SYS_futex, word, FUTEX_WAIT, value, ms < 0 ? NULL : &ts, NULL, 0);
}
