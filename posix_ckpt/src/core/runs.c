/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/runs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ckpti_runs_free(struct ckpti_runs *r)
{
	free(r->v);
	memset(r, 0, sizeof(*r));
}

uint64_t ckpti_runs_bytes(const struct ckpti_runs *r)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < r->n; i++)
		bytes += r->v[i].len;
	return bytes;
}

int ckpti_runs_add(struct ckpti_runs *r, uint64_t addr, uint64_t len, uint64_t off)
{
	struct ckpti_run *last = r->n ? &r->v[r->n - 1] : NULL;

	if (last && last->addr + last->len == addr && last->off + last->len == off) {
		last->len += len;
		return 0;
	}
	if (r->n == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 256;
		struct ckpti_run *bigger = reallocarray(r->v, cap, sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		r->v = bigger;
		r->cap = cap;
	}
	r->v[r->n++] = (struct ckpti_run){.addr = addr, .len = len, .off = off};
	return 0;
}

static int add_to(struct ckpti_runs *r, uint64_t addr, uint64_t len, uint64_t off)
{
	return r ? ckpti_runs_add(r, addr, len, off) : 0;
}

int ckpti_runs_split(const struct ckpti_runs *a, const struct ckpti_runs *b,
		     struct ckpti_runs *ret_in, struct ckpti_runs *ret_out)
{
	size_t j = 0;
	int r = 0;

	for (size_t i = 0; r == 0 && i < a->n; i++) {
		uint64_t at = a->v[i].addr, end = at + a->v[i].len;

		while (r == 0 && at < end) {
			const struct ckpti_run *c;
			uint64_t to = end;

			while (j < b->n && b->v[j].addr + b->v[j].len <= at)
				j++;
			c = j < b->n ? &b->v[j] : NULL;
			if (c && c->addr <= at) {
				if (c->addr + c->len < to)
					to = c->addr + c->len;
				r = add_to(ret_in, at, to - at, c->off + (at - c->addr));
			} else {
				if (c && c->addr < to)
					to = c->addr;
				r = add_to(ret_out, at, to - at, a->v[i].off + (at - a->v[i].addr));
			}
			at = to;
		}
	}
	return r;
}

int ckpti_runs_merge(const struct ckpti_runs *a, const struct ckpti_runs *b, struct ckpti_runs *ret)
{
	size_t i = 0, j = 0;
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	while (r == 0 && (i < a->n || j < b->n)) {
		const struct ckpti_run *c;

		if (j == b->n || (i < a->n && a->v[i].addr < b->v[j].addr))
			c = &a->v[i++];
		else
			c = &b->v[j++];
		r = ckpti_runs_add(ret, c->addr, c->len, c->off);
	}
	if (r < 0)
		ckpti_runs_free(ret);
	return r;
}

int ckpti_runs_place(struct ckpti_runs *map, const struct ckpti_runs *want, uint64_t *end,
		     struct ckpti_runs *ret)
{
	struct ckpti_runs known = {0}, fresh = {0}, grown = {0};
	int r = ckpti_runs_split(want, map, &known, &fresh);

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; r == 0 && i < fresh.n; i++) {
		fresh.v[i].off = *end;
		*end += fresh.v[i].len;
	}
	if (r == 0)
		r = ckpti_runs_merge(map, &fresh, &grown);
	if (r == 0)
		r = ckpti_runs_merge(&known, &fresh, ret);
	if (r == 0) {
		ckpti_runs_free(map);
		*map = grown;
		memset(&grown, 0, sizeof(grown));
	}
	ckpti_runs_free(&grown);
	ckpti_runs_free(&known);
	ckpti_runs_free(&fresh);
	return r;
}
