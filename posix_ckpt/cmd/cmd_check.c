/* SPDX-License-Identifier: BSD-3-Clause */
/* cpr check: what can be checkpointed on this host, or what stands in the way of one process. */
#include <ckpt.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cmd.h"
#include "json.h"
#include "mpirun.h"
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

static int check_process(struct check *c, int pid, struct ckpti_err *err)
{
	const struct ckpti_target target = {.type = P_HID, .id = pid};
	int *pids = NULL, r;
	size_t n = 0;

	if (!ckpti_mpirun_is_target(&target))
		return ckpti_check_pid(pid, finding, c, err);
	r = ckpti_mpirun_ranks(pid, &pids, &n, err);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = ckpti_check_pid(pids[i], finding, c, err);
	free(pids);
	return r;
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
	r = pid ? check_process(&c, (int)pid, &err) : ckpti_check_host(finding, &c);
	if (o->json) {
		ckpti_json_close(&c.j, ']');
		(void)ckpti_json_end(&c.j); /* main() notices a failed write */
	}
	if (r < 0)
		return ckpti_report_error(o, r, &err);
	return c.refused ? CKPTI_EXIT_REFUSED : CKPTI_EXIT_OK;
}
