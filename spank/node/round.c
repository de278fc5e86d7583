/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The node's share of a round of the step: as many cpr as there are live tasks, taken from barrier to
 * barrier together.
 *
 *   ROUND      WAITING, PREPARING   cpr started; handlers of the programs run
 *   PREPARED ← PREPARED             all tasks
 *   MUSTER     MUSTERING            the processes stop
 *   CAPTURED ← CAPTURED             all stand still and are in their images
 *   RESUME     WRITING              all go on (with kill: they stand still, and there is no RESUME)
 *   DURABLE  ← DURABLE              all parts are on disk
 *   COMMITTED  IDLE                 (with kill: the processes are ended now)
 *
 * A task that ends before it could be captured is no failure: it takes its place as ended.  Any other
 * failure ends the round for the whole node, is told once (FAILED), and everybody goes on; so does an
 * ABORT, and the loss of the coordinator.  When this returns to IDLE no cpr is left.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "spank/node/node.h"

#define UNCLEAR_LIMIT_MS 3000 /* for slurmstepd to say how a task has ended */
#define MUSTER_DEFAULT   10000
#define DRIVE_SLACK_MS   60000
#define WRITE_MOST_S     (7ULL * 24 * 3600)

static void start_message(const struct ckpti_node *n, struct ckpti_kv *kv)
{
	ckpti_kv_init(kv);
	ckpti_kv_set_u64(kv, "round", n->round.number);
}

static void answer(struct ckpti_node *n, unsigned type, struct ckpti_kv *kv)
{
	ckpti_uplink_send(n, type, kv);
	ckpti_kv_free(kv);
}

/* ---- the end of a round ----------------------------------------------------------------------- */

static bool any_cpr(const struct ckpti_node *n)
{
	for (size_t i = 0; i < n->ntasks; i++)
		if (n->task[i].part && n->task[i].part->cpr)
			return true;
	return false;
}

void ckpti_round_abort(struct ckpti_node *n, const char *why)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_task *t = &n->task[i];

		if (t->part && t->part->cpr)
			ckpti_part_abort(t->part, why);
		else
			ckpti_part_free(t);
	}
	n->round.phase = CKPTI_ROUND_IDLE;
}

/* It may have written the manifest just so. */
void ckpti_round_lost(struct ckpti_node *n)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_task *t = &n->task[i];

		if (n->round.phase == CKPTI_ROUND_DURABLE && t->part && t->part->gen)
			t->unsure = t->part->gen;
	}
	ckpti_round_abort(n, "the coordinator is lost");
}

/* Are these worth a second attempt soon? */
static bool is_passing(int error)
{
	return error == -EAGAIN || error == -EBUSY || error == -EOWNERDEAD || error == -ESRCH;
}

static void fail(struct ckpti_node *n, const struct ckpti_task *t, const struct ckpti_err *err)
{
	struct ckpti_kv kv;

	start_message(n, &kv);
	ckpti_kv_setf(&kv, "errno", "%d", -err->code);
	ckpti_kv_set(&kv, "host", n->host);
	ckpti_kv_set(&kv, "text", err->text);
	if (t)
		ckpti_kv_set_u64(&kv, "rank", t->rank);
	if (err->pid > 0)
		ckpti_kv_set_u64(&kv, "pid", (uint64_t)err->pid);
	if (err->object[0])
		ckpti_kv_set(&kv, "object", err->object);
	if (is_passing(err->code))
		ckpti_kv_set_u64(&kv, "retry", 1);
	answer(n, CKPTI_W_FAILED, &kv);
	ckpti_round_abort(n, "another task of the step failed");
}

static void fail_part(struct ckpti_node *n, const struct ckpti_task *t)
{
	const struct ckpti_part *p = t->part;
	struct ckpti_err err = {.code = p->error, .pid = p->pid};

	(void)snprintf(err.object, sizeof(err.object), "%s", p->object);
	(void)snprintf(err.text, sizeof(err.text), "%.380s", p->text);
	fail(n, t, &err);
}

void ckpti_round_give_up(struct ckpti_node *n, const char *why)
{
	struct ckpti_err err = {.code = 0};

	/* What is on disk here stays good, whether the manifest is written or not. */
	if (n->round.phase == CKPTI_ROUND_IDLE || n->round.phase == CKPTI_ROUND_DURABLE)
		return;
	(void)ckpti_err(&err, -EAGAIN, "%s", why);
	fail(n, NULL, &err);
}

/* ---- starting --------------------------------------------------------------------------------- */

static int start_parts(struct ckpti_node *n, struct ckpti_task **ret_t, struct ckpti_err *err)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_task *t = &n->task[i];
		int r;

		*ret_t = t;
		if (ckpti_task_is_coming(n, t))
			return ckpti_err(err, -EAGAIN, "it has not begun yet");
		if (!ckpti_task_live(t))
			continue;
		if (t->state == CKPTI_SLOT_LEFT_OUT)
			return ckpti_err(err, -ENOTSUP, "it runs without checkpoints: %.*s",
					 (int)sizeof(n->page->slot[i].reason) - 1,
					 n->page->slot[i].reason);
		r = ckpti_part_start(n, t, err);
		if (r < 0)
			return r;
	}
	*ret_t = NULL;
	return 0;
}

static void begin(struct ckpti_node *n)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_task *t = NULL;
	uint64_t need = 0;
	int r;

	n->round.phase = CKPTI_ROUND_PREPARING;
	r = n->all_started ? 0
			   : ckpti_err(&err, -EAGAIN, "tasks on %s are still starting", n->host);
	if (r == 0 && n->stopped)
		r = ckpti_err(&err, -EAGAIN, "'%s' cannot be read on %s", n->stepdir, n->host);
	if (r == 0)
		r = ckpti_budget_check_node(n, &need, &err);
	if (r == 0)
		r = start_parts(n, &t, &err);
	if (r < 0) {
		fail(n, t, &err);
		return;
	}
	n->round.need = need;
}

static void take_round(struct ckpti_node *n, const struct ckpti_kv *kv)
{
	struct ckpti_round *rd = &n->round;
	uint64_t write;

	if (rd->phase != CKPTI_ROUND_IDLE)
		ckpti_round_abort(n, "another round has begun");
	rd->number = ckpti_kv_get_u64(kv, "round", 0);
	rd->kill = ckpti_kv_get_u64(kv, "kill", 0) != 0;
	rd->keep = (unsigned)ckpti_kv_get_u64(kv, "keep", 1);
	(void)snprintf(rd->include, sizeof(rd->include), "%s", ckpti_kv_get(kv, "include", ""));
	rd->writers = (unsigned)ckpti_kv_get_u64(kv, "writers", n->config.writers);
	rd->muster_ms = (unsigned)ckpti_kv_get_u64(kv, "timeout_ms", MUSTER_DEFAULT);
	/* A barrier is as far away as the slowest task of the step, which may be writing its memory.  The
	 * coordinator's deadlines come first; this is for an agent that is there and does not work. */
	write = n->config.write_timeout < WRITE_MOST_S ? n->config.write_timeout : WRITE_MOST_S;
	rd->drive_ms = rd->muster_ms + DRIVE_SLACK_MS + (unsigned)write * 1000;
	rd->phase = CKPTI_ROUND_WAITING;
}

/* ---- barriers --------------------------------------------------------------------------------- */

/* Has every part got to `state`, or its task ended? */
static bool all_at(const struct ckpti_node *n, enum ckpti_part_state state)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		const struct ckpti_part *p = n->task[i].part;

		if (p && p->state != state && p->state != CKPTI_PART_ENDED)
			return false;
	}
	return true;
}

static void move_all(struct ckpti_node *n, enum ckpti_part_state from, enum ckpti_part_state to)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_part *p = n->task[i].part;

		if (!p || p->state != from)
			continue;
		p->state = to;
		ckpti_part_go(p);
	}
}

/*
 * At most so many stop and write their memory at the same time; who has been captured stands still until
 * all are, so that the common moment is the same, only longer.
 */
static void let_muster(struct ckpti_node *n)
{
	unsigned under_way = 0;

	for (size_t i = 0; i < n->ntasks; i++)
		under_way += n->task[i].part && n->task[i].part->state == CKPTI_PART_MUSTERING;
	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_part *p = n->task[i].part;

		if (!p || p->state != CKPTI_PART_PREPARED)
			continue;
		if (n->round.writers && under_way >= n->round.writers)
			return;
		p->state = CKPTI_PART_MUSTERING;
		ckpti_part_go(p);
		under_way++;
	}
}

static void send_durable(struct ckpti_node *n)
{
	struct ckpti_kv kv;

	start_message(n, &kv);
	for (size_t i = 0; i < n->ntasks; i++) {
		const struct ckpti_task *t = &n->task[i];
		const struct ckpti_part *p = t->part;
		char key[48];
		int len;

		if (!p || p->state == CKPTI_PART_ENDED)
			continue;
		len = snprintf(key, sizeof(key), "task.%u.", t->rank);
#define PUT(name, value)                                                   \
	((void)snprintf(key + len, sizeof(key) - (size_t)len, "%s", name), \
	 ckpti_kv_set_u64(&kv, key, value))
		PUT("gen", p->gen);
		PUT("pid", (uint64_t)t->pid);
		PUT("procs", p->procs);
		PUT("threads", p->threads);
		PUT("stored", p->stored);
		if (ckpti_include_tell(n, p))
			PUT("puts", 1);
		PUT("stop_us", p->stop_us);
		PUT("durable_us", p->durable_us);
#undef PUT
	}
	ckpti_tasks_ended(n, &kv);
	answer(n, CKPTI_W_DURABLE, &kv);
}

/* Of a task that goes on to live, remember what must stay. */
static void remember(struct ckpti_task *t, unsigned keep)
{
	const size_t most = keep && keep < CKPTI_NODE_KEPT ? keep : CKPTI_NODE_KEPT;

	if (t->nkept >= most) {
		const size_t drop = t->nkept + 1 - most;

		t->nkept -= drop;
		memmove(t->kept, t->kept + drop, t->nkept * sizeof(t->kept[0]));
	}
	t->kept[t->nkept++] = t->part->gen;
	t->unsure = 0;
}

static void committed(struct ckpti_node *n)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_task *t = &n->task[i];
		struct ckpti_part *p = t->part;

		if (!p)
			continue;
		if (p->gen)
			remember(t, n->round.keep);
		if (p->state == CKPTI_PART_COMMITTED) {
			p->state = CKPTI_PART_ENDING;
			ckpti_part_go(p);
		} else {
			ckpti_part_free(t);
		}
	}
	n->round.phase = CKPTI_ROUND_IDLE;
}

/* ---- events ----------------------------------------------------------------------------------- */

void ckpti_round_frame(struct ckpti_node *n, unsigned type, const struct ckpti_kv *kv)
{
	struct ckpti_round *rd = &n->round;

	if (type == CKPTI_W_ROUND) {
		take_round(n, kv);
		return;
	}
	/* Late words about a round that is over here. */
	if (rd->phase == CKPTI_ROUND_IDLE || ckpti_kv_get_u64(kv, "round", 0) != rd->number)
		return;
	if (type == CKPTI_W_ABORT) {
		ckpti_round_abort(n, ckpti_kv_get(kv, "text", "the round was given up"));
	} else if (type == CKPTI_W_MUSTER && rd->phase == CKPTI_ROUND_PREPARED) {
		rd->phase = CKPTI_ROUND_MUSTERING;
	} else if (type == CKPTI_W_RESUME && rd->phase == CKPTI_ROUND_CAPTURED && !rd->kill) {
		rd->phase = CKPTI_ROUND_WRITING;
		move_all(n, CKPTI_PART_CAPTURED, CKPTI_PART_WRITING);
	} else if (type == CKPTI_W_COMMITTED && rd->phase == CKPTI_ROUND_DURABLE) {
		committed(n);
	}
}

/* Did cpr fail because the task has ended?  After the common moment that is no excuse: the others may have
 * heard from it since, so its place is where it was. */
static void clear_up(const struct ckpti_node *n, struct ckpti_task *t)
{
	struct ckpti_part *p = t->part;

	if (p->state == CKPTI_PART_FAILED && t->gone && !p->unclear_ms &&
	    n->round.phase < CKPTI_ROUND_WRITING) {
		p->state = CKPTI_PART_UNCLEAR;
		p->unclear_ms = ckpti_node_now_ms() + UNCLEAR_LIMIT_MS;
	}
	if (p->state != CKPTI_PART_UNCLEAR)
		return;
	if (t->state == CKPTI_SLOT_ENDED)
		p->state = CKPTI_PART_ENDED;
	else if (ckpti_node_now_ms() > p->unclear_ms)
		p->state = CKPTI_PART_FAILED;
}

/* Nobody else of the step looks for these in this round. */
static void fail_includes(struct ckpti_node *n, const struct ckpti_task *t)
{
	struct ckpti_err err = {.code = 0};

	(void)ckpti_err(&err, -EAGAIN,
			"it has ended, and was to save files of the step that no task has open");
	fail(n, t, &err);
}

/* False: the round has failed. */
static bool parts_are_well(struct ckpti_node *n)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_task *t = &n->task[i];
		bool had_ended = t->part && t->part->state == CKPTI_PART_ENDED;

		if (!t->part)
			continue;
		clear_up(n, t);
		if (t->part->state == CKPTI_PART_FAILED) {
			fail_part(n, t);
			return false;
		}
		if (t->part->state == CKPTI_PART_ENDED && !had_ended &&
		    ckpti_include_tell(n, t->part)) {
			fail_includes(n, t);
			return false;
		}
	}
	return true;
}

static void step_on(struct ckpti_node *n)
{
	struct ckpti_round *rd = &n->round;
	struct ckpti_kv kv;

	if (rd->phase == CKPTI_ROUND_WAITING && !any_cpr(n))
		begin(n);
	if (rd->phase == CKPTI_ROUND_PREPARING && all_at(n, CKPTI_PART_PREPARED)) {
		rd->phase = CKPTI_ROUND_PREPARED;
		start_message(n, &kv);
		ckpti_kv_set_u64(&kv, "need", rd->need);
		answer(n, CKPTI_W_PREPARED, &kv);
	}
	if (rd->phase == CKPTI_ROUND_MUSTERING) {
		let_muster(n);
		if (all_at(n, CKPTI_PART_CAPTURED)) {
			rd->phase = CKPTI_ROUND_CAPTURED;
			start_message(n, &kv);
			answer(n, CKPTI_W_CAPTURED, &kv);
			/* Nobody goes on: writing need not wait for the others. */
			if (rd->kill) {
				rd->phase = CKPTI_ROUND_WRITING;
				move_all(n, CKPTI_PART_CAPTURED, CKPTI_PART_WRITING);
			}
		}
	}
	if (rd->phase == CKPTI_ROUND_WRITING &&
	    all_at(n, rd->kill ? CKPTI_PART_COMMITTED : CKPTI_PART_DONE)) {
		rd->phase = CKPTI_ROUND_DURABLE;
		send_durable(n);
	}
}

/* What is left of rounds that are over. */
static void clean_up(struct ckpti_node *n)
{
	uint64_t now = ckpti_node_now_ms();

	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_part *p = n->task[i].part;

		if (p && p->cpr && p->kill_ms && now > p->kill_ms) {
			(void)kill(p->cpr, SIGKILL);
			p->kill_ms = 0;
		}
	}
}

/* Their output goes nowhere any more, and a restart would bring that back. */
static bool slurmstepd_is_there(struct ckpti_node *n)
{
	struct ckpti_err err = {.code = 0};

	if (!n->left_alone || n->round.phase >= CKPTI_ROUND_CAPTURED)
		return true;
	(void)ckpti_err(&err, -EIO, "slurmstepd has died, nobody takes the output of the tasks");
	fail(n, NULL, &err);
	return false;
}

void ckpti_round_advance(struct ckpti_node *n)
{
	clean_up(n);
	if (n->round.phase == CKPTI_ROUND_IDLE || !slurmstepd_is_there(n))
		return;
	if (n->round.phase == CKPTI_ROUND_WAITING || parts_are_well(n))
		step_on(n);
}

void ckpti_round_reaped(struct ckpti_node *n, int pid, int status)
{
	for (size_t i = 0; i < n->ntasks; i++) {
		struct ckpti_task *t = &n->task[i];
		bool over;

		if (!t->part || t->part->cpr != pid)
			continue;
		/* One that was given up, or whose processes have been ended: nobody waits for it. */
		over = t->part->aborted || t->part->state == CKPTI_PART_ENDING;
		ckpti_part_reaped(t, status);
		if (over)
			ckpti_part_free(t);
		return;
	}
}
