/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command cpr: what its files share.  One parser (opts.c) reads every option of every command into
 * struct ckpti_cmd_opts; main.c calls the function of the command; functions return the exit status.
 */
#ifndef CKPT_CMD_CMD_H
#define CKPT_CMD_CMD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/core.h"
#include "util/err.h"
#include "util/result.h"

#define CKPTI_RESULT_NONE (-1) /* no --api-result */

/* Documented in cpr(1), EXIT STATUS. */
enum ckpti_exit {
	CKPTI_EXIT_OK = 0,
	CKPTI_EXIT_FAILED = 1,
	CKPTI_EXIT_USAGE = 2,
	CKPTI_EXIT_NOTHING = 3, /* no such process, no checkpoint */
	CKPTI_EXIT_REFUSED = 4, /* it would not work, or is not allowed; nothing was changed */
};

/* Bit numbers: an option says with a mask which commands it goes with. */
enum ckpti_verb {
	CKPTI_VERB_CREATE,
	CKPTI_VERB_RESTART,
	CKPTI_VERB_INFO,
	CKPTI_VERB_REMOVE,
	CKPTI_VERB_RUN,
	CKPTI_VERB_VERIFY,
	CKPTI_VERB_CHECK,
	CKPTI_VERB_STATUS,
	CKPTI_VERB_COUNT,
};

struct ckpti_cmd_opts {
	enum ckpti_verb verb;
	char **args; /* directories, a pid, a command */
	int nargs;

	bool quiet, json;

	struct ckpti_target *target;
	size_t ntarget;
	bool force, go_on, kill, upgrade, dryrun, prepared_only;
	unsigned keep;
	unsigned timeout_ms;
	enum ckpti_policy policy;
	enum ckpti_precopy_mode precopy;
	bool precopy_given;
	uint64_t copy_limit;
	bool full; /* --incremental=off */
	uint64_t *hold;
	size_t nhold;
	const char *pins;
	int drive_fd; /* -1: none */
	unsigned drive_timeout_ms;
	struct ckpti_file_rule *rules;
	size_t nrules;
	const char **include;
	size_t ninclude;

	const char *launch, *settled;
	const char **after;
	size_t nafter;
	bool job, check, clone, fenced, lazy;
	bool ids_given;
	enum ckpti_ids ids;
	uint64_t generation;
	struct ckpti_relocation *reloc;
	size_t nreloc;

	const char *run_dir; /* run --dir */

	int result_fd; /* --api-result, CKPTI_RESULT_NONE when absent */
	int ready_fd;  /* --api-ready, -1 when absent */
};

struct ckpti_cmd {
	const char *name;
	int letter; /* 0: the name is a word, else the name is the long option of this letter */
	int (*fn)(const struct ckpti_cmd_opts *o);
	const char *operands;
	const char *summary;
};

/* Indexed by enum ckpti_verb. */
extern const struct ckpti_cmd ckpti_cmds[CKPTI_VERB_COUNT];

int ckpti_cmd_create(const struct ckpti_cmd_opts *o);
int ckpti_cmd_restart(const struct ckpti_cmd_opts *o);
int ckpti_cmd_info(const struct ckpti_cmd_opts *o);
int ckpti_cmd_remove(const struct ckpti_cmd_opts *o);
int ckpti_cmd_run(const struct ckpti_cmd_opts *o);
/* The part of it that prepares and executes; returns only when that failed. */
int ckpti_run_become(const struct ckpti_cmd_opts *o);
int ckpti_cmd_verify(const struct ckpti_cmd_opts *o);
int ckpti_cmd_check(const struct ckpti_cmd_opts *o);
int ckpti_cmd_status(const struct ckpti_cmd_opts *o);

/* ---- opts.c ------------------------------------------------------------------------------- */

/* Exits with CKPTI_EXIT_USAGE and one line when the arguments make no sense. */
void ckpti_opts_parse(int argc, char **argv, struct ckpti_cmd_opts *ret);
void ckpti_opts_free(struct ckpti_cmd_opts *o);
/* `cpr --complete WORD…`: prints what may come next, one per line. */
void ckpti_opts_complete(int nwords, char **words);

/* ---- report.c ----------------------------------------------------------------------------- */

enum ckpti_exit ckpti_report_status(int code);
/* Says on stderr (or in the result memfd) what went wrong; returns the exit status. */
int ckpti_report_error(const struct ckpti_cmd_opts *o, int code, const struct ckpti_err *err);
/* The result of a request that came through the library; does nothing without --api-result. */
void ckpti_report_result(const struct ckpti_cmd_opts *o, const struct ckpti_result *r);

/* The progress function for this call, NULL when nothing is to be shown. */
ckpti_progress_f ckpti_report_progress(const struct ckpti_cmd_opts *o);

/* ---- progress.c --------------------------------------------------------------------------- */

/* A ckpti_progress_f; arg is unused. */
int ckpti_cmd_progress(void *arg, const char *phase, uint64_t done, uint64_t total);

#endif
