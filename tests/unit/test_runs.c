/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of memory and of its places in a file, against a model that has one entry for each page. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/runs.h"

#define PAGES  64
#define ROUNDS 2000
#define NONE   UINT64_MAX

/* Where each page lies, NONE: nowhere. */
typedef uint64_t model[PAGES];

static void from_model(const model m, struct ckpti_runs *r)
{
	memset(r, 0, sizeof(*r));
	for (uint64_t i = 0; i < PAGES; i++)
		if (m[i] != NONE)
			assert_int_equal(ckpti_runs_add(r, i, 1, m[i]), 0);
}

/* Sorted, without overlaps, and nothing that could be joined. */
static void to_model(const struct ckpti_runs *r, model m)
{
	for (int i = 0; i < PAGES; i++)
		m[i] = NONE;
	for (size_t i = 0; i < r->n; i++) {
		const struct ckpti_run *v = &r->v[i];

		assert_true(v->len > 0 && v->addr + v->len <= PAGES);
		if (i) {
			const struct ckpti_run *b = v - 1;

			assert_true(b->addr + b->len <= v->addr);
			assert_false(b->addr + b->len == v->addr && b->off + b->len == v->off);
		}
		for (uint64_t k = 0; k < v->len; k++)
			m[v->addr + k] = v->off + k;
	}
}

static void any_model(model m, int percent, uint64_t off)
{
	for (int i = 0; i < PAGES; i++) {
		m[i] = rand() % 100 < percent ? off : NONE;
		/* Not always one behind the other. */
		off += 1 + (rand() % 4 == 0);
	}
}

static void test_split_is_that_of_single_pages(void **state)
{
	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct ckpti_runs a, b, in = {0}, out = {0};
		model ma, mb, mi, mo;

		any_model(ma, rand() % 101, 1000);
		any_model(mb, rand() % 101, 5000);
		from_model(ma, &a);
		from_model(mb, &b);
		assert_int_equal(ckpti_runs_split(&a, &b, &in, &out), 0);
		to_model(&in, mi);
		to_model(&out, mo);
		for (int i = 0; i < PAGES; i++) {
			assert_int_equal(mi[i], ma[i] == NONE ? NONE : mb[i]);
			assert_int_equal(mo[i], mb[i] == NONE ? ma[i] : NONE);
		}
		ckpti_runs_free(&a);
		ckpti_runs_free(&b);
		ckpti_runs_free(&in);
		ckpti_runs_free(&out);
	}
}

static void test_place_keeps_what_has_one(void **state)
{
	(void)state;
	for (int round = 0; round < ROUNDS; round++) {
		struct ckpti_runs map, want, ret;
		model before, wanted, after, placed;
		uint64_t end = 5000, fresh = 0;

		any_model(before, rand() % 101, 1000);
		any_model(wanted, rand() % 101, 0);
		from_model(before, &map);
		from_model(wanted, &want);
		assert_int_equal(ckpti_runs_place(&map, &want, &end, &ret), 0);
		to_model(&map, after);
		to_model(&ret, placed);
		for (int i = 0; i < PAGES; i++) {
			assert_int_equal(placed[i], wanted[i] == NONE ? NONE : after[i]);
			if (before[i] != NONE) {
				assert_int_equal(after[i], before[i]);
			} else if (wanted[i] != NONE) {
				assert_int_equal(after[i], 5000 + fresh);
				fresh++;
			} else {
				assert_int_equal(after[i], NONE);
			}
		}
		assert_int_equal(end, 5000 + fresh);
		assert_int_equal(ckpti_runs_bytes(&want), ckpti_runs_bytes(&ret));
		ckpti_runs_free(&map);
		ckpti_runs_free(&want);
		ckpti_runs_free(&ret);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_split_is_that_of_single_pages),
		cmocka_unit_test(test_place_keeps_what_has_one),
	};

	srand(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
