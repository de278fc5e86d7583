/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The rest of a pre-copy: with the process standing still, what has not changed since it was copied is
 * taken from the file, what has is copied into the buffer, and what cannot be read from outside, or
 * finds no room there, stays with the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/precopy.h"
#include "core/precopy_private.h"

#define MANY_RANGES 100000 /* as many orders go into a mailbox with room to spare */

static int oom(struct ckpti_err *err)
{
	return ckpti_err(err, -ENOMEM, "out of memory");
}

struct rest {
	struct ckpti_write_range *range;
	size_t n;
};

static int add_range(struct rest *rest, const struct ckpti_write_range *range)
{
	struct ckpti_write_range *bigger;

	/* Grows by doubling: at powers of two. */
	if ((rest->n & (rest->n - 1)) == 0) {
		bigger = reallocarray(rest->range, rest->n ? 2 * rest->n : 1, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		rest->range = bigger;
	}
	rest->range[rest->n++] = *range;
	return 0;
}

/* Pages that the process is to write, as they are. */
static int leave_to_it(struct rest *rest, const struct ckpti_job *job,
		       const struct ckpti_runs *pages)
{
	size_t k = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < pages->n; i++) {
		uint64_t at = pages->v[i].addr, end = at + pages->v[i].len;

		while (r == 0 && at < end) {
			struct ckpti_write_range range;

			while (job->priv[k].end <= at)
				k++;
			range = job->priv[k];
			range.start = at;
			range.end = end < range.end ? end : range.end;
			range.scan = CKPTI_SCAN_ALL;
			r = add_range(rest, &range);
			at = range.end;
		}
	}
	return r;
}

/* What the page tables say of the ranges that can be tracked; the others go to rest. */
static int look(const struct ckpti_precopied *p, const struct ckpti_job *job,
		struct ckpti_track_view *view, struct rest *rest)
{
	char path[64];
	int pagemap, r = 0;

	/* Opened anew: the process may have executed another program meanwhile. */
	(void)snprintf(path, sizeof(path), "/proc/%d/pagemap", p->pid);
	pagemap = open(path, O_RDONLY | O_CLOEXEC);
	if (pagemap < 0)
		return -errno;
	for (size_t i = 0; r == 0 && i < job->npriv; i++) {
		const struct ckpti_write_range *range = &job->priv[i];

		r = range->scan == CKPTI_SCAN_ANON
			    ? ckpti_track_view(pagemap, range->start, range->end, view)
			    : add_range(rest, range);
	}
	(void)close(pagemap);
	return r;
}

/* What finds room of the changed pages, into the buffer; left: all others, and what cannot be read. */
static int fill_buffer(struct ckpti_precopy *pc, struct ckpti_precopied *p,
		       const struct ckpti_runs *delta, struct ckpti_runs *left)
{
	struct ckpti_runs fits = {0}, pieces = {0}, unread = {0};
	uint64_t room = pc->buf_size - pc->buf_used;
	int r = 0;

	p->late_at = pc->buf_used;
	for (size_t i = 0; r == 0 && room && i < delta->n; i++) {
		const struct ckpti_run *d = &delta->v[i];
		uint64_t len = d->len < room ? d->len : room;

		r = ckpti_runs_add(&fits, d->addr, len, d->addr);
		room -= len;
	}
	if (r == 0)
		r = ckpti_runs_place(&p->map, &fits, &p->end, &pieces);
	if (r == 0)
		r = ckpti_precopy_read(p->pid, &pieces, pc->buf + p->late_at, &p->late, &unread);
	pc->buf_used += ckpti_runs_bytes(&p->late);
	if (r == 0)
		r = ckpti_runs_split(delta, &p->late, NULL, left);
	ckpti_runs_free(&fits);
	ckpti_runs_free(&pieces);
	ckpti_runs_free(&unread);
	return r;
}

static int record(struct ckpti_snap *s, const struct ckpti_job *job, const struct ckpti_runs *have,
		  const struct ckpti_runs *guard)
{
	struct ckpti_pid_head pid = {.pid = job->m->info.inner_pid};
	struct ckpti_r_extents head = {.owner_kind = CKPTI_OWN_PROC, .owner = (uint32_t)pid.pid};
	struct ckpti_e_extent *e = calloc(have->n + 1, sizeof(*e));
	struct ckpti_e_range *g = calloc(guard->n + 1, sizeof(*g));
	int r = e && g ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < have->n; i++) {
		e[i].addr = have->v[i].addr;
		e[i].len = have->v[i].len;
		e[i].off = have->v[i].off;
		e[i].datafile = job->file;
		s->mem_bytes += e[i].len;
	}
	for (size_t i = 0; r == 0 && i < guard->n; i++) {
		g[i].start = guard->v[i].addr;
		g[i].end = g[i].start + guard->v[i].len;
	}
	if (r == 0 && have->n)
		r = ckpti_image_add(&s->img, CKPTI_R_EXTENTS, &head, sizeof(head), NULL, 0, e,
				    sizeof(*e), have->n);
	if (r == 0 && guard->n)
		r = ckpti_image_add(&s->img, CKPTI_R_GUARDS, &pid, sizeof(pid), NULL, 0, g,
				    sizeof(*g), guard->n);
	free(e);
	free(g);
	return r;
}

static struct ckpti_precopied *find(struct ckpti_precopy *pc, const struct ckpti_member *m)
{
	for (size_t i = 0; i < pc->n; i++)
		if (pc->proc[i].pid == m->info.pid && pc->proc[i].start_time == m->info.start_time)
			return &pc->proc[i];
	return NULL;
}

static int take(struct ckpti_precopy *pc, struct ckpti_precopied *p, struct ckpti_snap *s,
		struct ckpti_job *job)
{
	struct ckpti_track_view view = {.same = {.n = 0}};
	struct ckpti_runs kept = {0}, missing = {0}, delta = {0}, left = {0}, have = {0};
	struct rest rest = {.n = 0};
	int r = look(p, job, &view, &rest);

	/* Not changed, but not copied either: it could not be read, or time had run out. */
	if (r == 0)
		r = ckpti_runs_split(&view.same, &p->map, &kept, &missing);
	if (r == 0)
		r = ckpti_runs_merge(&view.changed, &missing, &delta);
	if (r == 0)
		r = fill_buffer(pc, p, &delta, &left);
	if (r == 0)
		r = leave_to_it(&rest, job, &left);
	if (r == 0 && rest.n > MANY_RANGES)
		r = -E2BIG;
	if (r == 0)
		r = ckpti_runs_merge(&kept, &p->late, &have);
	if (r == 0)
		r = record(s, job, &have, &view.guard);
	if (r == 0) {
		free(job->priv);
		job->priv = rest.range;
		job->npriv = rest.n;
		job->end = p->end;
		rest.range = NULL;
	}
	free(rest.range);
	ckpti_runs_free(&view.same);
	ckpti_runs_free(&view.changed);
	ckpti_runs_free(&view.guard);
	ckpti_runs_free(&kept);
	ckpti_runs_free(&missing);
	ckpti_runs_free(&delta);
	ckpti_runs_free(&left);
	ckpti_runs_free(&have);
	return r;
}

int ckpti_precopy_take(struct ckpti_precopy *pc, struct ckpti_snap *s, struct ckpti_job *job,
		       struct ckpti_err *err)
{
	struct ckpti_precopied *p = find(pc, job->m);
	int r;

	if (!p)
		return 0;
	job->file = p->file;
	job->fd = p->fd;
	p->taken = true;
	if (!p->good)
		return 0;
	r = take(pc, p, s, job);
	if (r == -ENOMEM)
		return oom(err);
	/* It writes everything. */
	if (r < 0)
		ckpti_runs_free(&p->late);
	return 0;
}

int ckpti_precopy_flush(struct ckpti_precopy *pc, struct ckpti_err *err)
{
	/* The processes run, and are slower as long as they are tracked. */
	for (size_t i = 0; i < pc->n; i++)
		ckpti_track_close(&pc->proc[i].track);
	for (size_t i = 0; i < pc->n; i++) {
		const struct ckpti_precopied *p = &pc->proc[i];
		int r = ckpti_precopy_write(p->fd, &p->late, pc->buf + p->late_at);

		if (r < 0)
			return ckpti_err(err, r, "cannot write the memory of process %d: %s",
					 p->pid, strerror(-r));
	}
	return 0;
}
