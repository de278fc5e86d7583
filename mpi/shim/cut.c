/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The cut: see cut.h, docs/design/0007-mpi-cut.md and the model, mpi/model/cut.pml.
 *
 * Rank 0 leads.  Each step is a message to all ranks and an answer from each; rank 0 does the same steps
 * itself.  The others only do what they are told, so the protocol is in lead() alone:
 *
 *	JOIN               each rank, when its checkpoint begins
 *	CLOSE → REPORT     calls are counted from here on; a report has counts and whether all is whole
 *	ALLOW → REPORT     counts of others may be reached; again until all are equal and nobody is inside
 *	HOLD → SENT        nobody is in the guest any more; messages that were sent
 *	EXPECT → DRAINED   messages that were sent to that rank have come
 *	END                it stands.  ABORT, at any time: it does not, with the reason
 *
 * FAILED and LEAVE from a rank make rank 0 abort.
 */
#include "shim/cut.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/control.h"
#include "shim/drain.h"
#include "util/clock.h"

#define LIMIT_MS    8000 /* a checkpoint gives handlers 10 s */
#define FIRST_LOOK  200  /* us between reports */
#define LAST_LOOK   5000
#define FIRST_STALL 5 /* ms without a change before those that wait are let pass */
#define LAST_STALL  200
#define REPORT_MS   500
#define TEXT        160

enum type {
	JOIN = 1,
	LEAVE,
	CLOSE,
	ALLOW,
	RELIEVE, /* as ALLOW, and who waits is let pass */
	REPORT,
	HOLD,
	SENT,
	EXPECT,
	DRAINED,
	FAILED,
	END,
	ABORT
};

static const char *const step_name[] = {
	[JOIN] = "begin its checkpoint",
	[REPORT] = "tell where it is",
	[SENT] = "leave MPI",
	[DRAINED] = "receive all messages",
};

struct report {
	uint32_t whole, waiting;
	char text[TEXT];
	struct ckpti_mpi_count count[];
};

/* Of the attempt under way; the library's thread only, but for `stands`. */
static struct {
	uint32_t attempt;
	int64_t deadline;
	struct ckpti_guest_thread *self;
	bool held;     /* at HOLD: the guest is ours */
	bool draining; /* what is expected is known */
	bool drained;
	struct ckpti_mpi_packet answer; /* of our own step */
	/* Rank 0: by rank. */
	struct ckpti_mpi_packet *from;
	uint32_t *attempts; /* 0: has not joined */
	uint64_t moved;     /* changes when any report does */
} cut;
static bool stands;

static int limit_ms(void)
{
	const char *text = getenv("CKPT_MPI_CUT_TIMEOUT");
	char *end = NULL;
	double s = text ? strtod(text, &end) : 0;

	return text && *text && !*end && s >= 0.1 && s <= 3600 ? (int)(s * 1000) : LIMIT_MS;
}

bool ckpti_mpi_cut_stands(void)
{
	return __atomic_load_n(&stands, __ATOMIC_SEQ_CST);
}

/* ---- what each rank does ------------------------------------------------------------------------------ */

static void answer(enum type type, void *payload, size_t len)
{
	free(cut.answer.payload);
	cut.answer.type = type;
	cut.answer.payload = payload;
	cut.answer.len = (uint32_t)len;
}

static void answer_text(const struct ckpti_err *err)
{
	answer(FAILED, strdup(err->text), strlen(err->text) + 1);
}

static void report(void)
{
	struct ckpti_mpi_count *count = NULL;
	struct report *r;
	bool whole, waiting;
	char text[TEXT] = ""; /* all of it is compared with the report before */
	size_t n = ckpti_mpi_colls_report(&count, &whole, &waiting, text, sizeof(text));

	r = calloc(1, sizeof(*r) + n * sizeof(*count));
	if (!r)
		ckpti_mpi_fatal("no memory for a checkpoint");
	r->whole = whole;
	r->waiting = waiting;
	(void)strcpy(r->text, text);
	memcpy(r->count, count, n * sizeof(*count));
	free(count);
	answer(REPORT, r, sizeof(*r) + n * sizeof(*r->count));
}

static void hold(void)
{
	struct ckpti_mpi_sent *sent = NULL;
	struct ckpti_err err = {0};
	int64_t left = cut.deadline - ckpti_now_ms();
	int tid;
	size_t n;

	ckpti_mpi_gate_set(CKPTI_MPI_HOLD);
	tid = ckpti_mpi_gate_quiet(left > 0 ? (int)left : 1);
	if (tid) {
		(void)ckpti_err(&err, -ETIMEDOUT, "thread %d of rank %d does not leave a call", tid,
				ckpti_mpi_rank);
		answer_text(&err);
		return;
	}
	cut.held = true;
	if (ckpti_mpi_running)
		ckpti_guest_stand_in(ckpti_mpi_starter());
	if (ckpti_mpi_running && ckpti_mpi_drain_begin(cut.self, &err) < 0) {
		answer_text(&err);
		return;
	}
	n = ckpti_mpi_drain_sent(&sent);
	answer(SENT, sent, n * sizeof(*sent));
}

static void expect(const struct ckpti_mpi_packet *p)
{
	struct ckpti_err err = {0};

	if (ckpti_mpi_drain_expect(p->payload, p->len / sizeof(struct ckpti_mpi_sent), &err) < 0)
		answer_text(&err);
	else
		cut.draining = true;
}

static void act(const struct ckpti_mpi_packet *p)
{
	switch ((enum type)p->type) {
	case CLOSE:
		ckpti_mpi_colls_close();
		report();
		break;
	case ALLOW:
	case RELIEVE:
		ckpti_mpi_colls_allow(p->payload, p->len / sizeof(struct ckpti_mpi_count));
		if (p->type == RELIEVE)
			ckpti_mpi_colls_relieve();
		report();
		break;
	case HOLD:
		hold();
		break;
	case EXPECT:
		expect(p);
		break;
	case JOIN:
	case LEAVE:
	case REPORT:
	case SENT:
	case DRAINED:
	case FAILED:
	case END:
	case ABORT:
		break;
	}
}

/* While others drain they need our guest to move, too. */
static void step(void)
{
	struct ckpti_err err = {0};

	if (!cut.held || !ckpti_mpi_running) {
		if (cut.draining && !cut.drained) {
			cut.drained = true;
			answer(DRAINED, NULL, 0);
		}
		return;
	}
	if (!ckpti_mpi_drain_step(cut.self) || !cut.draining || cut.drained)
		return;
	cut.drained = true;
	if (ckpti_mpi_drain_end(&err) < 0)
		answer_text(&err);
	else
		answer(DRAINED, NULL, 0);
}

static int wait_ms(void)
{
	int64_t left = cut.deadline - ckpti_now_ms();

	if (cut.held)
		return 0;
	return left > 50 ? 50 : left > 0 ? (int)left : 0;
}

/* ---- the others ---------------------------------------------------------------------------------------- */

static int follow(struct ckpti_err *err)
{
	int r = ckpti_mpi_control_send(0, JOIN, cut.attempt, NULL, 0, err);

	while (r == 0) {
		struct ckpti_mpi_packet p = {0};
		int peer;

		if (ckpti_now_ms() > cut.deadline) {
			r = ckpti_err(err, -ETIMEDOUT, "rank %d has heard nothing from rank 0",
				      ckpti_mpi_rank);
			(void)ckpti_mpi_control_send(0, LEAVE, cut.attempt, NULL, 0, NULL);
			break;
		}
		r = ckpti_mpi_control_receive(&peer, &p, wait_ms(), err);
		if (r < 0)
			break;
		if (r == 1 && p.attempt == cut.attempt) {
			if (p.type == END)
				r = 2;
			else if (p.type == ABORT)
				r = ckpti_err(err, -ECANCELED, "%.*s", (int)p.len,
					      (const char *)p.payload);
			else
				act(&p);
		}
		free(p.payload);
		if (r < 0 || r == 2)
			return r < 0 ? r : 0;
		step();
		r = 0;
		if (!cut.answer.type)
			continue;
		r = ckpti_mpi_control_send(0, cut.answer.type, cut.attempt, cut.answer.payload,
					   cut.answer.len, err);
		answer(0, NULL, 0);
	}
	return r;
}

/* ---- rank 0 -------------------------------------------------------------------------------------------- */

static int tell_all(enum type type, const void *payload, size_t len, struct ckpti_err *err)
{
	struct ckpti_mpi_packet own = {
		.type = type, .len = (uint32_t)len, .payload = (void *)(uintptr_t)payload};
	int r = 0;

	for (int i = 1; r == 0 && i < ckpti_mpi_size; i++)
		if (cut.attempts[i])
			r = ckpti_mpi_control_send(i, type, cut.attempts[i], payload, len, err);
	if (r == 0)
		act(&own);
	return r;
}

/* From a rank, or our own. */
static int take(int rank, struct ckpti_mpi_packet *p, struct ckpti_err *err)
{
	if (p->type == JOIN) {
		cut.attempts[rank] = p->attempt;
	} else if (rank && p->attempt != cut.attempts[rank]) {
		free(p->payload);
		p->payload = NULL;
		return 0;
	}
	if (p->type == LEAVE) {
		cut.attempts[rank] = 0;
		return 0;
	}
	free(cut.from[rank].payload);
	cut.from[rank] = *p;
	if (p->type == FAILED)
		return ckpti_err(err, -ECANCELED, "%.*s", (int)p->len, (const char *)p->payload);
	return 0;
}

/* Who has not answered. */
static int missing(enum type type)
{
	for (int i = 0; i < ckpti_mpi_size; i++)
		if (type == JOIN ? i && !cut.attempts[i] : cut.from[i].type != (uint32_t)type)
			return i;
	return -1;
}

static int late(enum type type, int rank, struct ckpti_err *err)
{
	char text[TEXT] = "";

	if (type == DRAINED && rank == 0)
		ckpti_mpi_drain_missing(text, sizeof(text));
	return ckpti_err(err, -ETIMEDOUT, "rank %d did not %s in time%s%s", rank, step_name[type],
			 text[0] ? ": it " : "", text);
}

static int gather(enum type type, struct ckpti_err *err)
{
	/* At the end of the time meet() knows better who is late: it still needs the reports. */
	int64_t until = cut.deadline + (type == REPORT ? REPORT_MS : 0);
	int r = 0;

	while (r == 0 && missing(type) >= 0) {
		struct ckpti_mpi_packet p = {0};
		int peer;

		if (ckpti_now_ms() > until)
			return late(type, missing(type), err);
		step();
		if (cut.answer.type) {
			p = cut.answer;
			memset(&cut.answer, 0, sizeof(cut.answer));
			r = take(0, &p, err);
			continue;
		}
		r = ckpti_mpi_control_receive(&peer, &p, wait_ms(), err);
		if (r == 1)
			r = take(peer, &p, err);
	}
	return r;
}

static void forget_answers(void)
{
	for (int i = 0; i < ckpti_mpi_size; i++) {
		free(cut.from[i].payload);
		memset(&cut.from[i], 0, sizeof(cut.from[i]));
	}
}

struct tally {
	struct ckpti_mpi_count *most; /* by id */
	size_t n;
	bool whole;   /* all ranks, and all counts are equal */
	bool waiting; /* somebody is */
	int behind;   /* a rank that is not where the others are, -1 */
	int ahead;    /* one that waits for it */
};

static int by_id(const void *pa, const void *pb)
{
	const struct ckpti_mpi_count *a = pa, *b = pb;

	if (a->id != b->id)
		return a->id < b->id ? -1 : 1;
	return a->seq > b->seq ? -1 : a->seq < b->seq;
}

static size_t counts_of(int rank)
{
	return (cut.from[rank].len - sizeof(struct report)) / sizeof(struct ckpti_mpi_count);
}

static uint64_t hash(uint64_t h, const void *data, size_t n)
{
	const uint8_t *at = data;

	for (size_t i = 0; i < n; i++)
		h = (h ^ at[i]) * 0x100000001b3ULL;
	return h;
}

static void tally(struct tally *t)
{
	size_t n = 0, kept = 0;

	memset(t, 0, sizeof(*t));
	t->whole = true;
	t->behind = t->ahead = -1;
	cut.moved = 0xcbf29ce484222325ULL;
	for (int i = 0; i < ckpti_mpi_size; i++)
		n += counts_of(i);
	t->most = calloc(n + 1, sizeof(*t->most));
	if (!t->most)
		ckpti_mpi_fatal("no memory for a checkpoint");
	for (int i = 0; i < ckpti_mpi_size; i++) {
		const struct report *r = cut.from[i].payload;

		memcpy(t->most + t->n, r->count, counts_of(i) * sizeof(*r->count));
		t->n += counts_of(i);
		t->whole = t->whole && r->whole;
		t->waiting = t->waiting || r->waiting;
		cut.moved = hash(cut.moved, r, cut.from[i].len);
	}
	qsort(t->most, t->n, sizeof(*t->most), by_id);
	for (size_t i = 0; i < t->n; i++) {
		if (kept && t->most[kept - 1].id == t->most[i].id) {
			if (t->most[kept - 1].seq != t->most[i].seq)
				t->whole = false;
		} else {
			t->most[kept++] = t->most[i];
		}
	}
	t->n = kept;
}

static void find_behind(struct tally *t)
{
	for (int i = 0; i < ckpti_mpi_size && t->behind < 0; i++) {
		const struct report *r = cut.from[i].payload;

		for (size_t k = 0; k < counts_of(i); k++) {
			const struct ckpti_mpi_count *m =
				bsearch(&r->count[k].id, t->most, t->n, sizeof(*t->most), by_id);

			/* bsearch compares counts, too: equal ones are found. */
			if (!m)
				t->behind = i;
		}
	}
	for (int i = 0; i < ckpti_mpi_size; i++) {
		const struct report *r = cut.from[i].payload;

		if (r->whole && !r->waiting)
			continue;
		if (t->behind < 0)
			t->behind = i;
		else if (t->ahead < 0 && t->behind != i)
			t->ahead = i;
	}
}

static int no_point(struct tally *t, struct ckpti_err *err)
{
	const struct report *behind, *ahead = NULL;

	find_behind(t);
	if (t->ahead >= 0)
		ahead = cut.from[t->ahead].payload;
	behind = cut.from[t->behind < 0 ? 0 : t->behind].payload;
	if (ahead)
		return ckpti_err(err, -ETIMEDOUT, "ranks do not meet: rank %d %s; rank %d %s",
				 t->behind < 0 ? 0 : t->behind, behind->text, t->ahead,
				 ahead->text);
	return ckpti_err(err, -ETIMEDOUT, "ranks do not meet: rank %d %s",
			 t->behind < 0 ? 0 : t->behind, behind->text);
}

/* Until collective calls are whole everywhere. */
static int meet(struct ckpti_err *err)
{
	int64_t last_move = ckpti_now_ms();
	int look = FIRST_LOOK, stall = FIRST_STALL, r;
	uint64_t moved = 0;
	enum type type = CLOSE;
	struct tally t = {0};

	for (;;) {
		forget_answers();
		r = tell_all(type, t.most, t.n * sizeof(*t.most), err);
		free(t.most);
		t.most = NULL;
		if (r == 0)
			r = gather(REPORT, err);
		if (r < 0)
			return r;
		tally(&t);
		if (t.whole)
			break;
		if (ckpti_now_ms() > cut.deadline) {
			r = no_point(&t, err);
			break;
		}
		type = ALLOW;
		if (cut.moved != moved) {
			moved = cut.moved;
			last_move = ckpti_now_ms();
			look = FIRST_LOOK;
		} else if (t.waiting && ckpti_now_ms() - last_move >= stall) {
			type = RELIEVE;
			last_move = ckpti_now_ms();
			stall = stall * 2 < LAST_STALL ? stall * 2 : LAST_STALL;
		} else if (look < LAST_LOOK) {
			look *= 2;
		}
		(void)usleep((useconds_t)look);
	}
	free(t.most);
	return r;
}

static int by_rank(const void *pa, const void *pb)
{
	const struct ckpti_mpi_sent *a = pa, *b = pb;

	return a->rank < b->rank ? -1 : a->rank > b->rank;
}

/* Each rank is told what was sent to it, by sender. */
static int exchange_counts(struct ckpti_err *err)
{
	struct ckpti_mpi_sent *all, *at;
	size_t n = 0, *start;
	int r = 0;

	for (int i = 0; i < ckpti_mpi_size; i++)
		n += cut.from[i].len / sizeof(*all);
	all = calloc(n + 1, sizeof(*all));
	start = calloc((size_t)ckpti_mpi_size + 1, sizeof(*start));
	if (!all || !start)
		ckpti_mpi_fatal("no memory for a checkpoint");
	at = all;
	for (int i = 0; i < ckpti_mpi_size; i++) {
		size_t k = cut.from[i].len / sizeof(*all);

		if (k)
			memcpy(at, cut.from[i].payload, k * sizeof(*all));
		for (size_t j = 0; j < k; j++)
			at[j].pad = i;
		at += k;
	}
	qsort(all, n, sizeof(*all), by_rank);
	forget_answers();
	for (size_t i = 0, k = 0; r == 0 && k < (size_t)ckpti_mpi_size; k++) {
		size_t first = i;

		for (; i < n && all[i].rank == (int32_t)k; i++)
			all[i].rank = all[i].pad;
		start[k] = first;
		if (k) {
			r = ckpti_mpi_control_send((int)k, EXPECT, cut.attempts[k], all + first,
						   (i - first) * sizeof(*all), err);
		} else {
			struct ckpti_mpi_packet own = {.type = EXPECT,
						       .len = (uint32_t)(i * sizeof(*all)),
						       .payload = all};

			act(&own);
		}
	}
	free(start);
	free(all);
	return r;
}

static int lead(struct ckpti_err *err)
{
	struct ckpti_err ignored = {0};
	int r = 0;

	if (!cut.from) {
		cut.from = calloc((size_t)ckpti_mpi_size, sizeof(*cut.from));
		cut.attempts = calloc((size_t)ckpti_mpi_size, sizeof(*cut.attempts));
		if (!cut.from || !cut.attempts)
			ckpti_mpi_fatal("no memory for a checkpoint");
	}
	forget_answers();
	r = gather(JOIN, err);
	if (r == 0)
		r = meet(err);
	if (r == 0) {
		forget_answers();
		r = tell_all(HOLD, NULL, 0, err);
	}
	if (r == 0)
		r = gather(SENT, err);
	if (r == 0)
		r = exchange_counts(err);
	if (r == 0)
		r = gather(DRAINED, err);
	if (r == 0)
		r = tell_all(END, NULL, 0, err);
	if (r < 0)
		(void)tell_all(ABORT, err->text, strlen(err->text) + 1, &ignored);
	memset(cut.attempts, 0, (size_t)ckpti_mpi_size * sizeof(*cut.attempts));
	return r;
}

/* ---- the interface ------------------------------------------------------------------------------------- */

static void let_go(void)
{
	ckpti_guest_stand_in(NULL);
	ckpti_mpi_colls_open();
	ckpti_mpi_gate_exempt(false);
}

int ckpti_mpi_cut_begin(struct ckpti_err *err)
{
	int r;

	/* A process that has not begun with MPI waits in nobody's way; one inside MPI_Init is not asked. */
	if (!ckpti_guest_port || !ckpti_mpi_size || ckpti_mpi_loading())
		return 0;
	r = ckpti_mpi_control_state(err);
	if (r < 0)
		return r;
	ckpti_mpi_gate_exempt(true);
	cut.self = ckpti_mpi_self();
	cut.attempt++;
	cut.held = cut.draining = cut.drained = false;
	/* Rank 0 is the one to give up, for it knows why. */
	cut.deadline = ckpti_now_ms() + limit_ms() + (ckpti_mpi_rank ? 1000 : 0);
	answer(0, NULL, 0);
	r = ckpti_mpi_rank == 0 ? lead(err) : follow(err);
	if (r < 0) {
		let_go();
		return r;
	}
	ckpti_mpi_colls_tidy(false);
	__atomic_store_n(&stands, true, __ATOMIC_SEQ_CST);
	return 0;
}

void ckpti_mpi_cut_end(bool failed)
{
	(void)failed;
	if (!ckpti_mpi_cut_stands())
		return;
	__atomic_store_n(&stands, false, __ATOMIC_SEQ_CST);
	let_go();
}

int ckpti_mpi_cut_restarted(struct ckpti_err *err)
{
	int r;

	if (!ckpti_mpi_cut_stands())
		return 0;
	ckpti_mpi_colls_tidy(true);
	r = ckpti_mpi_drain_again(ckpti_mpi_self(), err);
	if (r == 0)
		ckpti_mpi_cut_end(false);
	return r;
}
