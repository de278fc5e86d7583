/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * When rounds begin by themselves: at the interval, before the end of the job, when Slurm takes the job's
 * nodes away, and at a signal that the user chose.
 *
 * The end of a job is Slurm's to tell and may change, so it is asked for now and then, by a child, and
 * always before something is done about it.
 */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "spank/coordinator/coord.h"
#include "spank/coordinator/policy.h"

#define ASK_TIMEOUT_MS 20000
#define ASK_AGAIN_MS   2000 /* for signals */
#define FRESH_MS       20000
#define RETRY_MS       5000
#define END_TRIES      3U

static uint32_t random32(void)
{
	uint32_t value = 0;

	(void)getrandom(&value, sizeof(value), GRND_NONBLOCK);
	return value;
}

/* ---- the interval ------------------------------------------------------------------------- */

static void set_due(struct ckpti_coord *c)
{
	uint64_t seconds = c->interval;

	c->schedule.due_ms = INT64_MAX;
	if (seconds == CKPTI_CONFIG_NEVER)
		return;
	if (seconds == CKPTI_CONFIG_AUTO)
		seconds = ckpti_policy_auto_interval(c->schedule.cost_us, c->config.node_mtbf,
						     c->nnodes, c->config.min_interval);
	c->schedule.due_ms =
		ckpti_now_ms() + ckpti_policy_jitter_ms(seconds, c->config.jitter, random32());
}

static void set_poll(struct ckpti_coord *c)
{
	c->schedule.poll_ms =
		ckpti_now_ms() + ckpti_policy_jitter_ms(c->config.end_poll, 10, random32());
}

void ckpti_schedule_start(struct ckpti_coord *c)
{
	set_due(c);
	/* The tasks begin to run only then. */
	if (c->schedule.due_ms != INT64_MAX && c->tasks_ms > ckpti_now_ms())
		c->schedule.due_ms += c->tasks_ms - ckpti_now_ms();
	set_poll(c);
	c->schedule.asked_ms = ckpti_now_ms();
}

/* The first one of a life writes all, others what has changed: the newest count most. */
static void note_cost(struct ckpti_coord *c)
{
	uint64_t cost = ckpti_policy_cost(c->last.stop_us, c->last.durable_us);

	c->schedule.cost_us = c->schedule.cost_us ? (c->schedule.cost_us + cost) / 2 : cost;
}

void ckpti_schedule_round(struct ckpti_coord *c, bool good)
{
	if (good)
		note_cost(c);
	/* Any checkpoint will do: the next one is due an interval after it. */
	set_due(c);
	if (!good) {
		c->schedule.retry_ms = ckpti_now_ms() + RETRY_MS;
		return;
	}
	if (strcmp(c->round.reason, "end") == 0 || strcmp(c->round.reason, "preemption") == 0)
		c->schedule.end_tries = END_TRIES;
}

static void ask(struct ckpti_coord *c, const char *reason, bool kill, bool requeue)
{
	struct ckpti_err err = {.code = 0};

	(void)ckpti_round_ask(c, reason, kill, requeue, 0, &err);
}

static void interval_tick(struct ckpti_coord *c)
{
	if (ckpti_now_ms() < c->schedule.due_ms)
		return;
	/* Skipped when one is under way. */
	set_due(c);
	if (!ckpti_round_busy(c) && !c->disabled && !ckpti_agents_over(c) &&
	    ckpti_parts_unharmed(c, NULL) == 0)
		ask(c, "interval", false, false);
}

/* ---- the end of the job ------------------------------------------------------------------- */

static uint64_t margin(const struct ckpti_coord *c)
{
	bool known = c->job.start_time > 0 && c->job.end_time > 0;

	return ckpti_policy_margin(c->config.end_margin, c->last.durable_us,
				   known ? c->job.end_time - c->job.start_time : 0);
}

static void decide(struct ckpti_coord *c)
{
	struct ckpti_schedule *s = &c->schedule;
	struct ckpti_end_facts f = {
		.running = strcmp(c->job.state, "RUNNING") == 0,
		.requeue = c->job.requeue && c->job.batch,
		.preempted = c->job.preempt_time > 0,
		.chain = c->config.requeue_at_end,
		.now = time(NULL),
		.end_time = c->job.end_time,
		.margin = margin(c),
	};
	enum ckpti_end_action action = ckpti_policy_end(&f);
	int64_t end = f.preempted ? c->job.preempt_time : f.end_time;

	if (action == CKPTI_END_NOTHING || ckpti_round_busy(c) || ckpti_agents_over(c))
		return;
	if (s->end_done != end || s->preempted != f.preempted) {
		s->end_done = end;
		s->preempted = f.preempted;
		s->end_tries = 0;
	}
	if (s->end_tries >= END_TRIES || ckpti_now_ms() < s->retry_ms)
		return;
	s->end_tries++;
	ask(c, f.preempted ? "preemption" : "end", action != CKPTI_END_SAVE,
	    action == CKPTI_END_REQUEUE);
}

static size_t ask_slurm(void *arg, void *result)
{
	const struct ckpti_coord *c = arg;
	char job[16];

	(void)snprintf(job, sizeof(job), "%" PRIu32, c->args.job);
	return ckpti_slurm_job(job, result, NULL) == 0 ? sizeof(struct ckpti_slurm_job) : 0;
}
_Static_assert(sizeof(struct ckpti_slurm_job) <= CKPTI_CHILD_MAX, "a job does not fit");

static void slurm_answered(struct ckpti_coord *c, const void *result, size_t len)
{
	c->schedule.asking = false;
	if (len != sizeof(c->job))
		return;
	memcpy(&c->job, result, len);
	decide(c);
}

void ckpti_schedule_ask(struct ckpti_coord *c)
{
	struct ckpti_schedule *s = &c->schedule;

	if (s->asking)
		return;
	s->asking = true;
	s->asked_ms = ckpti_now_ms();
	set_poll(c);
	if (ckpti_child_start(c, ask_slurm, c, ASK_TIMEOUT_MS, slurm_answered, NULL, NULL) < 0)
		s->asking = false;
}

/* The job ends soon, as far as is known. */
static bool is_near(const struct ckpti_coord *c)
{
	int64_t left = c->job.end_time - (int64_t)time(NULL);

	return c->job.preempt_time > 0 ||
	       (c->job.end_time > 0 && left > 0 && (uint64_t)left <= margin(c));
}

static void end_tick(struct ckpti_coord *c)
{
	struct ckpti_schedule *s = &c->schedule;
	int64_t now = ckpti_now_ms();

	if (now >= s->poll_ms) {
		ckpti_schedule_ask(c);
	} else if (is_near(c) && s->end_tries < END_TRIES && !ckpti_round_busy(c)) {
		if (now - s->asked_ms > FRESH_MS)
			ckpti_schedule_ask(c);
		else if (!s->asking)
			decide(c);
	}
}

void ckpti_schedule_signal(struct ckpti_coord *c, int sig)
{
	if (c->config.signal && (unsigned)sig == c->config.signal && !ckpti_round_busy(c))
		ask(c, "request", false, false);
	/* Slurm sends it with every other signal, too, so it means no more than: have a look soon. */
	if (sig == SIGCONT && c->schedule.poll_ms > c->schedule.asked_ms + ASK_AGAIN_MS)
		c->schedule.poll_ms = c->schedule.asked_ms + ASK_AGAIN_MS;
}

void ckpti_schedule_tick(struct ckpti_coord *c)
{
	if (c->vacated)
		return;
	interval_tick(c);
	end_tick(c);
}

int64_t ckpti_schedule_next(const struct ckpti_coord *c)
{
	const struct ckpti_schedule *s = &c->schedule;
	int64_t next = s->due_ms < s->poll_ms ? s->due_ms : s->poll_ms, at;

	if (c->vacated)
		return INT64_MAX;
	if (c->job.end_time > 0) {
		at = ckpti_now_ms() +
		     (c->job.end_time - (int64_t)margin(c) - (int64_t)time(NULL)) * 1000;
		/* When it is near it is looked at again and again. */
		if (at < ckpti_now_ms())
			at = ckpti_now_ms() + 1000;
		if (at < next)
			next = at;
	}
	return next;
}
