/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory whose content is left out of the image.  The agent reads the list of ranges while all threads
 * stand still, at any instant of ours: the list is kept sorted and disjoint, and is changed under a
 * hold, so that no image is taken from half a change.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "api/api_private.h"

struct range {
	uintptr_t start, end;
};

/* A list that may grow by one beyond what fits: whether it fits is asked once, when it is stored. */
struct list {
	size_t n;
	struct range r[CKPTI_MAX_EXCLUDE + 1];
};

static void append(struct list *l, uintptr_t start, uintptr_t end)
{
	if (start < end)
		l->r[l->n++] = (struct range){start, end};
}

static struct list load(void)
{
	struct list l = {.n = 0};

	for (uint32_t i = 0; i < ckpti_agent.nexclude; i++)
		append(&l, ckpti_agent.exclude[i].start, ckpti_agent.exclude[i].end);
	return l;
}

static int store(const struct list *l, struct ckpti_err *err)
{
	if (l->n > CKPTI_MAX_EXCLUDE)
		return ckpti_err(err, -ENOSPC, "more than %d separate ranges are left out",
				 CKPTI_MAX_EXCLUDE);
	ckpti_hold_enter();
	for (size_t i = 0; i < l->n; i++) {
		ckpti_agent.exclude[i].start = l->r[i].start;
		ckpti_agent.exclude[i].end = l->r[i].end;
	}
	ckpti_agent.nexclude = (uint32_t)l->n;
	ckpti_hold_leave();
	return 0;
}

/* [start, end) added; ranges that touch become one. */
static struct list with(const struct list *old, uintptr_t start, uintptr_t end)
{
	struct list l = {.n = 0};
	size_t i = 0;

	for (; i < old->n && old->r[i].end < start; i++)
		append(&l, old->r[i].start, old->r[i].end);
	for (; i < old->n && old->r[i].start <= end; i++) {
		if (old->r[i].start < start)
			start = old->r[i].start;
		if (old->r[i].end > end)
			end = old->r[i].end;
	}
	append(&l, start, end);
	for (; i < old->n; i++)
		append(&l, old->r[i].start, old->r[i].end);
	return l;
}

/* [start, end) taken away; at most one range falls into two. */
static struct list without(const struct list *old, uintptr_t start, uintptr_t end)
{
	struct list l = {.n = 0};

	for (size_t i = 0; i < old->n; i++) {
		const struct range *r = &old->r[i];

		append(&l, r->start, r->end < start ? r->end : start);
		append(&l, r->start > end ? r->start : end, r->end);
	}
	return l;
}

static int check_range(const void *addr, size_t len, struct ckpti_err *err)
{
	if ((uintptr_t)addr + len < (uintptr_t)addr)
		return ckpti_err(err, -EINVAL, "%zu bytes at %p reach beyond the address space",
				 len, addr);
	return 0;
}

int ckpti_exclude_add(void *addr, size_t len, struct ckpti_err *err)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = (uintptr_t)addr, end = start + len;
	int r = check_range(addr, len, err);

	if (r < 0)
		return r;
	/* Inwards: other data may share the first and the last page. */
	end &= ~(page - 1);
	if (start > end || end - start < page)
		return 0;
	start = (start + page - 1) & ~(page - 1);
	if (start < end) {
		struct list old, new;

		ckpti_api_lock();
		old = load();
		new = with(&old, start, end);
		r = store(&new, err);
		ckpti_api_unlock();
	}
	return r;
}

int ckpt_exclude(void *addr, size_t len)
{
	struct ckpti_err err = {0};
	int r = ckpti_exclude_add(addr, len, &err);

	return r < 0 ? ckpti_api_fail(CKPT_AT_CALL, r, &err) : 0;
}

static int include(const void *addr, size_t len, struct ckpti_err *err)
{
	const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t start = (uintptr_t)addr & ~(page - 1);
	uintptr_t end = (uintptr_t)addr + len;
	struct list old, new;
	int r = check_range(addr, len, err);

	if (r < 0 || len == 0)
		return r;
	/* Outwards: every byte asked for is saved.  The last page of all has no end to round to. */
	end = end > UINTPTR_MAX - page ? UINTPTR_MAX : (end + page - 1) & ~(page - 1);
	ckpti_api_lock();
	old = load();
	new = without(&old, start, end);
	r = store(&new, err);
	ckpti_api_unlock();
	return r;
}

int ckpt_include(void *addr, size_t len)
{
	struct ckpti_err err = {0};
	int r = include(addr, len, &err);

	return r < 0 ? ckpti_api_fail(CKPT_AT_CALL, r, &err) : 0;
}
