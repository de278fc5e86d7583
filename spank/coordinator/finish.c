/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The end: of a step that was saved in order to be ended, and of the coordinator.
 *
 * When a step was vacated srun must not return to the batch script, which would take the end of the
 * program for its success.  The line `block` tells the plugin to hold srun until Slurm ends it, and for
 * how long; our exit status CKPTI_COORD_BLOCK says the same to people.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"
#include "spank/lib/registry.h"

#define LAST_WORDS_MS  1000 /* for agents, whose end is also the step's */
#define JUST_NOW_MS    5000
#define FILE_MS        4000 /* for a small file */
#define CHILDREN_MS    4000
#define CLEAR_MS       2000
#define COMMENT_MS     2000
#define ASK_MS         3000
#define GRACE_SPARE_S  60 /* for Slurm to end a job when its grace time is over */
#define OTHERS_MOST_S  600
#define OTHERS_SPARE_S 15 /* before the end of the job */

/* ---- vacated ------------------------------------------------------------------------------ */

struct others {
	const struct ckpti_coord *c;
	unsigned n;
};

static int count_other(void *arg, uint32_t job, const char *step, const struct ckpti_kv *kv)
{
	struct others *o = arg;

	if (job == o->c->args.job && strcmp(step, o->c->args.step_text) != 0 &&
	    ckpti_kv_get_u64(kv, "lives", 0) == o->c->lives)
		o->n++;
	return 0;
}

/* The other steps of the job come to their end for the same reason: requeueing ends them all. */
static void wait_for_others(const struct ckpti_coord *c)
{
	int64_t left = c->job.end_time - (int64_t)time(NULL) - OTHERS_SPARE_S;
	int64_t end = ckpti_now_ms() + (left < OTHERS_MOST_S ? left : OTHERS_MOST_S) * 1000;

	while (ckpti_now_ms() < end) {
		struct others o = {.c = c};

		(void)ckpti_registry_each(c->slurm.cluster, c->args.job, count_other, &o);
		if (o.n == 0)
			return;
		(void)poll(NULL, 0, 500);
	}
}

/* On its own: srun and the coordinator may have ended by then. */
static size_t requeue(void *arg, void *unused)
{
	const struct ckpti_coord *c = arg;
	struct ckpti_err err = {.code = 0};

	(void)unused;
	if (c->round.phase == CKPTI_ENDING && strcmp(c->round.reason, "end") == 0)
		wait_for_others(c);
	if (ckpti_slurm_requeue(c->args.job, c->job_action == CKPTI_JOB_HOLD, &err) < 0)
		ckpti_report_say(c, true, "checkpoint: the job cannot be requeued: %s", err.text);
	return 0;
}

/* In a child, as all that is written below: home directories and others may not answer. */
static size_t leave_registry(void *arg, void *unused)
{
	const struct ckpti_coord *c = arg;

	(void)unused;
	(void)ckpti_registry_remove(c->slurm.cluster, c->args.job, c->args.step_text);
	return 0;
}

void ckpti_finish_vacated(struct ckpti_coord *c, enum ckpti_job_action action, const char *text)
{
	/* Without a batch script there is nothing that must not go on. */
	uint64_t seconds = c->job.batch ? c->config.requeue_wait : 0;
	int64_t left = c->job.end_time - (int64_t)time(NULL) + GRACE_SPARE_S;
	struct ckpti_err err = {.code = 0};

	if (c->job.batch && c->job.preempt_time > 0 && left > (int64_t)seconds)
		seconds = (uint64_t)left;
	c->vacated = true;
	c->job_action = action;
	/* Now: Slurm may end srun before it comes to its own end. */
	ckpti_report_say(c, true, "checkpoint: %s", text);
	ckpti_report_status(c, "block %" PRIu64 " %u", seconds, c->config.exit_code);
	(void)ckpti_child_start(c, leave_registry, c, FILE_MS, NULL, NULL, NULL);
	if (action != CKPTI_JOB_LEAVE && ckpti_child_leave(requeue, c, &err) < 0)
		ckpti_report_say(c, true, "checkpoint: the job cannot be requeued: %s", err.text);
}

/* ---- ended -------------------------------------------------------------------------------- */

static bool agents_have_gone(const struct ckpti_coord *c)
{
	int64_t now = ckpti_now_ms();

	for (unsigned i = 0; i < c->nnodes; i++) {
		const struct ckpti_cnode *n = &c->node[i];

		if (n->tasks > 0 && n->live == 0)
			continue;
		/* Slurm ends agents with the step, before they can say so. */
		if (n->conn || !n->gone || now - n->heard_ms > JUST_NOW_MS)
			return false;
	}
	return c->nnodes > 0;
}

static bool all_ended_well(const struct ckpti_coord *c)
{
	for (uint32_t i = 0; i < c->args.ntasks; i++)
		if (!c->rank[i].ended || c->rank[i].status != 0)
			return false;
	return true;
}

static bool has_terminated(const struct ckpti_coord *c)
{
	for (uint32_t i = 0; i < c->args.ntasks; i++) {
		int status = c->rank[i].status;

		if (c->rank[i].ended &&
		    ((WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM) ||
		     (WIFEXITED(status) && WEXITSTATUS(status) == 128 + SIGTERM)))
			return true;
	}
	return false;
}

static bool has_answered(const struct ckpti_coord *c)
{
	return !c->schedule.asking;
}

/* Slurm may end the steps of a job that has to make room as soon as it tells of it, and the job only when
 * its grace time is over.  In between the script would go on. */
static void look_for_preemption(struct ckpti_coord *c)
{
	char text[160];

	if (c->vacated || c->superseded || !c->job.batch || !c->job.requeue ||
	    !c->last.generation || !has_terminated(c))
		return;
	ckpti_schedule_ask(c);
	ckpti_loop_for(c, ASK_MS, has_answered);
	if (c->job.preempt_time == 0)
		return;
	(void)snprintf(text, sizeof(text),
		       "the step was ended, because its job has to make room; it will go on from "
		       "generation %" PRIu64,
		       c->last.generation);
	ckpti_finish_vacated(c, CKPTI_JOB_LEAVE, text);
}

struct comment {
	uint32_t job;
	const char *text;
};

static size_t comment(void *arg, void *unused)
{
	const struct comment *co = arg;

	(void)unused;
	(void)ckpti_slurm_comment(co->job, co->text, NULL);
	return 0;
}

static void summarise(struct ckpti_coord *c)
{
	struct comment co = {.job = c->args.job};
	char text[256];

	if (c->good == 0 && c->failed == 0 && (!c->restored || c->done || c->restore_failed))
		return;
	ckpti_report_summary(c, text, sizeof(text));
	ckpti_report_say(c, c->failed > 0, "%s", text);
	ckpti_report_log(c, "event=end good=%u failed=%u gen=%" PRIu64 " restored=%" PRIu64,
			 c->good, c->failed, c->last.generation, c->restored);
	co.text = text;
	if (c->config.comment)
		(void)ckpti_child_start(c, comment, &co, COMMENT_MS, NULL, NULL, NULL);
}

static bool has_been_judged(const struct ckpti_coord *c)
{
	return !c->rejecting;
}

struct last_will {
	struct ckpti_coord *c;
	bool well;
};

static size_t write_end(void *arg, void *unused)
{
	const struct last_will *l = arg;
	struct ckpti_coord *c = l->c;
	struct ckpti_err err = {.code = 0};

	(void)unused;
	ckpti_fence_over(c, l->well);
	if (l->well && c->config.skip_done && !c->done && ckpti_parts_commit_done(c, &err) < 0)
		ckpti_report_say(c, true, "checkpoint: %s", err.text);
	return 0;
}

static size_t clear_away(void *arg, void *unused)
{
	const struct last_will *l = arg;
	struct ckpti_coord *c = l->c;
	struct ckpti_err err = {.code = 0};

	if (!c->vacated)
		(void)leave_registry(c, unused);
	if (l->well && c->config.delete_on_success && ckpti_step_remove(&c->step, &err) < 0)
		ckpti_report_say(c, true, "checkpoint: %s", err.text);
	return 0;
}

int ckpti_finish(struct ckpti_coord *c, bool orderly)
{
	struct last_will l = {.c = c};
	bool over;

	if (orderly)
		ckpti_loop_for(c, LAST_WORDS_MS, agents_have_gone);
	ckpti_loop_for(c, FILE_MS, has_been_judged);
	ckpti_round_stop(c, "the step has ended");
	over = ckpti_agents_over(c) || (orderly && agents_have_gone(c));
	l.well = over && !c->superseded && !c->vacated && all_ended_well(c);
	if (over && !c->superseded)
		(void)ckpti_child_start(c, write_end, &l, FILE_MS, NULL, NULL, NULL);
	if (over && orderly)
		look_for_preemption(c);
	summarise(c);
	ckpti_child_end(c, CHILDREN_MS, false);
	/* That may take longer than anybody waits for us. */
	(void)ckpti_child_start(c, clear_away, &l, FILE_MS, NULL, NULL, NULL);
	ckpti_child_end(c, CLEAR_MS, true);
	return c->vacated ? CKPTI_COORD_BLOCK : 0;
}
