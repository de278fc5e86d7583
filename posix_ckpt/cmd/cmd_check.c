/* SPDX-License-Identifier: BSD-3-Clause */
/* cpr check: what can be checkpointed on this host, or what stands in the way of one process. */
#include <errno.h>
#include <stdio.h>

#include "cmd.h"
#include "json.h"
#include "text.h"

struct check {
	const struct ckpti_cmd_opts *o;
	struct ckpti_json j;
	bool refused; /* something does not work */
};

static void finding(void *arg, int ok, const char *what, const char *detail)
{
	struct check *c = arg;
	char line[512];

	if (!detail)
		detail = "";
	if (ok == 0)
		c->refused = true;
	if (c->o->json) {
		ckpti_json_open(&c->j, NULL, '{');
		ckpti_json_str(&c->j, "result", ok > 0 ? "yes" : ok < 0 ? "limited" : "no");
		ckpti_json_str(&c->j, "what", what);
		ckpti_json_str(&c->j, "detail", detail);
		ckpti_json_close(&c->j, '}');
	} else if (!c->o->quiet || ok == 0) {
		/* Names of files and programs of somebody else may be in it. */
		(void)snprintf(line, sizeof(line), "%s%s%s", what, *detail ? ": " : "", detail);
		(void)printf("%-8s %s\n",
			     ok > 0   ? "yes"
			     : ok < 0 ? "limited"
				      : "no",
			     ckpti_text_clean(line));
	}
}

int ckpti_cmd_check(const struct ckpti_cmd_opts *o)
{
	struct check c = {.o = o, .j = {.f = stdout}};
	struct ckpti_err err = {.code = 0};
	uint64_t pid = 0;
	int r;

	if (o->nargs && ckpti_text_u64(o->args[0], 1, INT32_MAX, &pid) < 0) {
		(void)fprintf(stderr, "cpr: check: '%s' is not a process id\n", o->args[0]);
		return CKPTI_EXIT_USAGE;
	}
	if (o->json)
		ckpti_json_open(&c.j, NULL, '[');
	r = pid ? ckpti_check_pid((int)pid, finding, &c, &err) : ckpti_check_host(finding, &c);
	if (o->json) {
		ckpti_json_close(&c.j, ']');
		(void)ckpti_json_end(&c.j); /* main() notices a failed write */
	}
	if (r < 0)
		return ckpti_report_error(o, r, &err);
	return c.refused ? CKPTI_EXIT_REFUSED : CKPTI_EXIT_OK;
}
