/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Output.  Texts come from coordinators too, which belong to the owner of the job, and the
 * reader may be root: everything is cleaned of what terminals obey.
 */
#include "spank/scontrol/say.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LAST_ERRNO 133

bool ckpti_say_quiet;

const char *ckpti_say_text(const char *name)
{
	static const char *const texts[][2] = {
		{"ESLURM_INVALID_JOB_ID", "Invalid job id specified"},
		{"ESLURM_ACCESS_DENIED", "Access/permission denied"},
		{"ESLURM_JOB_PENDING", "Job is pending execution"},
		{"ESLURM_JOB_SUSPENDED", "Job is current suspended, requested operation disabled"},
		{"ESLURM_DISABLED", "Requested operation is presently disabled"},
		{"ESLURM_ALREADY_DONE", "Job/step already completing or completed"},
		{"ESLURM_NOT_SUPPORTED", "Requested operation not supported on this system"},
		{"ESLURM_JOB_NOT_FINISHED", "Job is not finished"},
		{"ETIMEDOUT", "Timed out"}, /* there is no connection that did */
	};
	const char *errno_name;

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (strcmp(name, texts[i][0]) == 0)
			return texts[i][1];
	}
	for (int e = 1; e <= LAST_ERRNO; e++) {
		errno_name = strerrorname_np(e);
		if (errno_name && strcmp(name, errno_name) == 0)
			return strerrordesc_np(e);
	}
	return name;
}

/* How many bytes of a character of UTF-8 follow its first one. */
static unsigned utf8_rest(unsigned char first)
{
	if (first < 0xc0)
		return 0;
	return first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
}

void ckpti_say_clean(char *text)
{
	unsigned rest = 0;

	for (unsigned char *p = (unsigned char *)text; *p; p++) {
		if (rest > 0 && (*p & 0xc0) == 0x80) {
			rest--;
			continue;
		}
		rest = utf8_rest(*p);
		if ((*p < ' ' && *p != '\n' && *p != '\t') || *p == 0x7f)
			*p = '?';
		/* C1 control characters, as terminals of one byte for a character know them. */
		else if (*p >= 0x80 && *p < 0xa0)
			*p = '?';
		/* The same in UTF-8. */
		else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
			p[0] = p[1] = '?';
	}
}

static void print(FILE *to, const char *prefix, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
static void print(FILE *to, const char *prefix, const char *fmt, va_list ap)
{
	char *text = NULL;

	if (fmt && vasprintf(&text, fmt, ap) < 0)
		return;
	if (text)
		ckpti_say_clean(text);
	(void)fprintf(to, "%s%s\n", prefix, text ? text : "");
	(void)fflush(to);
	free(text);
}

void ckpti_say_line(FILE *to, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	print(to, "", fmt, ap);
	va_end(ap);
}

void ckpti_say_plain(const char *fmt, ...)
{
	va_list ap;

	if (ckpti_say_quiet)
		return;
	va_start(ap, fmt);
	print(stderr, "", fmt, ap);
	va_end(ap);
}

int ckpti_say_error(const char *name, const char *fmt, ...)
{
	char prefix[256];
	va_list ap;

	if (ckpti_say_quiet)
		return EXIT_FAILURE;
	(void)snprintf(prefix, sizeof(prefix), "scontrol_checkpoint error: %s%s",
		       name ? ckpti_say_text(name) : "", name && fmt ? ": " : "");
	ckpti_say_clean(prefix);
	va_start(ap, fmt);
	print(stderr, prefix, fmt, ap);
	va_end(ap);
	return EXIT_FAILURE;
}

int ckpti_say_err(const struct ckpti_err *err)
{
	return ckpti_say_error(NULL, "%s", err->text[0] ? err->text : strerrordesc_np(-err->code));
}
