/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Content of memory: each process writes its own pages to a data file of its own, all at the same time.
 * First its private pages; then, in further rounds, the objects of shared memory that fell to it,
 * because an answer is about one owner of extents.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/capture.h"

static int oom(struct ckpti_err *err)
{
	return ckpti_err(err, -ENOMEM, "out of memory");
}

static int larger_first(const void *a, const void *b)
{
	const struct ckpti_job *x = a, *y = b;

	return (x->bytes < y->bytes) - (x->bytes > y->bytes);
}

/* Round 0 is the private memory, round i the shared range i - 1. */
static bool has_round(const struct ckpti_job *job, size_t round)
{
	return round <= job->nshared;
}

static struct ckpti_call order(const struct ckpti_job *job, size_t round)
{
	const struct ckpti_write_range *range = round ? &job->shared[round - 1] : job->priv;
	struct ckpti_write *w = (void *)job->m->mailbox;

	memset(w, 0, sizeof(*w));
	w->nranges = round ? 1 : job->npriv;
	w->ranges = sizeof(*w);
	if (w->nranges)
		memcpy(job->m->mailbox + w->ranges, range, w->nranges * sizeof(*range));
	return (struct ckpti_call){.type = CKPTI_M_WRITE, .fd = job->fd, .value = job->end};
}

/* The agent is of the user's own process: what it says is checked before it is used. */
static int answer_sane(const struct ckpti_write *w)
{
	return w->nextents <= CKPTI_MAILBOX_SIZE / sizeof(struct ckpti_e_extent) &&
	       w->extents + w->nextents * sizeof(struct ckpti_e_extent) <= CKPTI_MAILBOX_SIZE &&
	       w->nguards <= CKPTI_MAILBOX_SIZE / sizeof(struct ckpti_e_range) &&
	       w->guards + w->nguards * sizeof(struct ckpti_e_range) <= CKPTI_MAILBOX_SIZE;
}

static int take_answer(struct ckpti_snap *s, struct ckpti_job *job, size_t round,
		       struct ckpti_err *err)
{
	struct ckpti_pid_head pid = {.pid = job->m->info.inner_pid};
	struct ckpti_write w = *(const struct ckpti_write *)(const void *)job->m->mailbox;
	struct ckpti_r_extents head = {.owner_kind = CKPTI_OWN_PROC, .owner = (uint32_t)pid.pid};
	struct ckpti_e_extent *e;
	int r = 0;

	if (!answer_sane(&w))
		return ckpti_err_obj(err, -EPROTO, job->m->info.pid, job->m->info.comm,
				     "its libckpt sent nonsense");
	if (round) {
		head.owner_kind = CKPTI_OWN_SHM;
		head.owner = job->shared_id[round - 1];
	}
	e = (void *)(job->m->mailbox + w.extents);
	for (uint64_t i = 0; i < w.nextents; i++) {
		e[i].datafile = job->file;
		s->mem_bytes += e[i].len;
	}
	if (w.nextents)
		r = ckpti_image_add(&s->img, CKPTI_R_EXTENTS, &head, sizeof(head), NULL, 0, e,
				    sizeof(*e), w.nextents);
	if (r == 0 && w.nguards)
		r = ckpti_image_add(&s->img, CKPTI_R_GUARDS, &pid, sizeof(pid), NULL, 0,
				    job->m->mailbox + w.guards, sizeof(struct ckpti_e_range),
				    w.nguards);
	job->end = w.end_off;
	return r < 0 ? oom(err) : 0;
}

int ckpti_snap_write(struct ckpti_snap *s, struct ckpti_job *job, size_t n, struct ckpti_err *err)
{
	struct ckpti_member **m = calloc(n + 1, sizeof(*m));
	struct ckpti_call *call = calloc(n + 1, sizeof(*call));
	size_t busy = n;
	int r = m && call ? 0 : oom(err);

	/* The largest first: none finds the file that suits it taken, and all end at about the same time. */
	qsort(job, n, sizeof(*job), larger_first);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = ckpti_store_datafile(s->store, job[i].bytes, &job[i].file, &job[i].fd, err);
	for (size_t round = 0; r == 0 && busy; round++) {
		busy = 0;
		for (size_t i = 0; i < n; i++) {
			if (!has_round(&job[i], round))
				continue;
			m[busy] = job[i].m;
			call[busy++] = order(&job[i], round);
		}
		r = ckpti_link_call_all(m, call, busy, err);
		for (size_t i = 0; r == 0 && i < n; i++)
			if (has_round(&job[i], round))
				r = take_answer(s, &job[i], round, err);
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		s->stored_bytes += job[i].end;
		r = ckpti_store_datafile_done(s->store, job[i].file, job[i].end, err);
	}
	free(m);
	free(call);
	return r;
}
