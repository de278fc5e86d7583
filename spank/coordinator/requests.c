/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What clients ask for: the verbs of `scontrol checkpoint`, with the names of Slurm's errors and its texts.
 * Who may ask was settled when the client said who it is.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "spank/coordinator/coord.h"
#include "spank/coordinator/policy.h"

#define MAX_WAIT_S (7 * 86400)
#define FILE_MS    10000 /* for a small file */

static void result(struct ckpti_coord *c, struct ckpti_conn *conn, const char *rc, const char *text)
{
	struct ckpti_kv kv;

	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "rc", rc);
	ckpti_kv_set(&kv, "text", text);
	ckpti_conn_send(c, conn, CKPTI_W_RESULT, &kv);
	ckpti_kv_free(&kv);
}

static void disabled_text(struct ckpti_coord *c, struct ckpti_conn *conn, const char *why)
{
	char text[256];

	(void)snprintf(text, sizeof(text), "Requested operation is presently disabled%s%s",
		       *why ? ": " : "", why);
	result(c, conn, "ESLURM_DISABLED", text);
}

static void not_supported(struct ckpti_coord *c, struct ckpti_conn *conn, const char *why)
{
	char text[PATH_MAX + 256];

	(void)snprintf(text, sizeof(text), "Requested operation not supported on this system: %s",
		       why);
	result(c, conn, "ESLURM_NOT_SUPPORTED", text);
}

/* To all who wait for the same. */
static void result_to(struct ckpti_coord *c, enum ckpti_conn_wait waits, const struct ckpti_kv *kv)
{
	for (struct ckpti_conn *conn = c->conns; conn; conn = conn->next) {
		if (conn->waits != waits)
			continue;
		conn->waits = CKPTI_WAITS_NOT;
		ckpti_conn_send(c, conn, CKPTI_W_RESULT, kv);
	}
}

/* ---- disable, enable ---------------------------------------------------------------------- */

static size_t write_count(void *arg, void *ret)
{
	struct ckpti_coord *c = arg;
	struct ckpti_err *err = ret;
	struct ckpti_kv kv;

	*err = (struct ckpti_err){.code = 0};
	ckpti_kv_init(&kv);
	ckpti_kv_set_u64(&kv, "count", c->disabled);
	(void)ckpti_step_write_file(&c->step, "disabled", &kv, err);
	ckpti_kv_free(&kv);
	return sizeof(*err);
}

static void start_count(struct ckpti_coord *c);

static void count_written(struct ckpti_coord *c, const void *answer, size_t len)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_kv kv;

	c->counting = false;
	if (len == sizeof(err))
		err = *(const struct ckpti_err *)answer;
	else
		(void)ckpti_err(&err, -ETIMEDOUT, "cannot write 'disabled' in '%s': %s",
				c->step.path, strerrordesc_np(ETIMEDOUT));
	if (err.code == 0)
		c->disabled_written = c->disabled_writing;
	if (err.code == 0 && c->disabled != c->disabled_written) {
		/* Somebody else has come meanwhile. */
		start_count(c);
		return;
	}
	/* What is not written does not hold for lives to come, so it does not for this one. */
	if (err.code < 0)
		c->disabled = c->disabled_written;
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "rc", err.code < 0 ? "EIO" : "0");
	ckpti_kv_set(&kv, "text", err.text);
	result_to(c, CKPTI_WAITS_COUNT, &kv);
	ckpti_kv_free(&kv);
}

static void start_count(struct ckpti_coord *c)
{
	if (c->counting)
		return;
	c->counting = true;
	c->disabled_writing = c->disabled;
	if (ckpti_child_start(c, write_count, c, FILE_MS, count_written, NULL, NULL) < 0)
		count_written(c, NULL, 0);
}

static void count(struct ckpti_coord *c, struct ckpti_conn *conn, bool more)
{
	/* As in Slurm's days: enabling what is enabled is no error. */
	if (!more && c->disabled == 0) {
		result(c, conn, "0", "");
		return;
	}
	c->disabled += more ? 1 : -1ULL;
	conn->waits = CKPTI_WAITS_COUNT;
	start_count(c);
}

/* ---- able, error, status ------------------------------------------------------------------ */

static void began_at(const struct ckpti_coord *c, char *ret, size_t size)
{
	struct tm tm;
	char when[32] = "";

	if (localtime_r(&c->round.time, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	(void)snprintf(ret, size, "Began at %s", when);
}

/* NULL: it can begin. */
static const char *obstacle(struct ckpti_coord *c, bool switched_off, struct ckpti_err *err)
{
	if (c->disabled || switched_off)
		return "checkpoints are disabled";
	return !ckpti_round_busy(c) && ckpti_agents_ready(c, err) < 0 ? err->text : NULL;
}

static void tell_able(struct ckpti_coord *c, bool switched_off)
{
	struct ckpti_err err = {.code = 0};
	const char *why = obstacle(c, switched_off, &err);
	struct ckpti_kv kv;
	char text[64] = "Yes";

	ckpti_kv_init(&kv);
	if (why) {
		(void)snprintf(text, sizeof(text), "No");
		ckpti_kv_set(&kv, "reason", why);
	} else if (ckpti_round_busy(c)) {
		began_at(c, text, sizeof(text));
	}
	ckpti_kv_set(&kv, "rc", "0");
	ckpti_kv_set(&kv, "text", text);
	result_to(c, CKPTI_WAITS_ABLE, &kv);
	ckpti_kv_free(&kv);
}

static size_t look_at_switch(void *arg, void *ret)
{
	*(bool *)ret = ckpti_gate_disabled(arg);
	return sizeof(bool);
}

static void switch_seen(struct ckpti_coord *c, const void *answer, size_t len)
{
	c->looking = false;
	tell_able(c, len == sizeof(bool) && *(const bool *)answer);
}

static void able(struct ckpti_coord *c, struct ckpti_conn *conn)
{
	if (ckpti_agents_over(c) || c->vacated) {
		result(c, conn, "ESLURM_ALREADY_DONE", "Job/step already completing or completed");
		return;
	}
	conn->waits = CKPTI_WAITS_ABLE;
	if (c->looking)
		return;
	c->looking = true;
	if (ckpti_child_start(c, look_at_switch, c, FILE_MS, switch_seen, NULL, NULL) < 0)
		switch_seen(c, NULL, 0);
}

void ckpti_requests_load(struct ckpti_coord *c)
{
	struct ckpti_kv kv;

	if (ckpti_step_read_file(&c->step, "disabled", &kv) == 0) {
		c->disabled = c->disabled_written = ckpti_kv_get_u64(&kv, "count", 0);
		ckpti_kv_free(&kv);
	}
	if (ckpti_step_read_file(&c->step, "last", &kv) == 0) {
		c->before_code = (int)ckpti_kv_get_i64(&kv, "code", 0);
		(void)snprintf(c->before_text, sizeof(c->before_text), "%.511s",
			       ckpti_kv_get(&kv, "text", ""));
		ckpti_kv_free(&kv);
	}
}

static void last_error(struct ckpti_coord *c, struct ckpti_conn *conn)
{
	char text[640] = "error(0): no checkpoint has been taken";

	if (ckpti_round_busy(c) || c->good || c->failed)
		(void)snprintf(text, sizeof(text), "error(%d): %s",
			       c->last_code < 0 ? -c->last_code : 0,
			       c->good || c->failed ? c->last_text : "no checkpoint has ended yet");
	else if (c->before_text[0])
		(void)snprintf(text, sizeof(text), "error(%d): %s", -c->before_code,
			       c->before_text);
	result(c, conn, "0", text);
}

static const char *phase_name(const struct ckpti_coord *c)
{
	static const char *const name[] = {
		[CKPTI_IDLE] = "idle",           [CKPTI_WAITING] = "waiting",
		[CKPTI_PREPARING] = "preparing", [CKPTI_CAPTURING] = "capturing",
		[CKPTI_WRITING] = "writing",     [CKPTI_COMMITTING] = "committing",
		[CKPTI_ENDING] = "ending"};

	return name[c->round.phase];
}

static void status(struct ckpti_coord *c, struct ckpti_conn *conn)
{
	unsigned live = 0, ended = 0, connected = 0;
	char text[256], age[32], due[64] = "none by itself";
	int64_t now = ckpti_now_ms();
	struct ckpti_kv kv;

	for (unsigned i = 0; i < c->nnodes; i++) {
		live += c->node[i].live;
		ended += c->node[i].ended;
		connected += c->node[i].conn != NULL;
	}
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "rc", "0");
	ckpti_kv_set(&kv, "state", phase_name(c));
	ckpti_kv_set(&kv, "dir", c->step.path);
	ckpti_kv_set_u64(&kv, "gen", c->last.generation);
	ckpti_kv_set_u64(&kv, "nodes", c->nnodes);
	ckpti_kv_set_u64(&kv, "connected", connected);
	ckpti_kv_set_u64(&kv, "tasks", c->args.ntasks);
	ckpti_kv_set_u64(&kv, "live", live);
	ckpti_kv_set_u64(&kv, "ended", ended);
	ckpti_kv_set_u64(&kv, "good", c->good);
	ckpti_kv_set_u64(&kv, "failed", c->failed);
	ckpti_kv_set_u64(&kv, "restored", c->restored);
	ckpti_kv_set_u64(&kv, "epoch", c->epoch);
	ckpti_kv_set_u64(&kv, "disabled", c->disabled);
	ckpti_kv_set_u64(&kv, "stored", c->last.stored);
	ckpti_kv_set_u64(&kv, "stop_us", c->last.stop_us);
	ckpti_kv_set_u64(&kv, "durable_us", c->last.durable_us);
	if (c->schedule.due_ms != INT64_MAX) {
		int64_t left = c->schedule.due_ms > now ? (c->schedule.due_ms - now) / 1000 : 0;

		ckpti_kv_set_u64(&kv, "next_s", (uint64_t)left);
		(void)snprintf(due, sizeof(due), "in %s", ckpti_policy_age(left, age));
	}
	if (c->last.generation) {
		int64_t old = (int64_t)time(NULL) - c->last.ctime;

		ckpti_kv_set_u64(&kv, "age_s", old > 0 ? (uint64_t)old : 0);
		(void)snprintf(text, sizeof(text),
			       "generation %" PRIu64
			       ", %s old, next %s; %u of %u tasks run on %u nodes",
			       c->last.generation, ckpti_policy_age(old, age), due, live,
			       c->args.ntasks, c->nnodes);
	} else {
		(void)snprintf(text, sizeof(text),
			       "no generation yet, next %s; %u of %u tasks run on %u nodes", due,
			       live, c->args.ntasks, c->nnodes);
	}
	ckpti_kv_set(&kv, "text", text);
	ckpti_conn_send(c, conn, CKPTI_W_RESULT, &kv);
	ckpti_kv_free(&kv);
}

/* ---- create, vacate, requeue -------------------------------------------------------------- */

/* True: it has been answered. */
static bool refuse(struct ckpti_coord *c, struct ckpti_conn *conn, bool requeue)
{
	if (c->vacated || ckpti_agents_over(c)) {
		result(c, conn, "ESLURM_ALREADY_DONE", "Job/step already completing or completed");
	} else if (c->disabled) {
		disabled_text(c, conn, "");
	} else if (ckpti_round_busy(c)) {
		result(c, conn, "EALREADY", "Operation already in progress");
	} else if (requeue && !c->job.batch) {
		not_supported(c, conn, "the job has no batch script that could be run again");
	} else if (requeue && !c->job.requeue) {
		not_supported(c, conn, "the job was submitted with --no-requeue");
	} else {
		return false;
	}
	return true;
}

static void create(struct ckpti_coord *c, struct ckpti_conn *conn, const struct ckpti_kv *kv,
		   const char *reason, bool kill, bool requeue)
{
	uint64_t wait = ckpti_kv_get_u64(kv, "max_wait", c->config.max_wait);
	struct ckpti_err err = {.code = 0};

	if (refuse(c, conn, requeue))
		return;
	if (wait == 0 || wait > MAX_WAIT_S)
		wait = MAX_WAIT_S;
	if (ckpti_round_ask(c, reason, kill, requeue, (int64_t)wait * 1000, &err) < 0) {
		result(c, conn, "EALREADY", "Operation already in progress");
		return;
	}
	(void)snprintf(c->round.image_dir, sizeof(c->round.image_dir), "%s",
		       ckpti_kv_get(kv, "image_dir", ""));
	conn->waits = CKPTI_WAITS_ROUND;
}

void ckpti_requests_frame(struct ckpti_coord *c, struct ckpti_conn *conn, const struct ckpti_kv *kv)
{
	const char *verb = ckpti_kv_get(kv, "verb", "");
	char text[96];

	if (strcmp(verb, "able") == 0) {
		able(c, conn);
	} else if (strcmp(verb, "create") == 0) {
		create(c, conn, kv, "request", false, false);
	} else if (strcmp(verb, "vacate") == 0) {
		create(c, conn, kv, "vacate", true, false);
	} else if (strcmp(verb, "requeue") == 0) {
		create(c, conn, kv, "requeue", true, true);
	} else if (strcmp(verb, "restart") == 0) {
		result(c, conn, "ESLURM_JOB_NOT_FINISHED", "Job is not finished");
	} else if (strcmp(verb, "disable") == 0) {
		count(c, conn, true);
	} else if (strcmp(verb, "enable") == 0) {
		count(c, conn, false);
	} else if (strcmp(verb, "error") == 0) {
		last_error(c, conn);
	} else if (strcmp(verb, "status") == 0) {
		status(c, conn);
	} else {
		(void)snprintf(text, sizeof(text), "Invalid checkpoint operation: %.40s", verb);
		result(c, conn, "EINVAL", text);
	}
}

/* ---- while a round runs, and at its end --------------------------------------------------- */

void ckpti_requests_progress(struct ckpti_coord *c, const char *text)
{
	struct ckpti_kv kv;

	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "text", text);
	for (struct ckpti_conn *conn = c->conns; conn; conn = conn->next)
		if (conn->waits == CKPTI_WAITS_ROUND)
			ckpti_conn_send(c, conn, CKPTI_W_PROGRESS, &kv);
	ckpti_kv_free(&kv);
}

void ckpti_requests_round(struct ckpti_coord *c, int code, const char *text)
{
	const char *rc = code < 0 ? strerrorname_np(-code) : "0";
	struct ckpti_kv kv;

	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "rc", rc ? rc : "EIO");
	ckpti_kv_set(&kv, "text", text);
	if (code == 0) {
		ckpti_kv_set_u64(&kv, "gen", c->last.generation);
		ckpti_kv_set_u64(&kv, "tasks", c->last.ntasks);
		ckpti_kv_set_u64(&kv, "stored", c->last.stored);
		ckpti_kv_set_u64(&kv, "stop_us", c->last.stop_us);
		ckpti_kv_set_u64(&kv, "durable_us", c->last.durable_us);
		ckpti_kv_set(&kv, "dir", c->step.path);
	}
	result_to(c, CKPTI_WAITS_ROUND, &kv);
	ckpti_kv_free(&kv);
}

void ckpti_requests_refused(struct ckpti_coord *c, bool disabled)
{
	for (struct ckpti_conn *conn = c->conns; conn; conn = conn->next) {
		char text[PATH_MAX + 64];

		if (conn->waits != CKPTI_WAITS_ROUND)
			continue;
		conn->waits = CKPTI_WAITS_NOT;
		(void)snprintf(text, sizeof(text), "a running step keeps its checkpoints in '%s'",
			       c->step.path);
		if (disabled)
			disabled_text(c, conn, "the site has switched checkpoints off");
		else
			not_supported(c, conn, text);
	}
}
