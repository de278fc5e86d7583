/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the nodes report of their tasks, and the manifest that is made of it.  A generation is committed only
 * when every rank of the step is accounted for: its part is durable, or it has ended.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "spank/coordinator/coord.h"

void ckpti_parts_clear(struct ckpti_coord *c)
{
	for (uint32_t i = 0; i < c->args.ntasks; i++)
		c->rank[i].gen = c->rank[i].stored = c->rank[i].stop_us = c->rank[i].puts = 0;
}

/* "<prefix><rank><suffix>": the rank, or UINT32_MAX. */
static uint32_t parse_rank(const struct ckpti_coord *c, const char *key, const char *prefix,
			   const char **ret_suffix)
{
	size_t len = strlen(prefix);
	unsigned long rank;
	char *end;

	if (strncmp(key, prefix, len) != 0 || key[len] < '0' || key[len] > '9')
		return UINT32_MAX;
	rank = strtoul(key + len, &end, 10);
	if (rank >= c->args.ntasks)
		return UINT32_MAX;
	*ret_suffix = end;
	return (uint32_t)rank;
}

static void take_ended(struct ckpti_coord *c, unsigned node, uint32_t rank, const char *value)
{
	struct ckpti_crank *r = &c->rank[rank];

	if (!r->ended)
		r->made_to_end = c->node[node].told_to_end;
	r->ended = true;
	r->status = (int)strtol(value, NULL, 10);
	(void)snprintf(r->host, sizeof(r->host), "%s", c->node[node].host);
}

void ckpti_parts_take(struct ckpti_coord *c, unsigned node, const struct ckpti_kv *kv)
{
	for (size_t i = 0; i < kv->n; i++) {
		const char *key = kv->pair[i].key, *value = kv->pair[i].value, *suffix;
		uint32_t rank = parse_rank(c, key, "ended.", &suffix);
		struct ckpti_crank *r;

		if (rank != UINT32_MAX && !*suffix) {
			take_ended(c, node, rank, value);
			continue;
		}
		rank = parse_rank(c, key, "task.", &suffix);
		if (rank == UINT32_MAX)
			continue;
		r = &c->rank[rank];
		if (strcmp(suffix, ".gen") == 0) {
			r->gen = strtoull(value, NULL, 10);
			(void)snprintf(r->host, sizeof(r->host), "%s", c->node[node].host);
		} else if (strcmp(suffix, ".stored") == 0) {
			r->stored = strtoull(value, NULL, 10);
		} else if (strcmp(suffix, ".puts") == 0) {
			r->puts = true;
		} else if (strcmp(suffix, ".stop_us") == 0) {
			r->stop_us = strtoull(value, NULL, 10);
		}
	}
}

static int was_made_to_end(uint32_t rank, struct ckpti_err *err)
{
	return ckpti_err(err, -ECANCELED, "task %u has ended after Slurm told it to (SIGTERM)",
			 rank);
}

int ckpti_parts_unharmed(const struct ckpti_coord *c, struct ckpti_err *err)
{
	for (uint32_t i = 0; i < c->args.ntasks; i++)
		if (c->rank[i].made_to_end)
			return was_made_to_end(i, err);
	return 0;
}

static int fill(const struct ckpti_coord *c, struct ckpti_manifest *m, struct ckpti_err *err)
{
	uint32_t live = 0;

	for (uint32_t i = 0; i < m->ntasks; i++) {
		const struct ckpti_crank *r = &c->rank[i];
		struct ckpti_manifest_task *t = &m->task[i];

		/* One that ended after it was saved is restored, too: the others are where it was. */
		if (r->gen) {
			t->state = CKPTI_TASK_LIVE;
			t->generation = r->gen;
			t->stored = r->stored;
			t->puts = r->puts;
			m->stored += r->stored;
			if (r->stop_us > m->stop_us)
				m->stop_us = r->stop_us;
			live++;
		} else if (r->made_to_end) {
			return was_made_to_end(i, err);
		} else if (r->ended) {
			t->state = CKPTI_TASK_ENDED;
			t->status = r->status;
		} else {
			return ckpti_err(err, -EPROTO, "no node has reported on task %u", i);
		}
		(void)snprintf(t->host, sizeof(t->host), "%s", r->host);
	}
	if (live == 0)
		return ckpti_err(err, -ESRCH, "all tasks have ended");
	return 0;
}

int ckpti_parts_commit(struct ckpti_coord *c, uint64_t gen, struct ckpti_manifest *ret,
		       struct ckpti_err *err)
{
	struct ckpti_manifest m = {
		.generation = gen,
		.epoch = c->epoch,
		.ctime = time(NULL),
		.ntasks = c->args.ntasks,
		.restarts = c->lives,
		.durable_us = (uint64_t)(ckpti_now_ms() - c->round.began_ms) * 1000,
	};
	int r;

	m.task = calloc(m.ntasks, sizeof(*m.task));
	if (!m.task)
		return ckpti_err(err, -ENOMEM, "no memory for the manifest");
	(void)snprintf(m.reason, sizeof(m.reason), "%s", c->round.reason);
	r = fill(c, &m, err);
	if (r == 0)
		r = ckpti_step_commit(&c->step, &m, err);
	free(m.task);
	if (r < 0)
		return r;
	m.task = NULL;
	*ret = m;
	return 0;
}

int ckpti_parts_commit_done(struct ckpti_coord *c, struct ckpti_err *err)
{
	struct ckpti_manifest m = {
		.generation = c->next_gen++,
		.epoch = c->epoch,
		.ctime = time(NULL),
		.ntasks = c->args.ntasks,
		.restarts = c->lives,
		.reason = CKPTI_REASON_DONE,
	};
	int r;

	m.task = calloc(m.ntasks, sizeof(*m.task));
	if (!m.task)
		return ckpti_err(err, -ENOMEM, "no memory for the manifest");
	for (uint32_t i = 0; i < m.ntasks; i++) {
		m.task[i].state = CKPTI_TASK_ENDED;
		(void)snprintf(m.task[i].host, sizeof(m.task[i].host), "%s", c->rank[i].host);
	}
	r = ckpti_step_commit(&c->step, &m, err);
	free(m.task);
	return r;
}
