/* SPDX-License-Identifier: BSD-3-Clause */
#include "util/err.h"

#include <stdio.h>
#include <string.h>

__attribute__((format(printf, 3, 0))) static void fill(struct ckpti_err *err, int code,
						       const char *fmt, va_list ap)
{
	err->code = code;
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
}

int ckpti_err(struct ckpti_err *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err || err->code)
		return code;
	va_start(ap, fmt);
	fill(err, code, fmt, ap);
	va_end(ap);
	return code;
}

int ckpti_err_obj(struct ckpti_err *err, int code, int pid, const char *object, const char *fmt,
		  ...)
{
	va_list ap;

	if (!err || err->code)
		return code;
	err->pid = pid;
	(void)snprintf(err->object, sizeof(err->object), "%s", object ? object : "");
	va_start(ap, fmt);
	fill(err, code, fmt, ap);
	va_end(ap);
	return code;
}
