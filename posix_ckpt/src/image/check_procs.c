/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The second pass of the reference check for what belongs to one process: each kind of record at
 * most once, address space in order, threads and descriptors complete.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "image/refs_private.h"

#define FD_LIMIT      (1 << 20)
#define ADDRESS_LIMIT (1ULL << 57) /* five-level page tables; user space is below */
#define GROUPS_LIMIT  65536        /* NGROUPS_MAX of the kernel */
#define RLIMITS_LIMIT 64
#define SIGNALS       64
#define ITIMERS       3

static int check_proc(struct refs *r, const struct ckpti_view *v)
{
	const struct ref *parent, *tty;
	struct ckpti_r_proc p;
	struct ref_proc *self;

	CKPTI_FIXED(v, &p);
	self = ckpti_refs_proc(r, p.pid);
	if (p.state != CKPTI_PROC_LIVE && p.state != CKPTI_PROC_ZOMBIE)
		return ckpti_refs_bad(r, "process %" PRId32 " is in the unknown state %" PRIu32,
				      p.pid, p.state);
	if (p.ppid != 0) {
		parent = p.ppid > 0 ? ckpti_refs_find(r, REF_PROC, (uint32_t)p.ppid) : NULL;
		if (!parent || &r->procs[parent->size] >= self)
			return ckpti_refs_bad(r,
					      "the parent of process %" PRId32
					      " does not stand before it",
					      p.pid);
	}
	if (p.exe_mapfile != 0 && !ckpti_refs_find(r, REF_MAPFILE, p.exe_mapfile))
		return ckpti_refs_bad(r, "the executable of process %" PRId32 " is missing", p.pid);
	if (p.tty != 0) {
		tty = ckpti_refs_find(r, REF_OBJ, p.tty);
		if (!tty || tty->type != CKPTI_R_OBJ_PTM)
			return ckpti_refs_bad(r, "the terminal of process %" PRId32 " is missing",
					      p.pid);
	}
	return 0;
}

static int check_vmas(struct refs *r, const struct ckpti_view *v)
{
	uint64_t i, last = 0, mask = r->page - 1, end;
	struct ckpti_e_vma m;
	int known;

	for (i = 0; i < v->count; i++) {
		CKPTI_ELEM(v, i, &m);
		if (m.start < last || m.end <= m.start || m.end > ADDRESS_LIMIT ||
		    (m.start & mask) || (m.end & mask) || (m.off & mask) ||
		    __builtin_add_overflow(m.off, m.end - m.start, &end))
			return ckpti_refs_bad(r,
					      "the mapping at %#" PRIx64
					      " is out of order or out of line",
					      m.start);
		last = m.end;
		switch (m.kind) {
		case CKPTI_VMA_ANON:
		case CKPTI_VMA_VDSO:
			known = m.obj == 0;
			break;
		case CKPTI_VMA_FILE:
		case CKPTI_VMA_FILESHARED:
			known = ckpti_refs_find(r, REF_MAPFILE, m.obj) != NULL;
			break;
		case CKPTI_VMA_SHM:
		case CKPTI_VMA_SHMPRIV:
			known = ckpti_refs_find(r, REF_SHM, m.obj) != NULL;
			break;
		default:
			return ckpti_refs_bad(r,
					      "the mapping at %#" PRIx64
					      " is of the unknown kind %" PRIu32,
					      m.start, m.kind);
		}
		if (!known)
			return ckpti_refs_bad(r,
					      "object %" PRIu32 " of the mapping at %#" PRIx64
					      " is missing",
					      m.obj, m.start);
	}
	return 0;
}

/* Sorted, page-aligned ranges. */
static int check_ranges(struct refs *r, const struct ckpti_view *v)
{
	uint64_t i, last = 0, mask = r->page - 1;
	struct ckpti_e_range g;

	for (i = 0; i < v->count; i++) {
		CKPTI_ELEM(v, i, &g);
		if (g.start < last || g.end <= g.start || g.end > ADDRESS_LIMIT ||
		    (g.start & mask) || (g.end & mask))
			return ckpti_refs_bad(r, "the range at %#" PRIx64 " is out of order",
					      g.start);
		last = g.end;
	}
	return 0;
}

static int check_pending(struct refs *r, const struct ckpti_view *v)
{
	const struct ref *thread;
	struct ckpti_pid_head h;

	CKPTI_FIXED(v, &h);
	if (h.tid == 0)
		return 0;
	thread = h.tid > 0 ? ckpti_refs_find(r, REF_THREAD, (uint32_t)h.tid) : NULL;
	if (!thread || thread->type != (uint32_t)h.pid)
		return ckpti_refs_bad(r, "thread %" PRId32 " of process %" PRId32 " is missing",
				      h.tid, h.pid);
	return 0;
}

static int compare_int(const void *a, const void *b)
{
	int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;

	return (x > y) - (x < y);
}

static int check_fds(struct refs *r, const struct ckpti_view *v)
{
	struct ckpti_e_fd f;
	int32_t *fds;
	uint64_t i;
	int res = 0;

	if (v->count == 0)
		return 0;
	if (v->count > FD_LIMIT)
		return ckpti_refs_bad(r, "%" PRIu64 " descriptors", v->count);
	fds = calloc(v->count, sizeof(*fds));
	if (!fds)
		return ckpti_err(r->err, -ENOMEM, "no memory to check the image");
	for (i = 0; i < v->count && res == 0; i++) {
		CKPTI_ELEM(v, i, &f);
		fds[i] = f.fd;
		if (f.fd < 0 || f.fd >= FD_LIMIT)
			res = ckpti_refs_bad(r, "descriptor %" PRId32, f.fd);
		else if (!ckpti_refs_find(r, REF_OBJ, f.obj))
			res = ckpti_refs_bad(r,
					     "open file %" PRIu32 " of descriptor %" PRId32
					     " is missing",
					     f.obj, f.fd);
	}
	qsort(fds, v->count, sizeof(*fds), compare_int);
	for (i = 1; i < v->count && res == 0; i++) {
		if (fds[i] == fds[i - 1])
			res = ckpti_refs_bad(r, "descriptor %" PRId32 " is there twice", fds[i]);
	}
	free(fds);
	return res;
}

int ckpti_refs_check_proc_record(struct refs *r, const struct ckpti_view *v)
{
	int32_t pid = (int32_t)ckpti_view_key(v);
	struct ref_proc *p = ckpti_refs_proc(r, pid);

	if (!p)
		return ckpti_refs_bad(r, "process %" PRId32 " is missing", pid);
	/* PENDING: one for the process and one for each thread; GUARDS: one for each scan. */
	if (v->type != CKPTI_R_PENDING && v->type != CKPTI_R_GUARDS && (p->have & (1U << v->type)))
		return ckpti_refs_bad(r, "process %" PRId32 " has a second one", pid);
	p->have |= 1U << v->type;

	switch (v->type) {
	case CKPTI_R_PROC:
		return check_proc(r, v);
	case CKPTI_R_VMAS:
		p->vmas = *v;
		return check_vmas(r, v);
	case CKPTI_R_THREADS:
		p->threads = *v;
		return 0;
	case CKPTI_R_GUARDS:
		return check_ranges(r, v);
	case CKPTI_R_PENDING:
		return check_pending(r, v);
	case CKPTI_R_FDS:
		return check_fds(r, v);
	case CKPTI_R_SIGACTIONS:
		return v->count == SIGNALS ? 0 : ckpti_refs_bad(r, "not %d signals", SIGNALS);
	case CKPTI_R_ITIMERS:
		return v->count == ITIMERS ? 0 : ckpti_refs_bad(r, "not %d timers", ITIMERS);
	case CKPTI_R_RLIMITS:
		return v->count <= RLIMITS_LIMIT ? 0 : ckpti_refs_bad(r, "too many limits");
	case CKPTI_R_GROUPS:
		return v->count <= GROUPS_LIMIT ? 0 : ckpti_refs_bad(r, "too many groups");
	default:
		return 0;
	}
}

/* A live process can only be rebuilt from all of its parts. */
int ckpti_refs_check_procs(struct refs *r)
{
	static const uint32_t needed[] = {CKPTI_R_MM, CKPTI_R_VMAS, CKPTI_R_THREADS,
					  CKPTI_R_SIGACTIONS};
	const struct ref *leader;
	struct ckpti_r_proc p;
	struct ref_proc *rp;
	size_t i, k;

	if (r->nprocs == 0)
		return ckpti_err(r->err, -EBADMSG, "the image is invalid: it has no process");
	for (i = 0; i < r->nprocs; i++) {
		rp = &r->procs[i];
		CKPTI_FIXED(&rp->proc, &p);
		if (p.state != CKPTI_PROC_LIVE)
			continue;
		for (k = 0; k < sizeof(needed) / sizeof(needed[0]); k++) {
			if (!(rp->have & (1U << needed[k])))
				return ckpti_err(r->err, -EBADMSG,
						 "the image is invalid: process %" PRId32
						 " has no record '%s'",
						 p.pid, ckpti_rec_name(needed[k]));
		}
		leader = ckpti_refs_find(r, REF_THREAD, p.leader_tid);
		if (rp->threads.count == 0 || !leader || leader->type != (uint32_t)p.pid)
			return ckpti_err(r->err, -EBADMSG,
					 "the image is invalid: process %" PRId32
					 " lacks its leading thread %" PRIu32,
					 p.pid, p.leader_tid);
	}
	return 0;
}

int ckpti_refs_mapped(const struct ref_proc *p, uint64_t addr, uint64_t len)
{
	uint64_t lo = 0, hi = p->vmas.count, mid, at = addr;
	struct ckpti_e_vma m;

	/* First mapping that ends behind addr. */
	while (lo < hi) {
		mid = lo + (hi - lo) / 2;
		CKPTI_ELEM(&p->vmas, mid, &m);
		if (m.end > addr)
			hi = mid;
		else
			lo = mid + 1;
	}
	/* An extent may run over mappings that touch. */
	for (; lo < p->vmas.count; lo++) {
		CKPTI_ELEM(&p->vmas, lo, &m);
		if (m.start > at)
			return 0;
		if (m.end - addr >= len)
			return 1;
		at = m.end;
	}
	return 0;
}
