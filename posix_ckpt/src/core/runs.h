/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which parts of a process' memory lie where in its data file: lists that are sorted by address and
 * have no overlaps.  Pure functions.
 */
#ifndef CKPT_CORE_RUNS_H
#define CKPT_CORE_RUNS_H

#include <stddef.h>
#include <stdint.h>

struct ckpti_run {
	uint64_t addr, len;
	uint64_t off; /* in the data file; without meaning in a list of what is wanted */
};

struct ckpti_runs {
	struct ckpti_run *v;
	size_t n, cap;
};

void ckpti_runs_free(struct ckpti_runs *r);
uint64_t ckpti_runs_bytes(const struct ckpti_runs *r);
/* At the end of the list; joined with the last one when they follow each other in memory and in the
 * file.  0 or -ENOMEM, as all below. */
int ckpti_runs_add(struct ckpti_runs *r, uint64_t addr, uint64_t len, uint64_t off);
/* The parts of a that b covers, with the place that b gives them, and those that it does not, with that of
 * a.  Both are appended to; either may be NULL. */
int ckpti_runs_split(const struct ckpti_runs *a, const struct ckpti_runs *b,
		     struct ckpti_runs *ret_in, struct ckpti_runs *ret_out);
/* Two lists without a common page into one that is new. */
int ckpti_runs_merge(const struct ckpti_runs *a, const struct ckpti_runs *b,
		     struct ckpti_runs *ret);
/* Give every wanted page a place: that which the map knows, else behind *end, and enter it there. */
int ckpti_runs_place(struct ckpti_runs *map, const struct ckpti_runs *want, uint64_t *end,
		     struct ckpti_runs *ret);

#endif
