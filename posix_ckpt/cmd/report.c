/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How cpr says what happened: one line on stderr and an exit status, or, for a caller that is the
 * library, a struct in a memfd.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd.h"
#include "text.h"

static const struct {
	int error;
	enum ckpti_exit status;
} statuses[] = {
	{ENODATA, CKPTI_EXIT_NOTHING},    {ESRCH, CKPTI_EXIT_NOTHING},
	{ENOENT, CKPTI_EXIT_NOTHING},     {ENOTSUP, CKPTI_EXIT_REFUSED},
	{EPERM, CKPTI_EXIT_REFUSED},      {ESTALE, CKPTI_EXIT_REFUSED},
	{ENOEXEC, CKPTI_EXIT_REFUSED},    {EPROTONOSUPPORT, CKPTI_EXIT_REFUSED},
	{EBADMSG, CKPTI_EXIT_REFUSED},    {EEXIST, CKPTI_EXIT_REFUSED},
	{EADDRINUSE, CKPTI_EXIT_REFUSED}, {ENOLINK, CKPTI_EXIT_REFUSED},
	{EACCES, CKPTI_EXIT_REFUSED},     {ENODEV, CKPTI_EXIT_REFUSED},
};

enum ckpti_exit ckpti_report_status(int code)
{
	if (code >= 0)
		return CKPTI_EXIT_OK;
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		if (statuses[i].error == -code)
			return statuses[i].status;
	}
	return CKPTI_EXIT_FAILED;
}

void ckpti_report_result(const struct ckpti_cmd_opts *o, const struct ckpti_result *r)
{
	struct ckpti_result full = *r;

	if (o->result_fd == CKPTI_RESULT_NONE)
		return;
	full.magic = CKPTI_RESULT_MAGIC;
	full.size = sizeof(full);
	/* A short or failed write leaves no magic: the caller reports that cpr did not answer. */
	(void)!pwrite(o->result_fd, &full, sizeof(full), 0);
}

int ckpti_report_error(const struct ckpti_cmd_opts *o, int code, const struct ckpti_err *err)
{
	struct ckpti_err e = *err;
	struct ckpti_result r = {.error = code};

	if (!e.text[0])
		(void)snprintf(e.text, sizeof(e.text), "%s", strerror(-code));
	/* The line may hold names that came from an image or from a stranger's process. */
	(void)ckpti_text_clean(e.text);
	(void)ckpti_text_clean(e.object);

	if (o->result_fd != CKPTI_RESULT_NONE) {
		r.pid = e.pid;
		memcpy(r.object, e.object, sizeof(r.object));
		memcpy(r.text, e.text, sizeof(r.text));
		ckpti_report_result(o, &r);
		return ckpti_report_status(code);
	}
	(void)ckpti_cmd_progress(NULL, "", 0, 0);
	(void)fprintf(stderr, "cpr: %s: ", ckpti_cmds[o->verb].name);
	if (e.pid > 0)
		(void)fprintf(stderr, "pid %d: ", e.pid);
	if (e.object[0] && !strstr(e.text, e.object))
		(void)fprintf(stderr, "%s: ", e.object);
	(void)fprintf(stderr, "%s\n", e.text);
	return ckpti_report_status(code);
}

ckpti_progress_f ckpti_report_progress(const struct ckpti_cmd_opts *o)
{
	bool silent = o->quiet || o->json || o->result_fd != CKPTI_RESULT_NONE;

	return !silent && isatty(STDERR_FILENO) ? ckpti_cmd_progress : NULL;
}
