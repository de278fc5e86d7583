/* SPDX-License-Identifier: BSD-3-Clause */
/* A command line that is put together piece by piece; the first failure sticks. */
#ifndef CKPT_API_ARGV_H
#define CKPT_API_ARGV_H

#include <stddef.h>

#define API_ARGV_MAX 320 /* two for each element of two full lists, and the rest */

struct api_argv {
	char *v[API_ARGV_MAX + 1]; /* NULL-terminated, each malloc'ed */
	size_t n;
	int error; /* 0 or -errno */
};

void ckpti_argv_add(struct api_argv *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void ckpti_argv_free(struct api_argv *a);

#endif
