/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A round: from the wish for a checkpoint to a manifest, or to nothing.
 *
 *   WAITING     until the nodes are there, old generations are removed, and it is our turn on the site
 *   PREPARING   ROUND sent; each node says PREPARED
 *   CAPTURING   MUSTER sent; the tasks stop; each node says CAPTURED
 *   WRITING     RESUME sent (not with kill); each node says DURABLE
 *   COMMITTING  a child writes the manifest; when that is there, COMMITTED is sent
 *   ENDING      with kill: the nodes end their tasks, and this is the last round
 *
 * Whatever goes wrong before the manifest is there ends the attempt for all: ABORT, and the tasks go on.
 * What was only in the way for a moment is tried again, as long as it makes sense.  Messages of an attempt
 * carry its number, and late ones are not looked at.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "spank/coordinator/coord.h"
#include "util/hold.h"

#define RETRY_FIRST_MS 100
#define RETRY_MOST_MS  2000
#define ENDING_MS      10000
#define LOOK_MS        100 /* how often silence is looked for */

static void fail(struct ckpti_coord *c, bool retry, struct ckpti_err *err);

/* ---- messages ----------------------------------------------------------------------------- */

static void start_message(const struct ckpti_coord *c, struct ckpti_kv *kv)
{
	ckpti_kv_init(kv);
	ckpti_kv_set_u64(kv, "round", c->round.number);
}

/* To the nodes that take part; a copy goes into their own connections only. */
static void send_all(struct ckpti_coord *c, unsigned type, struct ckpti_kv *kv)
{
	for (unsigned i = 0; i < c->nnodes; i++)
		if (c->node[i].conn && c->node[i].at != CKPTI_AT_OUT)
			ckpti_conn_send(c, c->node[i].conn, type, kv);
	ckpti_kv_free(kv);
}

static void send_round(struct ckpti_coord *c)
{
	struct ckpti_kv kv;

	start_message(c, &kv);
	ckpti_kv_set_u64(&kv, "kill", c->round.kill);
	ckpti_kv_set_u64(&kv, "keep", c->keep);
	ckpti_kv_set_u64(&kv, "timeout_ms", c->config.muster_timeout * 1000);
	ckpti_kv_set_u64(&kv, "writers", c->config.writers);
	if (c->args.include)
		ckpti_kv_set(&kv, "include", c->args.include);
	send_all(c, CKPTI_W_ROUND, &kv);
}

static void send_simple(struct ckpti_coord *c, unsigned type)
{
	struct ckpti_kv kv;

	start_message(c, &kv);
	send_all(c, type, &kv);
}

/* ---- asking ------------------------------------------------------------------------------- */

bool ckpti_round_busy(const struct ckpti_coord *c)
{
	return c->round.phase != CKPTI_IDLE;
}

int ckpti_round_ask(struct ckpti_coord *c, const char *reason, bool kill, bool requeue,
		    int64_t max_wait_ms, struct ckpti_err *err)
{
	struct ckpti_cround *r = &c->round;
	int64_t now = ckpti_now_ms();

	if (ckpti_round_busy(c))
		return ckpti_err(err, -EALREADY, "a checkpoint is under way");
	*r = (struct ckpti_cround){
		.phase = CKPTI_WAITING,
		.number = r->number,
		.reason = reason,
		.kill = kill,
		.requeue = requeue,
		.asked_ms = now,
		.time = time(NULL),
		.retry_ms = now,
		.give_up_ms = now + (int64_t)c->config.muster_timeout * 1000,
		.end_ms = max_wait_ms ? now + max_wait_ms : 0,
	};
	return 0;
}

/* ---- the end of an attempt ---------------------------------------------------------------- */

static void finish(struct ckpti_coord *c)
{
	c->round.phase = CKPTI_IDLE;
	ckpti_gate_close(c);
}

void ckpti_round_refuse(struct ckpti_coord *c, bool disabled)
{
	finish(c);
	ckpti_requests_refused(c, disabled);
}

static void send_abort(struct ckpti_coord *c, const char *why)
{
	struct ckpti_kv kv;

	if (c->round.phase < CKPTI_PREPARING)
		return;
	start_message(c, &kv);
	ckpti_kv_set(&kv, "text", why);
	send_all(c, CKPTI_W_ABORT, &kv);
}

static int64_t retry_delay(const struct ckpti_cround *r)
{
	int64_t ms = RETRY_FIRST_MS;

	for (unsigned i = 1; i < r->attempts && ms < RETRY_MOST_MS; i++)
		ms *= 2;
	return ms < RETRY_MOST_MS ? ms : RETRY_MOST_MS;
}

static void fail(struct ckpti_coord *c, bool retry, struct ckpti_err *err)
{
	struct ckpti_cround *r = &c->round;
	int64_t again = ckpti_now_ms() + retry_delay(r);

	if (r->phase == CKPTI_IDLE || r->phase == CKPTI_ENDING)
		return;
	/* A connection that breaks while this is sent fails the same round again: not here. */
	send_abort(c, err->text);
	if (r->phase == CKPTI_IDLE)
		return;
	if (retry && again < r->give_up_ms && (!r->end_ms || again < r->end_ms)) {
		r->phase = CKPTI_WAITING;
		r->retry_ms = again;
		ckpti_gate_close(c);
		return;
	}
	finish(c);
	ckpti_report_failed(c, err);
}

void ckpti_round_stop(struct ckpti_coord *c, const char *why)
{
	struct ckpti_err err = {.code = 0};

	if (!ckpti_round_busy(c) || c->round.phase == CKPTI_ENDING)
		return;
	(void)ckpti_err(&err, -ECANCELED, "%s", why);
	fail(c, false, &err);
}

/* ---- beginning ---------------------------------------------------------------------------- */

/* 0: go on, 1: later. */
static int may_begin(struct ckpti_coord *c, struct ckpti_err *err)
{
	int r;

	/* The nodes hold what manifests name, so these must not change meanwhile. */
	if (c->pruning)
		return 1;
	if (ckpti_agents_over(c))
		return ckpti_err(err, -ESRCH, "all tasks have ended");
	r = ckpti_parts_unharmed(c, err);
	if (r == 0)
		r = ckpti_agents_ready(c, err);
	if (r < 0)
		return r;
	return ckpti_gate_pass(c, err);
}

static void begin(struct ckpti_coord *c)
{
	struct ckpti_cround *r = &c->round;
	int64_t now = ckpti_now_ms();

	r->attempts++;
	r->number++;
	r->began_ms = now;
	r->phase = CKPTI_PREPARING;
	r->phase_ms = now + (int64_t)c->config.muster_timeout * 1000;
	ckpti_parts_clear(c);
	memset(r->nodes_at, 0, sizeof(r->nodes_at));
	for (unsigned i = 0; i < c->nnodes; i++) {
		struct ckpti_cnode *n = &c->node[i];

		n->at = n->tasks > 0 && n->live == 0 ? CKPTI_AT_OUT : CKPTI_AT_BEGUN;
		n->need = 0;
		r->nodes_at[n->at]++;
	}
	send_round(c);
}

static void try_to_begin(struct ckpti_coord *c)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_cround *r = &c->round;
	int64_t now = ckpti_now_ms();
	int s = may_begin(c, &err);

	if (s == 0) {
		begin(c);
	} else if (s > 0) {
		/* Waiting for a turn is no failure: those before us take as long as they take. */
		r->retry_ms = now + 500;
		r->give_up_ms = r->retry_ms + (int64_t)c->config.muster_timeout * 1000;
	} else {
		r->attempts++;
		fail(c, s == -EAGAIN, &err);
	}
}

/* ---- barriers ----------------------------------------------------------------------------- */

static bool all_at(const struct ckpti_coord *c, enum ckpti_node_at at)
{
	for (unsigned before = CKPTI_AT_BEGUN; before < at; before++)
		if (c->round.nodes_at[before] > 0)
			return false;
	return true;
}

static void move_on(struct ckpti_coord *c, struct ckpti_cnode *n)
{
	c->round.nodes_at[n->at++]--;
	c->round.nodes_at[n->at]++;
}

static int64_t in_seconds(uint64_t s)
{
	return ckpti_now_ms() + (int64_t)s * 1000;
}

static void all_prepared(struct ckpti_coord *c)
{
	struct ckpti_err err = {.code = 0};
	uint64_t need = 0;

	for (unsigned i = 0; i < c->nnodes; i++)
		need += c->node[i].need;
	if (ckpti_watch_room(c, need, &err) < 0) {
		fail(c, false, &err);
		return;
	}
	/* The nodes see to it that the tasks stop in time; then their memory is written. */
	c->round.phase = CKPTI_CAPTURING;
	c->round.phase_ms = in_seconds(c->config.muster_timeout + c->config.write_timeout);
	send_simple(c, CKPTI_W_MUSTER);
}

static void all_captured(struct ckpti_coord *c)
{
	c->round.phase = CKPTI_WRITING;
	c->round.phase_ms = in_seconds(c->config.write_timeout);
	if (!c->round.kill)
		send_simple(c, CKPTI_W_RESUME);
	ckpti_requests_progress(c, "all tasks are captured, writing");
}

struct commit_result {
	struct ckpti_manifest m; /* without tasks */
	struct ckpti_err err;
};

static size_t commit(void *arg, void *result)
{
	struct ckpti_coord *c = arg;
	struct commit_result *res = result;

	ckpti_hold("manifest");
	if (ckpti_parts_commit(c, c->next_gen, &res->m, &res->err) < 0 && res->err.code == 0)
		(void)ckpti_err(&res->err, -EIO, "the manifest was not written");
	return sizeof(*res);
}

static void committed(struct ckpti_coord *c, const void *result, size_t len)
{
	const struct commit_result *res = result;
	struct ckpti_err err = {.code = 0};
	struct ckpti_kv kv;
	char text[128];

	/* Given up meanwhile.  If the manifest is there all the same, it is good. */
	if (c->round.phase != CKPTI_COMMITTING)
		return;
	if (len != sizeof(*res))
		(void)ckpti_err(&err, -EIO, "the manifest was not written in time");
	else
		err = res->err;
	if (err.code == -ESTALE)
		c->superseded = true;
	/* Never the same number twice, whatever became of it. */
	c->next_gen++;
	if (err.code < 0) {
		fail(c, false, &err);
		return;
	}
	c->last = res->m;
	start_message(c, &kv);
	ckpti_kv_set_u64(&kv, "gen", c->last.generation);
	send_all(c, CKPTI_W_COMMITTED, &kv);
	if (c->round.kill) {
		c->round.phase = CKPTI_ENDING;
		c->round.phase_ms = ckpti_now_ms() + ENDING_MS;
		ckpti_gate_close(c);
	} else {
		finish(c);
	}
	ckpti_report_good(c);
	if (c->round.kill) {
		(void)snprintf(text, sizeof(text),
			       "the step was saved as generation %llu and ended (%s)",
			       (unsigned long long)c->last.generation, c->round.reason);
		ckpti_finish_vacated(c, c->round.requeue ? CKPTI_JOB_REQUEUE : CKPTI_JOB_LEAVE,
				     text);
	}
}

static void all_durable(struct ckpti_coord *c)
{
	struct ckpti_err err = {.code = 0};
	int timeout = (int)(c->config.write_timeout > 3600 ? 3600 : c->config.write_timeout) * 1000;

	c->round.phase = CKPTI_COMMITTING;
	c->round.phase_ms = ckpti_now_ms() + timeout + 1000;
	if (ckpti_child_start(c, commit, c, timeout, committed, NULL, &err) < 0)
		fail(c, false, &err);
}

static void pass_barriers(struct ckpti_coord *c)
{
	if (c->round.phase == CKPTI_PREPARING && all_at(c, CKPTI_AT_PREPARED))
		all_prepared(c);
	if (c->round.phase == CKPTI_CAPTURING && all_at(c, CKPTI_AT_CAPTURED))
		all_captured(c);
	if (c->round.phase == CKPTI_WRITING && all_at(c, CKPTI_AT_DURABLE))
		all_durable(c);
}

/* ---- frames of nodes ---------------------------------------------------------------------- */

static void node_failed(struct ckpti_coord *c, unsigned node, const struct ckpti_kv *kv)
{
	const char *text = ckpti_kv_get(kv, "text", "no reason given");
	const char *rank = ckpti_kv_get(kv, "rank", NULL);
	int code = -(int)ckpti_kv_get_i64(kv, "errno", EIO);
	struct ckpti_err err = {.code = 0};

	if (code >= 0)
		code = -EIO;
	if (rank)
		(void)ckpti_err(&err, code, "%s: task %s: %s", ckpti_node_name(c, node), rank,
				text);
	else
		(void)ckpti_err(&err, code, "%s: %s", ckpti_node_name(c, node), text);
	fail(c, ckpti_kv_get_u64(kv, "retry", 0) != 0, &err);
}

void ckpti_round_frame(struct ckpti_coord *c, unsigned node, unsigned type,
		       const struct ckpti_kv *kv)
{
	struct ckpti_cnode *n = &c->node[node];

	if (c->round.phase < CKPTI_PREPARING || c->round.phase >= CKPTI_COMMITTING ||
	    n->at == CKPTI_AT_OUT || ckpti_kv_get_u64(kv, "round", 0) != c->round.number)
		return;
	/* One after the other: a node that jumps ahead waits for the others, too. */
	if (type == CKPTI_W_PREPARED && n->at == CKPTI_AT_BEGUN) {
		move_on(c, n);
		n->need = ckpti_kv_get_u64(kv, "need", 0);
	} else if (type == CKPTI_W_CAPTURED && n->at == CKPTI_AT_PREPARED) {
		move_on(c, n);
	} else if (type == CKPTI_W_DURABLE && n->at == CKPTI_AT_CAPTURED) {
		move_on(c, n);
		ckpti_parts_take(c, node, kv);
	} else if (type == CKPTI_W_FAILED) {
		node_failed(c, node, kv);
		return;
	}
	pass_barriers(c);
}

void ckpti_round_lost(struct ckpti_coord *c, unsigned node, const char *what)
{
	struct ckpti_cnode *n = &c->node[node];
	struct ckpti_err err = {.code = 0};

	if (c->round.phase < CKPTI_PREPARING || c->round.phase >= CKPTI_COMMITTING ||
	    n->at == CKPTI_AT_OUT || n->at == CKPTI_AT_DURABLE)
		return;
	(void)ckpti_err(&err, -ECONNRESET, "the connection to %s is %s", ckpti_node_name(c, node),
			what);
	/* It may well come back at once; and when its tasks have ended, that is no failure. */
	fail(c, true, &err);
}

/* ---- time --------------------------------------------------------------------------------- */

static const char *waits_for(const struct ckpti_coord *c)
{
	switch (c->round.phase) {
	case CKPTI_PREPARING:
		return "is not prepared";
	case CKPTI_CAPTURING:
		return "is not captured";
	case CKPTI_WRITING:
		return "is not on disk";
	case CKPTI_COMMITTING:
	case CKPTI_IDLE:
	case CKPTI_WAITING:
	case CKPTI_ENDING:
		break;
	}
	return "is not there";
}

/* The first node that the round waits for. */
static unsigned slowest(const struct ckpti_coord *c)
{
	unsigned node = 0;

	for (unsigned i = 0; i < c->nnodes; i++)
		if (c->node[i].at != CKPTI_AT_OUT &&
		    (c->node[node].at == CKPTI_AT_OUT || c->node[i].at < c->node[node].at))
			node = i;
	return node;
}

static void look_at_silence(struct ckpti_coord *c)
{
	int64_t now = ckpti_now_ms(), silence = (int64_t)c->config.silence * 1000;
	struct ckpti_err err = {.code = 0};

	if (now < c->round.silence_ms + LOOK_MS)
		return;
	c->round.silence_ms = now;
	for (unsigned i = 0; i < c->nnodes; i++) {
		const struct ckpti_cnode *n = &c->node[i];

		if (n->at == CKPTI_AT_OUT || now - n->heard_ms <= silence)
			continue;
		(void)ckpti_err(&err, -ETIMEDOUT, "%s has not answered since %lld s",
				ckpti_node_name(c, i), (long long)(now - n->heard_ms) / 1000);
		fail(c, false, &err);
		return;
	}
}

static void look_at_deadlines(struct ckpti_coord *c)
{
	struct ckpti_cround *r = &c->round;
	struct ckpti_err err = {.code = 0};
	int64_t now = ckpti_now_ms();
	unsigned node;

	if (r->end_ms && now >= r->end_ms && r->phase != CKPTI_COMMITTING) {
		if (r->phase == CKPTI_WAITING && ckpti_agents_ready(c, &err) < 0) {
			fail(c, false, &err);
			return;
		}
		(void)ckpti_err(&err, -ETIMEDOUT, "not complete within %lld s (MaxWait)",
				(long long)(r->end_ms - r->asked_ms) / 1000);
		fail(c, false, &err);
	} else if (r->phase == CKPTI_COMMITTING && now >= r->phase_ms) {
		(void)ckpti_err(&err, -ETIMEDOUT, "the manifest was not written in time");
		fail(c, false, &err);
	} else if (r->phase >= CKPTI_PREPARING && now >= r->phase_ms) {
		node = slowest(c);
		(void)ckpti_err(&err, -ETIMEDOUT, "%s %s after %lld s", ckpti_node_name(c, node),
				waits_for(c), (long long)(now - r->began_ms) / 1000);
		fail(c, false, &err);
	}
}

/* Tasks that are saved and should have ended: nobody may go on from here. */
static void look_at_ending(struct ckpti_coord *c)
{
	struct ckpti_kv kv;

	if (ckpti_now_ms() < c->round.phase_ms || ckpti_agents_over(c))
		return;
	c->round.phase_ms = ckpti_now_ms() + ENDING_MS;
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "text", "the step has been checkpointed to be ended");
	ckpti_agents_send(c, CKPTI_W_KILL, &kv);
	ckpti_kv_free(&kv);
}

void ckpti_round_tick(struct ckpti_coord *c)
{
	struct ckpti_cround *r = &c->round;

	if (r->phase == CKPTI_ENDING) {
		look_at_ending(c);
		return;
	}
	if (r->phase == CKPTI_WAITING && ckpti_now_ms() >= r->retry_ms)
		try_to_begin(c);
	if (r->phase >= CKPTI_PREPARING && r->phase < CKPTI_COMMITTING)
		look_at_silence(c);
	if (r->phase != CKPTI_IDLE)
		look_at_deadlines(c);
}

void ckpti_round_forgive(struct ckpti_coord *c, int64_t ms)
{
	struct ckpti_cround *r = &c->round;

	r->phase_ms += ms;
	r->retry_ms += ms;
	r->give_up_ms += ms;
	if (r->end_ms)
		r->end_ms += ms;
}

int64_t ckpti_round_next(const struct ckpti_coord *c)
{
	const struct ckpti_cround *r = &c->round;

	switch (r->phase) {
	case CKPTI_IDLE:
		return INT64_MAX;
	case CKPTI_WAITING:
		return r->end_ms && r->end_ms < r->retry_ms ? r->end_ms : r->retry_ms;
	case CKPTI_PREPARING:
	case CKPTI_CAPTURING:
	case CKPTI_WRITING:
	case CKPTI_COMMITTING:
	case CKPTI_ENDING:
		break;
	}
	/* Silence is looked for all the time. */
	return ckpti_now_ms() + 200;
}
