/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One table: how each option is called, checked, and which variables stand for it.  Bad values are told
 * before anything starts, in the words of the option's former life.
 */
#include "spank/plugin/options.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spank/lib/interval.h"
#include "spank/plugin/plugin.h"

/* What sbatch puts into the job: spank_job_control_setenv() adds a prefix of its own. */
#define HANDED_ON "SLURM_SPANK_"

#define MAX_KEEP 1000000UL

struct row {
	struct spank_option option;
	const char *srun_env, *sbatch_env;
	const char *hand_on; /* name between sbatch and srun */
	bool (*good)(const char *text);
	char *value;
	bool from_env;
};

static int option_given(int val, const char *text, int remote);

static bool good_interval(const char *text)
{
	uint64_t seconds;

	return ckpti_interval_parse(text, &seconds) == 0;
}

static bool good_pattern(const char *text)
{
	char path[PATH_MAX];

	return text[0] && ckpti_dir_expand(text, 1, "0", "u", "c", path, sizeof(path)) == 0;
}

static bool good_path(const char *text)
{
	return text[0] && strlen(text) < PATH_MAX;
}

/* Patterns with commas between. */
static bool good_globs(const char *text)
{
	return text[strspn(text, ",")] && strlen(text) < PATH_MAX && !strpbrk(text, "\n\r");
}

static bool good_keep(const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	return text[0] >= '0' && text[0] <= '9' && !*end && n >= 1 && n <= MAX_KEEP;
}

/* clang-format off */
#define ROW(opt, name_, arg_, usage_) \
	.option = {(char *)(uintptr_t)(name_), (char *)(uintptr_t)(arg_), (char *)(uintptr_t)(usage_), \
		   (arg_) != NULL, (opt), option_given}

static struct row rows[] = {
	{ROW(CKPTI_OPT_INTERVAL, "checkpoint", "interval", "time between checkpoints of a step"),
	 .srun_env = "SLURM_CHECKPOINT", .sbatch_env = "SBATCH_CHECKPOINT",
	 .hand_on = "CKPT_INTERVAL", .good = good_interval},
	{ROW(CKPTI_OPT_DIR, "checkpoint-dir", "dir", "where checkpoints are written"),
	 .srun_env = "SLURM_CHECKPOINT_DIR", .sbatch_env = "SBATCH_CHECKPOINT_DIR",
	 .hand_on = "CKPT_DIR", .good = good_pattern},
	{ROW(CKPTI_OPT_RESTART_DIR, "restart-dir", "dir", "restart from the checkpoint in this directory"),
	 .srun_env = "SLURM_RESTART_DIR", .good = good_path},
	{ROW(CKPTI_OPT_KEEP, "checkpoint-keep", "n", "number of checkpoints to keep"),
	 .good = good_keep},
	{ROW(CKPTI_OPT_FRESH, "checkpoint-fresh", NULL, "start anew although there is a checkpoint"), .good = NULL},
	{ROW(CKPTI_OPT_INCLUDE, "checkpoint-include", "glob,...", "save these files although no task has them open"),
	 .srun_env = "SLURM_CHECKPOINT_INCLUDE", .sbatch_env = "SBATCH_CHECKPOINT_INCLUDE",
	 .hand_on = "CKPT_INCLUDE", .good = good_globs},
	{ROW(CKPTI_OPT_SKIP_DONE, "checkpoint-skip-done", NULL, "do not run steps again that have ended"), .good = NULL},
};
/* clang-format on */

#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static struct row *row_of(int val)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		if (rows[i].option.val == val)
			return &rows[i];
	}
	return NULL;
}

void ckpti_options_register(spank_t sp)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		if (spank_option_register(sp, &rows[i].option) != ESPANK_SUCCESS)
			slurm_error("spank_ckpt: cannot register --%s", rows[i].option.name);
	}
}

static void set_value(struct row *row, const char *text, bool from_env)
{
	char *value = strdup(text);

	if (!value)
		return;
	free(row->value);
	row->value = value;
	row->from_env = from_env;
}

/* Callback of Slurm; -1 ends srun or sbatch with a line that names the option. */
static int option_given(int val, const char *text, int remote)
{
	struct row *row = row_of(val);

	/* slurmstepd is told by the environment that the coordinator makes, not by options. */
	if (remote || !row)
		return 0;
	/* Slurm gives "(null)" for the missing argument when the option comes from sbatch. */
	if (!row->option.has_arg)
		text = "";
	if (!text)
		return -1;
	if (row->good && !row->good(text)) {
		slurm_error("Invalid --%s specification: %s", row->option.name, text);
		return -1;
	}
	set_value(row, text, false);
	return 0;
}

static void from_env(struct row *row, const char *name)
{
	const char *text = name && !row->value ? getenv(name) : NULL;

	if (!text || !*text)
		return;
	if (row->good && !row->good(text)) {
		slurm_error("Invalid %s specification: %s", name, text);
		/* Failures of an optional plugin do not end srun. */
		exit(ckpti_plugin_exit_error());
	}
	set_value(row, text, true);
}

void ckpti_options_from_srun_env(void)
{
	char name[64];

	for (size_t i = 0; i < N_ROWS; i++) {
		from_env(&rows[i], rows[i].srun_env);
		if (!rows[i].hand_on)
			continue;
		(void)snprintf(name, sizeof(name), HANDED_ON "%s", rows[i].hand_on);
		from_env(&rows[i], name);
	}
}

void ckpti_options_from_sbatch_env(void)
{
	for (size_t i = 0; i < N_ROWS; i++)
		from_env(&rows[i], rows[i].sbatch_env);
}

void ckpti_options_hand_on(spank_t sp)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		if (rows[i].hand_on && rows[i].from_env)
			(void)spank_job_control_setenv(sp, rows[i].hand_on, rows[i].value, 1);
	}
}

const char *ckpti_options_get(enum ckpti_option opt)
{
	const struct row *row = row_of((int)opt);

	return row ? row->value : NULL;
}

bool ckpti_options_any(void)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		if (rows[i].value)
			return true;
	}
	return false;
}
