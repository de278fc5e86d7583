/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Content of memory: each process writes its own pages to a data file of its own, all at the same time.
 * First its private pages; then, in further rounds, the objects of shared memory that fell to it,
 * because an answer is about one owner of extents.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "core/capture.h"
#include "core/precopy.h"

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

static bool answer_sane(const struct ckpti_write *w)
{
	return ckpti_in_mailbox(w->extents, w->nextents, sizeof(struct ckpti_e_extent)) &&
	       ckpti_in_mailbox(w->guards, w->nguards, sizeof(struct ckpti_e_range));
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

/* Has the kernel swapped out some of a shared object since its mapping was looked at? */
static bool swapped_now(const struct ckpti_member *m, uint64_t start)
{
	struct ckpti_map *map = NULL;
	bool swapped = false;
	struct sysinfo si;
	size_t n = 0;

	/* The whole machine's is known at once. */
	if (sysinfo(&si) == 0 && si.freeswap == si.totalswap)
		return false;
	if (ckpti_procfs_maps(m->info.pid, &map, &n) < 0)
		return true;
	for (size_t i = 0; i < n; i++)
		swapped |= map[i].start == start && map[i].anon;
	ckpti_procfs_maps_free(map, n);
	return swapped;
}

/* Pages that went to swap space looked like holes: the whole once more. */
static int write_again(struct ckpti_job *job, size_t round, struct ckpti_err *err)
{
	struct ckpti_write_range *range = round ? &job->shared[round - 1] : NULL;
	struct ckpti_call call;
	int r;

	if (!range || range->scan != CKPTI_SCAN_RESIDENT || !swapped_now(job->m, range->start))
		return 0;
	range->scan = CKPTI_SCAN_NONZERO;
	call = order(job, round);
	r = ckpti_link_send(job->m, &call, err);
	return r < 0 ? r : ckpti_link_wait(job->m, &call, err);
}

int ckpti_snap_write(struct ckpti_snap *s, struct ckpti_job *job, size_t n, struct ckpti_err *err)
{
	struct ckpti_member **m = calloc(n + 1, sizeof(*m));
	struct ckpti_call *call = calloc(n + 1, sizeof(*call));
	size_t busy = n;
	int r = m && call ? 0 : oom(err);

	/* The largest first: none finds the file that suits it taken, and all end at about the same time. */
	qsort(job, n, sizeof(*job), larger_first);
	for (size_t i = 0; r == 0 && s->pre && i < n; i++)
		r = ckpti_precopy_take(s->pre, s, &job[i], err);
	for (size_t i = 0; r == 0 && i < n; i++)
		if (!job[i].file)
			r = ckpti_store_datafile(s->store, job[i].bytes, &job[i].file, &job[i].fd,
						 err);
	for (size_t round = 0; r == 0 && busy; round++) {
		busy = 0;
		for (size_t i = 0; i < n; i++) {
			if (!has_round(&job[i], round))
				continue;
			m[busy] = job[i].m;
			call[busy++] = order(&job[i], round);
		}
		r = ckpti_link_call_all(m, call, busy, err);
		for (size_t i = 0; r == 0 && i < n; i++) {
			if (!has_round(&job[i], round))
				continue;
			r = write_again(&job[i], round, err);
			if (r == 0)
				r = take_answer(s, &job[i], round, err);
		}
	}
	for (size_t i = 0; r == 0 && i < n; i++) {
		s->stored_bytes += job[i].end;
		r = ckpti_store_datafile_done(s->store, job[i].file, job[i].end, err);
	}
	/* Of those who have ended. */
	for (size_t i = 0; r == 0 && s->pre && i < s->pre->n; i++)
		if (!s->pre->proc[i].taken)
			r = ckpti_store_datafile_done(s->store, s->pre->proc[i].file, 0, err);
	free(m);
	free(call);
	return r;
}
