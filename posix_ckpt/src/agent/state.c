/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The STATE command: everything of the process that only the process can tell, into the mailbox.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/prctl.h>
#include <signal.h>

#include "agent/agent_private.h"
#include "agent/mem.h"
#include "agent/text.h"

/* A bump allocator over the mailbox; what is left behind `used` serves as scratch for /proc text. */
static void *take(struct ckpti_state *st, uint64_t bytes, uint64_t *ret_off)
{
	uint64_t off = (st->size + 7) & ~7ULL;

	if (off + bytes > agent_state.mailbox_size)
		return NULL;
	*ret_off = off;
	st->size = off + bytes;
	return agent_state.mailbox + off;
}

static char *scratch(const struct ckpti_state *st, size_t *ret_size)
{
	uint64_t off = (st->size + agent_state.mailbox_size) / 2;

	*ret_size = agent_state.mailbox_size - off;
	return (char *)agent_state.mailbox + off;
}

static int save_threads(struct ckpti_state *st)
{
	struct ckpti_e_thread *t;

	t = take(st, agent_state.nin * sizeof(*t), &st->threads);
	if (!t)
		return -ENOBUFS;
	memcpy(t, agent_state.thread, agent_state.nin * sizeof(*t));
	st->nthreads = agent_state.nin;
	return 0;
}

static int save_signals(struct ckpti_state *st)
{
	struct ckpti_e_sigaction *sa;
	struct ckpti_state_pending *p;

	sa = take(st, CKPTI_STATE_SIGNALS * sizeof(*sa), &st->sigactions);
	if (!sa)
		return -ENOBUFS;
	for (int sig = 1; sig <= CKPTI_STATE_SIGNALS; sig++) {
		struct ckpti_ksigaction k;

		memset(&k, 0, sizeof(k));
		(void)sys(rt_sigaction, sig, 0, &k, 8);
		sa[sig - 1].handler = k.handler;
		sa[sig - 1].flags = k.flags;
		sa[sig - 1].restorer = k.restorer;
		sa[sig - 1].mask = k.mask;
	}
	agent_muster_drain();
	if (agent_state.pending_error)
		return agent_state.pending_error;
	p = take(st, agent_state.npending * sizeof(*p), &st->pending);
	if (!p)
		return -ENOBUFS;
	memcpy(p, agent_state.pending, agent_state.npending * sizeof(*p));
	st->npending = agent_state.npending;
	return 0;
}

static int save_itimers(struct ckpti_state *st)
{
	struct ckpti_e_itimer *it = take(st, 3 * sizeof(*it), &st->itimers);

	if (!it)
		return -ENOBUFS;
	for (int i = 0; i < 3; i++) {
		struct {
			int64_t isec, iusec, vsec, vusec;
		} v = {0, 0, 0, 0};

		(void)sys(getitimer, i, &v);
		it[i].interval_us = v.isec * 1000000 + v.iusec;
		it[i].value_us = v.vsec * 1000000 + v.vusec;
	}
	return 0;
}

/*
 * /proc/self/timers has for each timer:
 *   ID: 0 / signal: 10/00007ffe… / notify: signal/pid.12 / ClockID: 1
 */
static void parse_timer(const char *p, struct ckpti_e_timer *t)
{
	const char *q;

	q = agent_field(p, "signal: ");
	if (q) {
		t->signo = (int32_t)agent_dec(&q);
		q++;
		t->value = agent_hex(&q);
	}
	q = agent_field(p, "notify: ");
	if (q) {
		t->notify = *q == 'n' ? SIGEV_NONE : *q == 't' ? SIGEV_THREAD : SIGEV_SIGNAL;
		while (*q && *q != '/')
			q++;
		if (memcmp(q, "/tid.", 5) == 0) {
			q += 5;
			t->tid = (int32_t)agent_dec(&q);
			t->notify |= SIGEV_THREAD_ID;
		}
	}
	q = agent_field(p, "ClockID: ");
	if (q)
		t->clock = (int32_t)agent_dec(&q);
}

static int save_timers(struct ckpti_state *st)
{
	struct ckpti_e_timer t;
	size_t size;
	char *text = scratch(st, &size);
	const char *p = text;
	long r = agent_slurp("/proc/self/timers", text, size);

	st->timers = st->size = (st->size + 7) & ~7ULL;
	if (r == -ENOENT)
		return 0; /* a kernel built without the file has no way to tell */
	if (r < 0)
		return (int)r;
	while ((p = agent_field(p, "ID: ")) != NULL) {
		struct {
			int64_t isec, insec, vsec, vnsec;
		} v = {0, 0, 0, 0};
		struct ckpti_e_timer *slot;
		uint64_t off;

		memset(&t, 0, sizeof(t));
		t.id = (int32_t)agent_dec(&p);
		parse_timer(p, &t);
		if (agent_foreign_timer(t.id))
			continue;
		(void)sys(timer_gettime, t.id, &v);
		t.interval_ns = v.isec * 1000000000 + v.insec;
		t.value_ns = v.vsec * 1000000000 + v.vnsec;
		t.overrun = (int32_t)sys(timer_getoverrun, t.id);
		slot = take(st, sizeof(t), &off);
		if (!slot || (char *)(slot + 1) > text)
			return -ENOBUFS;
		*slot = t;
		st->ntimers++;
	}
	return 0;
}

static int save_auxv(struct ckpti_state *st)
{
	long fd = sys(openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY | O_CLOEXEC);
	uint64_t *v = take(st, 128 * sizeof(*v), &st->auxv);
	long n;

	if (fd < 0)
		return (int)fd;
	n = v ? sys(read, fd, v, 128 * sizeof(*v)) : -ENOBUFS;
	(void)sys(close, fd);
	if (n < 0)
		return (int)n;
	st->nauxv = (uint64_t)n / sizeof(*v);
	return 0;
}

/* Mappings that plug-ins own.  Only when there is a plug-in is /proc/self/maps read here. */
static int save_foreign_maps(struct ckpti_state *st)
{
	size_t size;
	char *text = scratch(st, &size);
	const char *p = text;
	long r;

	st->foreign_maps = st->size = (st->size + 7) & ~7ULL;
	if (!ckpti_agent.nhooks)
		return 0;
	r = agent_slurp("/proc/self/maps", text, size);
	if (r < 0)
		return (int)r;
	while (*p) {
		uint64_t start = agent_hex(&p);
		uint64_t end;

		p++;
		end = agent_hex(&p);
		while (*p && *p != '\n')
			p++;
		if (*p)
			p++;
		if (agent_foreign_map(start, end)) {
			uint64_t off;
			struct ckpti_e_range *m = take(st, sizeof(*m), &off);

			if (!m || (char *)(m + 1) > text)
				return -ENOBUFS;
			m->start = start;
			m->end = end;
			st->nforeign_maps++;
		}
	}
	return 0;
}

static int save_exclude(struct ckpti_state *st)
{
	uint32_t n = ckpti_agent.nexclude;
	struct ckpti_e_range *e = take(st, n * sizeof(*e), &st->exclude);

	if (!e)
		return -ENOBUFS;
	for (uint32_t i = 0; i < n; i++) {
		e[i].start = ckpti_agent.exclude[i].start;
		e[i].end = ckpti_agent.exclude[i].end;
	}
	st->nexclude = n;
	return 0;
}

static uint32_t prctl_get(int option)
{
	long r = sys(prctl, option, 0, 0, 0, 0);

	return r > 0 ? (uint32_t)r : 0;
}

static void save_prctls(struct ckpti_state *st)
{
	int32_t v = 0;

	st->dumpable = prctl_get(PR_GET_DUMPABLE);
	st->keepcaps = prctl_get(PR_GET_KEEPCAPS);
	st->thp_disable = prctl_get(PR_GET_THP_DISABLE);
	(void)sys(prctl, PR_GET_CHILD_SUBREAPER, &v);
	st->subreaper = (uint32_t)v;
	v = 0;
	(void)sys(prctl, PR_GET_PDEATHSIG, &v);
	st->pdeathsig = v;
}

int agent_cmd_state(void)
{
	struct ckpti_state *st = (struct ckpti_state *)agent_state.mailbox;
	size_t size;
	char *text;
	int r;

	if (!st)
		return -EPROTO;
	memset(st, 0, sizeof(*st));
	st->size = sizeof(*st);
	st->brk = (uint64_t)sys(brk, 0);
	st->set_id = ckpti_agent.set_id;
	st->leader_tid = (uint32_t)agent_state.leader;
	st->restarts = ckpti_agent.restarts;
	st->nforeign_tasks = agent_state.nforeign;
	st->eintr_hidden = agent_state.hidden;
	st->eintr_lost = agent_state.lost;
	st->mailbox_start = (uint64_t)agent_state.mailbox;
	st->mailbox_end = st->mailbox_start + agent_state.mailbox_size;
	save_prctls(st);
	agent_membarrier_save();
	text = scratch(st, &size);
	agent_attr_save(text, size);
	r = save_threads(st);
	if (r == 0)
		r = save_signals(st);
	if (r == 0)
		r = save_itimers(st);
	if (r == 0)
		r = save_timers(st);
	if (r == 0)
		r = save_auxv(st);
	if (r == 0)
		r = save_exclude(st);
	if (r == 0)
		r = save_foreign_maps(st);
	return r;
}
