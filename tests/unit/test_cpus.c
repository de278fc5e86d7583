/* SPDX-License-Identifier: BSD-3-Clause */
/* Lists of processors, and threads that follow those of their launch. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "core/cpus.h"

static void test_list_reads(void **state)
{
	uint64_t m[CKPTI_LAUNCH_WORDS];

	(void)state;
	assert_int_equal(ckpti_launch_cpus_parse("0-3,8", m), 0);
	assert_int_equal(m[0], 0x10f);
	assert_int_equal(m[1], 0);
	assert_int_equal(ckpti_launch_cpus_parse("1023", m), 0);
	assert_int_equal(m[0], 0);
	assert_int_equal(m[15], 1ULL << 63);
	assert_int_equal(ckpti_launch_cpus_parse("62-65", m), 0);
	assert_int_equal(m[0], 3ULL << 62);
	assert_int_equal(m[1], 3);
}

static void test_list_refuses_what_is_none(void **state)
{
	static const char *const bad[] = {"",      ",",    "1,",     "1,,2",
					  "a",     "1-",   "-1",     "1 ",
					  " 1",    "1024", "0-1024", "1;2",
					  "1-2-3", "0x1",  "+1",     "99999999999999999999"};
	uint64_t m[CKPTI_LAUNCH_WORDS] = {7};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ckpti_launch_cpus_parse(bad[i], m), -EINVAL);
		assert_int_equal(m[0], 7);
	}
}

static void test_list_of_own_comes_back(void **state)
{
	uint64_t m[CKPTI_LAUNCH_WORDS], now[CKPTI_LAUNCH_WORDS];
	char text[8192], two[2];

	(void)state;
	assert_int_equal(ckpti_launch_cpus_format(text, sizeof(text)), 0);
	assert_int_equal(ckpti_launch_cpus_parse(text, m), 0);
	ckpti_cpus_now(now);
	assert_memory_equal(m, now, sizeof(m));
	if (strlen(text) > 1)
		assert_int_equal(ckpti_launch_cpus_format(two, sizeof(two)), -ENOSPC);
}

struct follows {
	const char *then, *now, *mask, *want;
};

static void test_masks_follow(void **state)
{
	static const struct follows row[] = {
		/* unchanged: exactly what it was, also what was never the launch's */
		{"0-3", "0-3", "1", "1"},
		{"0-3", "0-3", "0-3", "0-3"},
		{"0-3", "0-3", "9", "9"},
		/* the whole one, or more than that */
		{"0-3", "4-7", "0-3", "4-7"},
		{"0-3", "0-7", "0-3", "0-7"},
		{"0-3", "8", "0-3", "8"},
		{"0-3", "4-7", "0-63", "4-7"},
		{"5", "6", "5", "6"},
		/* by position */
		{"0-3", "4-7", "1", "5"},
		{"0-3", "4-7", "0,3", "4,7"},
		{"0-3", "0,2,4,6", "1-2", "2,4"},
		{"2,4,6", "1,3,64,70", "6", "64"},
		{"0-3", "60-67", "3", "63"},
		{"0-63", "64-127", "62-63", "126-127"},
		/* fewer: all that there are */
		{"0-3", "4-6", "1", "4-6"},
		{"0-3", "0", "2", "0"},
		/* partly, or not at all of the launch */
		{"0-3", "4-7", "3,9", "7"},
		{"0-3", "4-7", "9", "4-7"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		uint64_t then[CKPTI_LAUNCH_WORDS], now[CKPTI_LAUNCH_WORDS];
		uint64_t mask[CKPTI_LAUNCH_WORDS], want[CKPTI_LAUNCH_WORDS];

		assert_int_equal(ckpti_launch_cpus_parse(row[i].then, then), 0);
		assert_int_equal(ckpti_launch_cpus_parse(row[i].now, now), 0);
		assert_int_equal(ckpti_launch_cpus_parse(row[i].mask, mask), 0);
		assert_int_equal(ckpti_launch_cpus_parse(row[i].want, want), 0);
		ckpti_cpus_follow(then, now, mask);
		if (memcmp(mask, want, sizeof(mask)) != 0)
			fail_msg("then %s, now %s: %s did not become %s", row[i].then, row[i].now,
				 row[i].mask, row[i].want);
	}
}

static void test_unknown_launch_changes_nothing(void **state)
{
	uint64_t none[CKPTI_LAUNCH_WORDS] = {0}, some[CKPTI_LAUNCH_WORDS] = {12};
	uint64_t mask[CKPTI_LAUNCH_WORDS] = {3};

	(void)state;
	ckpti_cpus_follow(none, some, mask);
	assert_int_equal(mask[0], 3);
	ckpti_cpus_follow(some, none, mask);
	assert_int_equal(mask[0], 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_reads),
		cmocka_unit_test(test_list_refuses_what_is_none),
		cmocka_unit_test(test_list_of_own_comes_back),
		cmocka_unit_test(test_masks_follow),
		cmocka_unit_test(test_unknown_launch_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
