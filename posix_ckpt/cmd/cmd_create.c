/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpr -c: gather what the command line and the attribute file ask for, hand it to the core, and say
 * in one line what came of it.
 */
#include <ckpt.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"
#include "cmd.h"
#include "core/drive.h"
#include "json.h"
#include "mpirun.h"
#include "step.h"
#include "text.h"

/* -k and -g beat the attribute file, which beats the default: ours is to go on, the old command's was
 * to end the processes.  A call of the library says with its flags what it wants. */
static bool ends_targets(const struct ckpti_cmd_opts *o, const struct ckpti_attr_choice *c)
{
	const char *compat = getenv("CPR_COMPAT");

	if (o->kill || o->go_on || o->result_fd != CKPTI_RESULT_NONE)
		return o->kill;
	if (c->action[CKPTI_ATTR_WILL] != CKPTI_ATTR_UNSET)
		return c->action[CKPTI_ATTR_WILL] != CKPTI_ATTR_CONT;
	return compat && strcmp(compat, "irix") == 0;
}

/* CKPT_PRECOPY is for checkpoints that others ask for, as of a step of Slurm; --precopy beats it. */
static int choose_precopy(const struct ckpti_cmd_opts *o, enum ckpti_precopy_mode *ret,
			  struct ckpti_err *err)
{
	static const char *const words[] = {[CKPTI_PRECOPY_OFF] = "off",
					    [CKPTI_PRECOPY_ON] = "on",
					    [CKPTI_PRECOPY_AUTO] = "auto"};
	const char *word = getenv("CKPT_PRECOPY");

	*ret = o->precopy;
	if (o->precopy_given || !word || !*word)
		return 0;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(word, words[i]) == 0) {
			*ret = (enum ckpti_precopy_mode)i;
			return 0;
		}
	}
	return ckpti_err(err, -EINVAL, "CKPT_PRECOPY is '%.64s': off, on or auto is needed", word);
}

/* The rules of the command line come first: the first that matches counts. */
static int join_rules(const struct ckpti_cmd_opts *o, const struct ckpti_attr_choice *c,
		      struct ckpti_file_rule **ret, size_t *ret_n)
{
	struct ckpti_file_rule *rules = calloc(o->nrules + c->nrules + 1, sizeof(*rules));

	if (!rules)
		return -ENOMEM;
	if (o->nrules)
		memcpy(rules, o->rules, o->nrules * sizeof(*rules));
	if (c->nrules)
		memcpy(rules + o->nrules, c->rules, c->nrules * sizeof(*rules));
	*ret = rules;
	*ret_n = o->nrules + c->nrules;
	return 0;
}

static int print_json(const struct ckpti_create_result *res, bool dryrun, bool kill)
{
	struct ckpti_json j = {.f = stdout};

	ckpti_json_open(&j, NULL, '{');
	ckpti_json_bool(&j, "dry_run", dryrun);
	if (!dryrun) {
		ckpti_json_u64(&j, "generation", res->generation);
		ckpti_json_bool(&j, "ended", kill);
	}
	ckpti_json_u64(&j, "processes", res->nprocs);
	ckpti_json_u64(&j, "threads", res->nthreads);
	ckpti_json_u64(&j, "memory_bytes", res->mem_bytes);
	ckpti_json_u64(&j, "stored_bytes", res->stored_bytes);
	ckpti_json_u64(&j, "reused_bytes", res->reused_bytes);
	ckpti_json_u64(&j, "stop_ns", res->stop_ns);
	ckpti_json_u64(&j, "durable_ns", res->durable_ns);
	ckpti_json_u64(&j, "eintr_hidden", res->eintr_hidden);
	ckpti_json_u64(&j, "eintr_lost", res->eintr_lost);
	ckpti_json_close(&j, '}');
	return ckpti_json_end(&j);
}

static void print_line(const struct ckpti_create_result *res, bool dryrun)
{
	char mem[16], stop[16], durable[16];

	if (dryrun)
		(void)printf("cpr: dry run: ");
	else
		(void)printf("cpr: checkpoint %" PRIu64 ": ", res->generation);
	(void)printf("%u process%s, %u thread%s", res->nprocs, res->nprocs == 1 ? "" : "es",
		     res->nthreads, res->nthreads == 1 ? "" : "s");
	if (dryrun)
		(void)printf(", nothing in the way\n");
	else
		(void)printf(", %s, stopped %s, durable after %s\n",
			     ckpti_text_bytes(res->mem_bytes, mem),
			     ckpti_text_time(res->stop_ns, stop),
			     ckpti_text_time(res->durable_ns, durable));
}

/* For a caller that is the library, or an agent of a job; does nothing without --api-result. */
static void report(const struct ckpti_cmd_opts *o, const struct ckpti_create_result *res)
{
	struct ckpti_result r = {.generation = res->generation,
				 .nprocs = res->nprocs,
				 .nthreads = res->nthreads,
				 .mem_bytes = res->mem_bytes,
				 .stored_bytes = res->stored_bytes,
				 .stop_ns = res->stop_ns,
				 .reused_bytes = res->reused_bytes};

	ckpti_report_result(o, &r);
}

static int tell(const struct ckpti_cmd_opts *o, const struct ckpti_create_result *res, bool kill)
{
	if (o->result_fd != CKPTI_RESULT_NONE)
		report(o, res);
	else if (o->json)
		return print_json(res, o->dryrun, kill);
	else if (!o->quiet)
		print_line(res, o->dryrun);
	return 0;
}

struct driven {
	const struct ckpti_cmd_opts *o;
	struct ckpti_drive drive;
};

static int phase(void *arg, enum ckpti_phase phase_now, const struct ckpti_create_result *so_far,
		 struct ckpti_err *err)
{
	struct driven *d = arg;

	/* Who decides about the end of the processes knows what has been committed. */
	if (phase_now == CKPTI_PHASE_COMMITTED)
		report(d->o, so_far);
	return ckpti_drive_phase(&d->drive, phase_now, so_far, err);
}

static void note(void *arg, const char *text)
{
	const struct ckpti_cmd_opts *o = arg;

	/* A launcher hands it on to its user. */
	if (o->drive_fd >= 0 || (!o->quiet && o->result_fd == CKPTI_RESULT_NONE))
		(void)fprintf(stderr, "cpr: note: %s\n", text);
}

int ckpti_cmd_create(const struct ckpti_cmd_opts *o)
{
	struct driven driven = {.o = o,
				.drive = {.fd = o->drive_fd, .timeout_ms = o->drive_timeout_ms}};
	struct ckpti_create_req req = {.dir = o->args[0],
				       .target = o->target,
				       .ntarget = o->ntarget,
				       .force = o->force,
				       .upgrade = o->upgrade,
				       .full = o->full,
				       .dryrun = o->dryrun,
				       .prepared_only = o->prepared_only,
				       .keep = o->keep,
				       .timeout_ms = o->timeout_ms,
				       .policy = o->policy,
				       .copy_limit = o->copy_limit,
				       .hold = o->hold,
				       .nhold = o->nhold,
				       .pins = o->pins,
				       .include = o->include,
				       .ninclude = o->ninclude,
				       .note = note,
				       .note_arg = (void *)(uintptr_t)o,
				       .phase = o->drive_fd >= 0 ? phase : NULL,
				       .phase_arg = &driven,
				       .progress = ckpti_report_progress(o)};
	struct ckpti_create_result res = {.generation = 0};
	struct ckpti_attr_choice choice = {.nrules = 0};
	struct ckpti_attr attr = {.nblocks = 0};
	struct ckpti_file_rule *rules = NULL;
	struct ckpti_err err = {.code = 0};
	bool job = false, mpirun = false;
	int r;

	r = choose_precopy(o, &req.precopy, &err);
	if (r < 0)
		goto out;
	r = ckpti_attr_load(&attr, &err);
	if (r < 0)
		goto out;
	r = ckpti_attr_select(&attr, o->target, o->ntarget, &choice);
	if (r < 0)
		goto out;
	r = join_rules(o, &choice, &rules, &req.nrules);
	if (r < 0)
		goto out;
	req.rules = rules;
	req.kill = ends_targets(o, &choice);

	for (size_t i = 0; i < o->ntarget; i++) {
		job |= ckpti_step_is_target(&o->target[i]);
		mpirun |= ckpti_mpirun_is_target(&o->target[i]);
	}
	if (job)
		r = ckpti_step_create(o, req.kill, &err);
	else if (mpirun)
		r = ckpti_mpirun_create(o, req.kill, req.phase, &driven, &res, &err);
	else
		r = ckpti_create(&req, &res, &err);
	if (r < 0)
		goto out;
	r = tell(o, &res, req.kill);
out:
	free(rules);
	free(choice.rules);
	ckpti_attr_free(&attr);
	return r < 0 ? ckpti_report_error(o, r, &err) : CKPTI_EXIT_OK;
}
