/* SPDX-License-Identifier: BSD-3-Clause */
/* Rate and time left on one line of a terminal, for work that lasts longer than a second. */
#include <inttypes.h>
#include <stdio.h>

#include "cmd.h"
#include "text.h"
#include "util/clock.h"

int ckpti_cmd_progress(void *arg, const char *phase, uint64_t done, uint64_t total)
{
	static uint64_t start, drawn, before = UINT64_MAX;
	char a[16], b[16], c[16];
	uint64_t now = (uint64_t)ckpti_now_ms(), rate;

	(void)arg;
	if (done >= total) { /* also (0, 0): an error message is about to come */
		if (drawn > start)
			(void)fprintf(stderr, "\r\033[K");
		drawn = start;
		before = UINT64_MAX;
		return 0;
	}
	if (done < before) /* the first call, or another phase */
		start = drawn = now;
	before = done;
	if (now - start < 1000 || now - drawn < 100)
		return 0;
	drawn = now;
	rate = done * 1000 / (now - start) + 1;
	(void)fprintf(stderr, "\r%s: %s of %s, %s/s, %" PRIu64 " s left\033[K", phase,
		      ckpti_text_bytes(done, a), ckpti_text_bytes(total, b),
		      ckpti_text_bytes(rate, c), (total - done) / rate + 1);
	return 0;
}
