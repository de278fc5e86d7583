/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line of the coordinator.  It is written by the plugin, so there is no help in it. */
#include <argp.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spank/coordinator/coord.h"

enum {
	OPT_JOB = 256,
	OPT_STEP,
	OPT_INTERVAL,
	OPT_DIR,
	OPT_RESTART_DIR,
	OPT_KEEP,
	OPT_INCLUDE,
	OPT_FRESH,
	OPT_SKIP_DONE,
	OPT_STDIO,
	OPT_OWN_OUTPUT,
	OPT_NAME,
	OPT_CWD,
	OPT_NTASKS,
	OPT_CONFIG,
	OPT_BINDIR,
	OPT_STATUS_FD,
	OPT_LIFE_FD,
	OPT_QUIET
};

static const struct argp_option options[] = {
	{"job", OPT_JOB, "JOB", 0, "number of the job", 0},
	{"step", OPT_STEP, "STEP", 0, "number of the step, or 'batch'", 0},
	{"interval", OPT_INTERVAL, "SECONDS", 0, "between checkpoints; none, auto", 0},
	{"dir", OPT_DIR, "PATTERN", 0, "where checkpoints go", 0},
	{"restart-dir", OPT_RESTART_DIR, "DIR", 0, "of a step or of a job, to restart from", 0},
	{"keep", OPT_KEEP, "N", 0, "how many checkpoints are kept", 0},
	{"include", OPT_INCLUDE, "GLOB,...", 0, "files to be saved although no task has them open",
	 0},
	{"fresh", OPT_FRESH, NULL, 0, "do not restart", 0},
	{"skip-done", OPT_SKIP_DONE, NULL, 0, "do not run again what had ended well", 0},
	{"stdio", OPT_STDIO, "TEXT", 0, "where its input and output go", 0},
	{"own-output", OPT_OWN_OUTPUT, NULL, 0, "what it has printed stays in a file of its own",
	 0},
	{"name", OPT_NAME, "NAME", 0, "name of the step", 0},
	{"cwd", OPT_CWD, "DIR", 0, "working directory of the step", 0},
	{"ntasks", OPT_NTASKS, "N", 0, "tasks of the step", 0},
	{"config", OPT_CONFIG, "FILE", 0, "settings of the site", 0},
	{"bindir", OPT_BINDIR, "DIR", 0, "where cpr is", 0},
	{"status-fd", OPT_STATUS_FD, "FD", 0, "lines for the plugin go there", 0},
	{"life-fd", OPT_LIFE_FD, "FD", 0, "its end is that of srun", 0},
	{"quiet", OPT_QUIET, NULL, 0, "print failures only", 0},
	{NULL, 0, NULL, 0, NULL, 0},
};

static uint64_t number(struct argp_state *state, const char *what, const char *text, uint64_t max)
{
	unsigned long long value;
	char *end;

	errno = 0;
	value = strtoull(text, &end, 10);
	if (errno || end == text || *end || *text == '-' || value > max)
		argp_error(state, "%s is no number: '%s'", what, text);
	return value;
}

static void parse_interval(struct argp_state *state, const char *text, struct ckpti_coord_args *a)
{
	a->interval_given = true;
	if (strcmp(text, "none") == 0)
		a->interval = CKPTI_CONFIG_NEVER;
	else if (strcmp(text, "auto") == 0)
		a->interval = CKPTI_CONFIG_AUTO;
	else
		a->interval = number(state, "--interval", text, UINT32_MAX);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct ckpti_coord_args *a = state->input;

	switch (key) {
	case OPT_JOB:
		a->job = (uint32_t)number(state, "--job", arg, UINT32_MAX);
		return 0;
	case OPT_STEP:
		a->step_text = arg;
		a->step = strcmp(arg, "batch") == 0
				  ? CKPTI_STEP_BATCH
				  : (uint32_t)number(state, "--step", arg, UINT32_MAX);
		return 0;
	case OPT_INTERVAL:
		parse_interval(state, arg, a);
		return 0;
	case OPT_DIR:
		a->dir = arg;
		return 0;
	case OPT_RESTART_DIR:
		a->restart_dir = arg;
		return 0;
	case OPT_KEEP:
		a->keep = (unsigned)number(state, "--keep", arg, UINT32_MAX);
		return 0;
	case OPT_INCLUDE:
		a->include = arg;
		return 0;
	case OPT_FRESH:
		a->fresh = true;
		return 0;
	case OPT_SKIP_DONE:
		a->skip_done = true;
		return 0;
	case OPT_STDIO:
		a->stdio = arg;
		return 0;
	case OPT_OWN_OUTPUT:
		a->own_output = true;
		return 0;
	case OPT_NAME:
		a->name = arg;
		return 0;
	case OPT_CWD:
		a->cwd = arg;
		return 0;
	case OPT_NTASKS:
		a->ntasks = (uint32_t)number(state, "--ntasks", arg, 1U << 24);
		return 0;
	case OPT_CONFIG:
		a->config = arg;
		return 0;
	case OPT_BINDIR:
		a->bindir = arg;
		return 0;
	case OPT_STATUS_FD:
		a->status_fd = (int)number(state, "--status-fd", arg, 1U << 20);
		return 0;
	case OPT_LIFE_FD:
		a->life_fd = (int)number(state, "--life-fd", arg, 1U << 20);
		return 0;
	case OPT_QUIET:
		a->quiet = true;
		return 0;
	case ARGP_KEY_ARGS:
		a->command = state->argv + state->next;
		return 0;
	case ARGP_KEY_END:
		if (a->job == 0 || !a->step_text || a->ntasks == 0 || !a->cwd)
			argp_error(state, "--job, --step, --ntasks and --cwd are needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

void ckpti_coord_args_parse(int argc, char **argv, struct ckpti_coord_args *ret)
{
	static char *no_command[] = {NULL};
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.args_doc = "-- COMMAND…",
		.doc = "Coordinates the checkpoints of a job step; started by srun's plugin, see "
		       "ckpt-coordinator(8).",
	};

	*ret = (struct ckpti_coord_args){.status_fd = -1, .life_fd = -1, .command = no_command};
	argp_err_exit_status = 2;
	(void)argp_parse(&argp, argc, argv, 0, NULL, ret);
}
