/* SPDX-License-Identifier: BSD-3-Clause */
#include "api/argv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void ckpti_argv_add(struct api_argv *a, const char *fmt, ...)
{
	va_list ap;

	if (a->error)
		return;
	if (a->n == API_ARGV_MAX) {
		a->error = -E2BIG;
		return;
	}
	va_start(ap, fmt);
	if (vasprintf(&a->v[a->n], fmt, ap) < 0)
		a->error = -ENOMEM;
	else
		a->n++;
	va_end(ap);
	a->v[a->n] = NULL;
}

void ckpti_argv_free(struct api_argv *a)
{
	for (size_t i = 0; i < a->n; i++)
		free(a->v[i]);
	a->n = 0;
}
