/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A restart that maps the image instead of reading it: which pieces of memory are mapped.
 *
 * A private mapping of a file behaves as anonymous memory does but for a few calls (docs/limits.md).
 * Memory for which the kernel makes a difference, and what is so small that a mapping of its own does
 * not pay, is read as ever.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/life.h"

#define LAZY_MIN (128UL << 10) /* to read less than this is not slower than to map and touch it */
#define LAZY_MAX 16384         /* mappings of one process: the kernel allows 65530 */
#define LAST     4096UL

/* From them the kernel shows arguments and environment, and it reads anonymous pages only. */
static bool has_labels(const struct ckpti_r_mm *mm, const struct ckpti_e_vma *v)
{
	return (mm->arg_start < v->end && mm->arg_end > v->start) ||
	       (mm->env_start < v->end && mm->env_end > v->start);
}

static bool fits(const struct ckpti_r_mm *mm, const struct ckpti_e_vma *v)
{
	const uint64_t odd = CKPTI_VF_GROWSDOWN | CKPTI_VF_STACK | CKPTI_VF_LOCKED |
			     CKPTI_VF_LOCKONFAULT | CKPTI_VF_WIPEONFORK | CKPTI_VF_SEALED;

	/* The file system may be mounted noexec. */
	return v->kind == CKPTI_VMA_ANON && !v->huge && !(v->vmflags & odd) &&
	       !(v->prot & PROT_EXEC) && v->end - v->start > LAZY_MIN && !has_labels(mm, v);
}

static int add_ranges(struct ckpti_life *life, const struct ckpti_view *vmas)
{
	struct ckpti_r_mm mm = {0};
	struct ckpti_pid_head head;
	struct ckpti_view v;

	CKPTI_FIXED(vmas, &head);
	if (ckpti_image_find(&life->img, CKPTI_R_MM, (uint32_t)head.pid, &v))
		CKPTI_FIXED(&v, &mm);
	for (uint64_t i = 0; i < vmas->count; i++) {
		struct ckpti_lazy_range *bigger;
		struct ckpti_e_vma e;

		CKPTI_ELEM(vmas, i, &e);
		if (!fits(&mm, &e))
			continue;
		bigger = reallocarray(life->lazy, life->nlazy + 1, sizeof(*bigger));
		if (!bigger)
			return -ENOMEM;
		life->lazy = bigger;
		/* A call that moves or lengthens the whole of it finds two mappings, and fails, instead
		 * of finding what lies behind it in the file. */
		bigger[life->nlazy++] = (struct ckpti_lazy_range){
			.pid = head.pid, .start = e.start, .end = e.end - LAST};
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct ckpti_lazy_range *x = a, *y = b;

	if (x->pid != y->pid)
		return x->pid < y->pid ? -1 : 1;
	return x->start < y->start ? -1 : x->start > y->start;
}

/* The first range of the process that ends behind addr. */
static size_t find(const struct ckpti_life *life, int pid, uint64_t addr)
{
	size_t low = 0, high = life->nlazy;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		const struct ckpti_lazy_range *r = &life->lazy[mid];

		if (r->pid < pid || (r->pid == pid && r->end <= addr))
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

uint64_t ckpti_lazy_piece(const struct ckpti_life *life, int pid, const struct ckpti_e_extent *e,
			  uint64_t addr, bool *ret_map)
{
	uint64_t end = e->addr + e->len, next = addr;
	size_t i = find(life, pid, addr);

	*ret_map = false;
	if (e->flags || (e->off | e->addr) & (LAST - 1))
		return end;
	for (; next < end && i < life->nlazy && life->lazy[i].pid == pid; i++) {
		const struct ckpti_lazy_range *r = &life->lazy[i];
		uint64_t from = r->start > addr ? r->start : addr;
		uint64_t to = r->end < end ? r->end : end;

		if (from >= end)
			break;
		if (to - from < life->lazy_min)
			continue;
		/* Up to it, or it itself. */
		*ret_map = from == addr;
		return from == addr ? to : from;
	}
	return end;
}

/* Calls fn for every extent of private memory until it returns non-zero. */
static int each_extent(const struct ckpti_life *life,
		       int (*fn)(const struct ckpti_life *life, int pid,
				 const struct ckpti_e_extent *e, void *arg),
		       void *arg)
{
	struct ckpti_view v;
	size_t pos = 0;
	int r = 0;

	while (r == 0 && ckpti_image_next(&life->img, &pos, &v)) {
		struct ckpti_r_extents head;

		if (v.type != CKPTI_R_EXTENTS)
			continue;
		CKPTI_FIXED(&v, &head);
		for (uint64_t i = 0; r == 0 && head.owner_kind == CKPTI_OWN_PROC && i < v.count;
		     i++) {
			struct ckpti_e_extent e;

			CKPTI_ELEM(&v, i, &e);
			r = fn(life, (int)head.owner, &e, arg);
		}
	}
	return r;
}

/* Of one process after the other, as they stand in the image. */
struct count {
	int pid;
	size_t n;
};

static int count_pieces(const struct ckpti_life *life, int pid, const struct ckpti_e_extent *e,
			void *arg)
{
	struct count *c = arg;
	bool map;

	if (c->pid != pid)
		*c = (struct count){.pid = pid};
	for (uint64_t at = e->addr; at < e->addr + e->len;) {
		at = ckpti_lazy_piece(life, pid, e, at, &map);
		c->n += map;
	}
	return c->n > LAZY_MAX;
}

int ckpti_lazy_choose(struct ckpti_life *life, struct ckpti_err *err)
{
	struct ckpti_view v;
	struct count c;
	size_t pos = 0;
	int r = 0;

	while (r == 0 && ckpti_image_next(&life->img, &pos, &v))
		if (v.type == CKPTI_R_VMAS)
			r = add_ranges(life, &v);
	if (r < 0)
		return ckpti_err(err, r, "out of memory");
	if (life->nlazy)
		qsort(life->lazy, life->nlazy, sizeof(*life->lazy), compare);
	life->lazy_min = LAZY_MIN;
	for (c.pid = 0, c.n = 0; each_extent(life, count_pieces, &c); c.n = 0)
		life->lazy_min *= 2;
	return 0;
}

bool ckpti_lazy_unread(const void *arg, uint32_t owner_kind, uint32_t owner,
		       const struct ckpti_e_extent *e)
{
	const struct ckpti_life *life = arg;
	uint64_t at = e->addr;
	bool map = false;

	if (owner_kind != CKPTI_OWN_PROC)
		return false;
	while (!map && at < e->addr + e->len)
		at = ckpti_lazy_piece(life, (int)owner, e, at, &map);
	return map;
}
