/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Error detail that travels upwards.  A function that fails returns -errno and, when it was given a
 * struct ckpti_err, fills it once, at the point of failure.  Callers pass it on and never overwrite a
 * text that is already there: the first line is the cause.
 */
#ifndef CKPT_UTIL_ERR_H
#define CKPT_UTIL_ERR_H

#include <stdarg.h>

struct ckpti_err {
	int code;         /* -errno, 0 while unset */
	int pid;          /* process concerned, 0 when none */
	char object[128]; /* file, descriptor, mapping …; may be empty */
	char text[384];   /* one line, no newline, no trailing dot */
};

/* Fill *err (may be NULL) unless it is already set; returns code. */
int ckpti_err(struct ckpti_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* The same with the process and the object named in fields of their own. */
int ckpti_err_obj(struct ckpti_err *err, int code, int pid, const char *object, const char *fmt,
		  ...) __attribute__((format(printf, 5, 6)));

#endif
