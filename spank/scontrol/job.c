/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A request for a job: what its state allows, which steps it means, and what their coordinators
 * say.
 *
 * A job means all its running steps that have a coordinator.  All are asked before the first is
 * waited for, so that they do it at the same time, and the worst result counts.  Nothing is
 * asked of any when one of them cannot be reached or is not the owner's.
 */
#include "spank/scontrol/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spank/lib/step.h"
#include "spank/scontrol/say.h"
#include "spank/scontrol/talk.h"

#define SCANCEL_MS 20000

struct steps {
	struct ckpti_talk *talk;
	size_t n, connected;
	size_t done; /* have said yes */
	const char *cluster;
	const struct ckpti_slurm_job *job;
};

/* ---- what the state of the job allows ----------------------------------------------------- */

enum ckpti_job_phase ckpti_job_phase(const struct ckpti_slurm_job *job)
{
	static const struct {
		const char *state;
		enum ckpti_job_phase phase;
	} phases[] = {
		{"PENDING", CKPTI_JOB_PENDING},       {"REQUEUED", CKPTI_JOB_PENDING},
		{"REQUEUE_HOLD", CKPTI_JOB_PENDING},  {"REQUEUE_FED", CKPTI_JOB_PENDING},
		{"SPECIAL_EXIT", CKPTI_JOB_PENDING},  {"RESV_DEL_HOLD", CKPTI_JOB_PENDING},
		{"RUNNING", CKPTI_JOB_RUNNING},       {"CONFIGURING", CKPTI_JOB_RUNNING},
		{"RESIZING", CKPTI_JOB_RUNNING},      {"SIGNALING", CKPTI_JOB_RUNNING},
		{"SUSPENDED", CKPTI_JOB_SUSPENDED},   {"STOPPED", CKPTI_JOB_SUSPENDED},
		{"COMPLETING", CKPTI_JOB_COMPLETING}, {"STAGE_OUT", CKPTI_JOB_COMPLETING},
	};

	for (size_t i = 0; i < sizeof(phases) / sizeof(phases[0]); i++) {
		if (strcmp(job->state, phases[i].state) == 0)
			return phases[i].phase;
	}
	return CKPTI_JOB_DONE;
}

static int check_state(const struct ckpti_request *q, const struct ckpti_slurm_job *job)
{
	switch (ckpti_job_phase(job)) {
	case CKPTI_JOB_PENDING:
		return ckpti_say_error("ESLURM_JOB_PENDING", NULL);
	case CKPTI_JOB_SUSPENDED:
		/* The coordinator is asleep like the rest of the job. */
		return ckpti_say_error(q->has_step ? "ESLURM_DISABLED" : "ESLURM_JOB_SUSPENDED",
				       q->has_step ? "the job is suspended" : NULL);
	case CKPTI_JOB_COMPLETING:
	case CKPTI_JOB_DONE:
		return ckpti_say_error("ESLURM_ALREADY_DONE", NULL);
	case CKPTI_JOB_RUNNING:
		break;
	}
	if (q->verb != CKPTI_REQ_REQUEUE)
		return EXIT_SUCCESS;
	if (!job->batch)
		return ckpti_say_error("ESLURM_NOT_SUPPORTED",
				       "job %u is no batch job: Slurm cannot requeue it", job->job);
	if (!job->requeue)
		return ckpti_say_error("ESLURM_NOT_SUPPORTED",
				       "job %u must not be requeued: submitted with --no-requeue",
				       job->job);
	return EXIT_SUCCESS;
}

/* ---- which steps -------------------------------------------------------------------------- */

/* The batch script has a coordinator when `cpr run` is in it; *ret_n grows. */
static void add_batch(struct steps *s)
{
	ckpti_talk_init(&s->talk[s->n++], s->job->job, CKPTI_STEP_BATCH, s->job->batch_host);
}

static int list_steps(const struct ckpti_request *q, struct steps *s)
{
	struct ckpti_slurm_step *step = NULL;
	struct ckpti_err err = {0};
	size_t n = 0;
	int r;

	r = ckpti_slurm_steps(s->job->job, &step, &n, &err);
	if (r < 0)
		return ckpti_say_err(&err);
	s->talk = calloc(n + 1, sizeof(*s->talk));
	if (!s->talk) {
		free(step);
		return ckpti_say_error(NULL, "no memory");
	}
	for (size_t i = 0; i < n; i++) {
		if (!q->has_step || q->step == step[i].step)
			ckpti_talk_init(&s->talk[s->n++], s->job->job, step[i].step,
					step[i].srun_host);
	}
	free(step);
	if (s->job->batch && (!q->has_step || q->step == CKPTI_STEP_BATCH))
		add_batch(s);
	if (q->has_step && s->n == 0)
		return ckpti_say_error("ESLURM_INVALID_JOB_ID", "job %u has no running step %u",
				       s->job->job, q->step);
	return EXIT_SUCCESS;
}

static int no_answer(const struct ckpti_talk *t, const struct ckpti_err *err)
{
	char last[PATH_MAX + 512];

	ckpti_talk_last_good(t->dir, last, sizeof(last));
	return ckpti_say_error(
		NULL, "coordinator of step %u.%s does not answer (%s); the step runs on; %s",
		t->job, t->name, err->text, last);
}

static int failed(const struct ckpti_talk *t, int r, const struct ckpti_err *err)
{
	if (r == -EHOSTDOWN)
		return no_answer(t, err);
	if (r == -EPERM || r == -EACCES)
		return ckpti_say_error("ESLURM_ACCESS_DENIED", "step %u.%s: %s", t->job, t->name,
				       err->text);
	return ckpti_say_err(err);
}

#define REMEDY "start it with `srun --checkpoint=…` or have the site set `always` in plugstack.conf"

/* The request ends the whole job, steps included that it does not mean. */
static bool ends_job(const struct ckpti_request *q, const struct ckpti_slurm_job *job)
{
	return q->verb == CKPTI_REQ_REQUEUE ||
	       (q->verb == CKPTI_REQ_VACATE && !q->has_step && job->batch);
}

/* A script without `cpr run` is as it should be; what another step has done would be lost. */
static int without_coordinator(const struct ckpti_request *q, const struct steps *s)
{
	for (size_t i = 0; i < s->n; i++) {
		const struct ckpti_talk *t = &s->talk[i];

		if (t->wire || t->step == CKPTI_STEP_BATCH)
			continue;
		if (!q->has_step && ends_job(q, s->job))
			return ckpti_say_error("ESLURM_NOT_SUPPORTED",
					       "step %u.%s has no coordinator and would be lost; "
					       "wait for its end, or name the step that is meant",
					       s->job->job, t->name);
		ckpti_say_plain("step %u.%s has no coordinator and is left out", s->job->job,
				t->name);
	}
	return EXIT_SUCCESS;
}

/* Opens all; those without coordinator stay without a connection. */
static int open_all(const struct ckpti_request *q, struct steps *s)
{
	int r, status = EXIT_SUCCESS;
	struct ckpti_err err;

	for (size_t i = 0; i < s->n; i++) {
		err = (struct ckpti_err){0};
		r = ckpti_talk_open(&s->talk[i], s->cluster, s->job->uid, &err);
		if (r == 0) {
			s->connected++;
			continue;
		}
		ckpti_talk_close(&s->talk[i]);
		if (r != -ENOENT)
			status = failed(&s->talk[i], r, &err);
	}
	if (status == EXIT_SUCCESS && s->connected == 0)
		return ckpti_say_error("ESLURM_NOT_SUPPORTED",
				       "no coordinator for %s %s%s; " REMEDY,
				       q->has_step ? "this step of job" : "job", q->job,
				       q->has_step && q->step == CKPTI_STEP_BATCH
					       ? " (a batch script needs `cpr run` for it)"
					       : "");
	return status == EXIT_SUCCESS ? without_coordinator(q, s) : status;
}

/* ---- results ------------------------------------------------------------------------------ */

static void print_size(uint64_t bytes, char *ret, size_t size)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes / 1024;
	size_t i = 0;

	while (value >= 10000 && i < sizeof(units) / sizeof(units[0]) - 1) {
		value /= 1024;
		i++;
	}
	(void)snprintf(ret, size, "%.0f %s", value, units[i]);
}

/* The line of a generation that was made. */
static void print_generation(const struct ckpti_talk *t, const struct ckpti_kv *result)
{
	char size[32];

	print_size(ckpti_kv_get_u64(result, "stored", 0), size, sizeof(size));
	ckpti_say_line(
		stdout,
		"checkpoint %s of %u.%s: %s tasks, %s, stopped %.0f ms, durable after %.1f s",
		ckpti_kv_get(result, "gen", "?"), t->job, t->name,
		ckpti_kv_get(result, "tasks", "?"), size,
		(double)ckpti_kv_get_u64(result, "stop_us", 0) / 1e3,
		(double)ckpti_kv_get_u64(result, "durable_us", 0) / 1e6);
}

static void print_result(const struct ckpti_request *q, const struct ckpti_talk *t,
			 const char *label, const struct ckpti_kv *result)
{
	const char *text = ckpti_kv_get(result, "text", "");

	switch (q->verb) {
	case CKPTI_REQ_STATUS:
		ckpti_status_print(t->job, t->name, result);
		break;
	case CKPTI_REQ_ABLE:
	case CKPTI_REQ_ERROR:
		ckpti_say_line(stdout, "%s%s", label, text);
		text = ckpti_kv_get(result, "reason", "");
		if (*text)
			ckpti_say_plain("%s%s", label, text);
		break;
	case CKPTI_REQ_CREATE:
	case CKPTI_REQ_VACATE:
	case CKPTI_REQ_REQUEUE:
		if (!ckpti_say_quiet)
			print_generation(t, result);
		break;
	case CKPTI_REQ_DISABLE:
	case CKPTI_REQ_ENABLE:
	case CKPTI_REQ_RESTART:
	case CKPTI_REQ_SHOW:
	case CKPTI_REQ_CHECK:
		break;
	}
}

/* The text of an answer may say itself what its rc means. */
static int refused(const char *label, const char *rc, const char *text)
{
	const char *meaning = ckpti_say_text(rc);

	if (strncmp(text, meaning, strlen(meaning)) == 0)
		return ckpti_say_error(NULL, "%s%s", label, text);
	return ckpti_say_error(NULL, "%s%s%s%s", label, meaning, *text ? ": " : "", text);
}

/* Waits for one; EXIT_SUCCESS or EXIT_FAILURE. */
static int wait_for(const struct ckpti_request *q, struct ckpti_talk *t, bool labelled)
{
	struct ckpti_err err = {0};
	char label[48] = "";
	struct ckpti_kv result;
	const char *rc, *text;
	int r, status = EXIT_SUCCESS;

	if (labelled)
		(void)snprintf(label, sizeof(label), "%u.%s: ", t->job, t->name);
	r = ckpti_talk_result(t, label, &result, &err);
	if (r < 0)
		return failed(t, r, &err);
	rc = ckpti_kv_get(&result, "rc", "EBADMSG");
	text = ckpti_kv_get(&result, "text", "");
	if (strcmp(rc, "0") == 0)
		print_result(q, t, label, &result);
	/* The old command said No to the question, and an error to the demand. */
	else if (q->verb == CKPTI_REQ_ABLE && strcmp(rc, "ESLURM_DISABLED") == 0)
		ckpti_say_line(stdout, "%sNo", label);
	else
		status = refused(label, rc, text);
	ckpti_kv_free(&result);
	return status;
}

static int ask_all(const struct ckpti_request *q, enum ckpti_verb verb, struct steps *s)
{
	int r, status = EXIT_SUCCESS;
	struct ckpti_err err;

	for (size_t i = 0; i < s->n; i++) {
		err = (struct ckpti_err){0};
		r = s->talk[i].wire ? ckpti_talk_send(&s->talk[i], q, verb, &err) : 0;
		if (r < 0) {
			ckpti_talk_close(&s->talk[i]);
			status = failed(&s->talk[i], r, &err);
		}
	}
	for (size_t i = 0; i < s->n; i++) {
		if (!s->talk[i].wire)
			continue;
		if (wait_for(q, &s->talk[i], s->connected > 1) == EXIT_SUCCESS)
			s->done++;
		else
			status = EXIT_FAILURE;
	}
	return status;
}

/* A coordinator ends the tasks of its own step; what is left of the job is ended here. */
static int end_job(const struct ckpti_slurm_job *job)
{
	char number[16], output[256], errors[512] = "";
	char *const argv[] = {(char *)(uintptr_t) "scancel", (char *)(uintptr_t) "--quiet", number,
			      NULL};
	struct ckpti_err err = {0};
	int r, status;

	(void)snprintf(number, sizeof(number), "%u", job->job);
	r = ckpti_slurm_run(argv, SCANCEL_MS, output, sizeof(output), errors, &status, &err);
	if (r < 0)
		return ckpti_say_err(&err);
	return status == 0 ? EXIT_SUCCESS
			   : ckpti_say_error(NULL, "scancel of job %u: %s", job->job, errors);
}

static int request(const struct ckpti_request *q, struct steps *s)
{
	struct ckpti_err err = {0};
	enum ckpti_verb verb = q->verb;
	int status;

	/* One coordinator does it all.  Of several none may requeue while another one writes. */
	if (verb == CKPTI_REQ_REQUEUE && s->connected > 1)
		verb = CKPTI_REQ_VACATE;
	status = ask_all(q, verb, s);
	if (verb == q->verb && (verb != CKPTI_REQ_VACATE || q->has_step || !s->job->batch))
		return status;
	if (status != EXIT_SUCCESS) {
		if (s->done > 0)
			ckpti_say_plain("job %u goes on without the steps that are vacated",
					s->job->job);
		return status;
	}
	if (q->verb == CKPTI_REQ_VACATE)
		return end_job(s->job);
	return ckpti_slurm_requeue(s->job->job, false, &err) < 0 ? ckpti_say_err(&err)
								 : EXIT_SUCCESS;
}

int ckpti_job_request(const struct ckpti_request *q, const struct ckpti_slurm_job *job)
{
	struct ckpti_err err = {0};
	struct ckpti_slurm_conf conf;
	struct steps s = {.job = job, .cluster = conf.cluster};
	int status;

	if (q->verb == CKPTI_REQ_RESTART)
		return ckpti_restart_known(q, job);
	status = check_state(q, job);
	if (status != EXIT_SUCCESS)
		return status;
	if (ckpti_slurm_conf(&conf, &err) < 0)
		return ckpti_say_err(&err);
	status = list_steps(q, &s);
	if (status == EXIT_SUCCESS)
		status = open_all(q, &s);
	/* What changes a step is not begun when another one is out of reach. */
	if (s.connected > 0 && (status == EXIT_SUCCESS || q->verb == CKPTI_REQ_STATUS)) {
		if (request(q, &s) != EXIT_SUCCESS)
			status = EXIT_FAILURE;
	}
	for (size_t i = 0; i < s.n; i++)
		ckpti_talk_close(&s.talk[i]);
	free(s.talk);
	return status;
}
