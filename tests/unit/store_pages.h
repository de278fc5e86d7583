/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Generations that hold one file whose pages are told apart by numbers, most of which stay the same from
 * one generation to the next.
 */
#ifndef TESTS_UNIT_STORE_PAGES_H
#define TESTS_UNIT_STORE_PAGES_H

#include "store/store.h"

#define PAGES_MAX 1024U

struct pages {
	uint64_t size; /* of the file, which need not end with a page */
	uint32_t value[PAGES_MAX];
};

/* Every page like no other. */
void pages_init(struct pages *p, uint64_t size);
/* Give page i a content that it has not had before. */
void pages_change(struct pages *p, unsigned i);

/* Write a generation that shares what it can with the last.  0 or -errno. */
int pages_write(const char *dir, const struct pages *p, unsigned keep, struct ckpti_reused *ret,
		struct ckpti_err *err);
/* Load generation gen (0: the newest), verify it, compare every byte.  -EILSEQ: other content. */
int pages_check(const char *dir, uint64_t gen, const struct pages *p, struct ckpti_err *err);

#endif
