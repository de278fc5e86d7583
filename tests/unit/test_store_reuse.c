/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Generations that share data files: only what has changed is stored, every generation that is kept reads
 * back as what it was, and the space that a chain of them takes is bounded.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "store_fixture.h"
#include "store_pages.h"

#define PAGE 4096U
#define MIB  (1U << 20)

static void ok(int r, const struct ckpti_err *err)
{
	if (r != 0)
		print_error("%d: %s\n", r, err->text);
	assert_int_equal(r, 0);
}

static uint64_t data_bytes(const struct scratch *s)
{
	char path[PATH_MAX];
	struct dirent *de;
	uint64_t sum = 0;
	struct stat sb;
	DIR *d = opendir(s->dir);

	assert_non_null(d);
	while ((de = readdir(d)) != NULL) {
		if (strncmp(de->d_name, "data-", 5) != 0)
			continue;
		(void)snprintf(path, sizeof(path), "%.3800s/%.255s", s->dir, de->d_name);
		assert_int_equal(stat(path, &sb), 0);
		sum += (uint64_t)sb.st_size;
	}
	(void)closedir(d);
	return sum;
}

static void test_reuse_changed_pages_are_stored_alone(void **state)
{
	static const unsigned changed[] = {0, 1, 2, 100, 340, 341, 342, 767};
	struct scratch *s = *state;
	struct pages first, second;
	struct ckpti_reused got;
	struct ckpti_err err;

	pages_init(&first, 3 * MIB);
	ok(pages_write(s->dir, &first, 2, &got, &err), &err);
	assert_int_equal(got.reused, 0);
	second = first;
	for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++)
		pages_change(&second, changed[i]);
	ok(pages_write(s->dir, &second, 2, &got, &err), &err);
	assert_int_equal(got.stored, 8 * PAGE);
	assert_true(got.reused >= 3 * MIB - 8 * PAGE);
	ok(pages_check(s->dir, 1, &first, &err), &err);
	ok(pages_check(s->dir, 2, &second, &err), &err);
	/* The first one goes, its data does not. */
	ok(pages_write(s->dir, &second, 1, &got, &err), &err);
	assert_int_equal(got.stored, 0);
	assert_int_equal(count_files(s, "gen-"), 1);
	ok(pages_check(s->dir, 3, &second, &err), &err);
}

/* With less than that to be saved no file is shared. */
static void test_reuse_little_is_not_worth_it(void **state)
{
	struct scratch *s = *state;
	struct ckpti_reused got;
	struct ckpti_err err;
	struct pages p;

	pages_init(&p, MIB / 2);
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	assert_int_equal(got.reused, 0);
	ok(pages_check(s->dir, 0, &p, &err), &err);

	pages_init(&p, 3 * MIB);
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	/* Nor when most of it is new. */
	for (unsigned i = 0; i < 500; i++)
		pages_change(&p, i);
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	assert_int_equal(got.reused, 0);
	ok(pages_check(s->dir, 0, &p, &err), &err);

	/* Also when that is because the file has grown. */
	pages_init(&p, 3 * MIB / 2);
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	p.size = 4 * MIB;
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	assert_int_equal(got.reused, 0);
	ok(pages_check(s->dir, 0, &p, &err), &err);
}

/* The hash that the last generation has for its bytes says nothing about what lies in the file now. */
static void test_reuse_damage_is_not_handed_on(void **state)
{
	struct scratch *s = *state;
	struct ckpti_reused got;
	struct ckpti_err err;
	struct pages p;

	pages_init(&p, 3 * MIB);
	ok(pages_write(s->dir, &p, 2, &got, &err), &err);
	flip_byte(in_dir(s, "data-00000002"), 1000 * 1000);
	assert_int_equal(pages_check(s->dir, 1, &p, &err), -EBADMSG);
	ok(pages_write(s->dir, &p, 2, &got, &err), &err);
	assert_int_equal(got.stored, PAGE);
	ok(pages_check(s->dir, 2, &p, &err), &err);
	assert_int_equal(pages_check(s->dir, 1, &p, &err), -EBADMSG);

	/* A file of the last generation is gone: the next one stands alone. */
	assert_int_equal(unlink(in_dir(s, "data-00000002")), 0);
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	assert_int_equal(got.reused, 0);
	ok(pages_check(s->dir, 3, &p, &err), &err);
}

/* A file that ends inside a page, grows, shrinks. */
static void test_reuse_sizes(void **state)
{
	static const uint64_t size[] = {2 * MIB + 5,    2 * MIB + 5, 2 * MIB + 7, 2 * MIB + 4096,
					3 * MIB + 4095, 2 * MIB + 1, 2 * MIB,     2 * MIB + 4097};
	struct scratch *s = *state;
	struct ckpti_reused got;
	struct ckpti_err err;
	struct pages p;

	pages_init(&p, size[0]);
	for (unsigned i = 0; i < sizeof(size) / sizeof(size[0]); i++) {
		p.size = size[i];
		ok(pages_write(s->dir, &p, 1, &got, &err), &err);
		assert_true((got.reused > 0) == (i > 0));
		ok(pages_check(s->dir, 0, &p, &err), &err);
	}
}

static void test_reuse_linked_copy_stays(void **state)
{
	struct scratch *s = *state, copy = *s;
	struct ckpti_reused got;
	char command[3 * PATH_MAX];
	struct ckpti_err err;
	struct pages p, old;

	pages_init(&p, 3 * MIB);
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	pages_change(&p, 3);
	ok(pages_write(s->dir, &p, 1, &got, &err), &err);
	old = p;
	(void)snprintf(copy.dir, sizeof(copy.dir), "%.3000s/copy", s->root);
	(void)snprintf(command, sizeof(command), "cp -al '%s' '%s'", s->dir, copy.dir);
	assert_int_equal(system(command), 0);
	for (unsigned i = 0; i < 12; i++) {
		for (unsigned k = 0; k < 90; k++)
			pages_change(&p, (i * 91 + k) % 768);
		ok(pages_write(s->dir, &p, 1, &got, &err), &err);
		ok(pages_check(s->dir, 0, &p, &err), &err);
		ok(pages_check(copy.dir, 0, &old, &err), &err);
	}
}

/* A writer that was killed has removed a generation, and its files not yet: a copy may still need them. */
static void test_reuse_linked_spare_stays(void **state)
{
	struct scratch *s = *state, copy = *s;
	char command[3 * PATH_MAX];
	struct ckpti_reused got;
	struct ckpti_err err;
	struct pages p, old;

	pages_init(&old, 3 * MIB);
	ok(pages_write(s->dir, &old, 2, &got, &err), &err);
	pages_init(&p, 3 * MIB);
	ok(pages_write(s->dir, &p, 2, &got, &err), &err);
	assert_int_equal(got.reused, 0);
	(void)snprintf(copy.dir, sizeof(copy.dir), "%.3000s/copy", s->root);
	(void)snprintf(command, sizeof(command), "cp -al '%s' '%s'", s->dir, copy.dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(unlink(in_dir(s, "gen-00000001")), 0);
	for (unsigned i = 0; i < 3; i++) {
		pages_init(&p, 3 * MIB);
		ok(pages_write(s->dir, &p, 2, &got, &err), &err);
		ok(pages_check(copy.dir, 1, &old, &err), &err);
	}
}

/* Many generations with changes here and there: those that are kept are what they were, and neither files
 * nor bytes grow without end. */
static void test_reuse_chain(void **state)
{
	enum {
		KEEP = 3,
		ROUNDS = 40
	};
	static struct pages history[KEEP];
	struct scratch *s = *state;
	struct ckpti_reused got;
	struct ckpti_err err;
	unsigned reused = 0, alone = 0;
	struct pages p;

	srandom(7);
	pages_init(&p, 3 * MIB);
	for (unsigned g = 1; g <= ROUNDS; g++) {
		unsigned changes = (unsigned)random() % (g % 10 ? 20 : 400);

		for (unsigned i = 0; i < changes; i++)
			pages_change(&p, (unsigned)random() % 768);
		ok(pages_write(s->dir, &p, KEEP, &got, &err), &err);
		*(got.reused ? &reused : &alone) += 1;
		history[g % KEEP] = p;
		for (unsigned k = 0; k < KEEP && k < g; k++)
			ok(pages_check(s->dir, g - k, &history[(g - k) % KEEP], &err), &err);
		/* Three kept, one being written, and half of each that is dead. */
		assert_true(data_bytes(s) <= 4 * 3 * MIB * 3 / 2);
		assert_true(count_files(s, "data-") < 80);
	}
	assert_true(reused > ROUNDS / 2 && alone > 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, scratch_setup, scratch_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_reuse_changed_pages_are_stored_alone),
		TEST(test_reuse_little_is_not_worth_it),
		TEST(test_reuse_damage_is_not_handed_on),
		TEST(test_reuse_sizes),
		TEST(test_reuse_linked_copy_stays),
		TEST(test_reuse_linked_spare_stays),
		TEST(test_reuse_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
