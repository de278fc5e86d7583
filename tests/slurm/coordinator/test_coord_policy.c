/* SPDX-License-Identifier: BSD-3-Clause */
/* The coordinator's decisions, each against what the documentation promises. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "spank/coordinator/policy.h"

static void test_jitter(void **state)
{
	(void)state;
	assert_int_equal(ckpti_policy_jitter_ms(100, 10, 0), 90000);
	assert_in_range(ckpti_policy_jitter_ms(100, 10, UINT32_MAX), 109999, 110000);
	assert_in_range(ckpti_policy_jitter_ms(100, 10, UINT32_MAX / 2), 99900, 100100);
	assert_int_equal(ckpti_policy_jitter_ms(100, 0, 12345), 100000);
	assert_true(ckpti_policy_jitter_ms(UINT64_MAX / 2, 50, UINT32_MAX) > 0);
}

static void test_auto_interval(void **state)
{
	(void)state;
	const uint64_t years = 5 * 365 * 86400ULL;

	/* Nothing is known yet. */
	assert_int_equal(ckpti_policy_auto_interval(0, years, 1, 10), 600);
	assert_int_equal(ckpti_policy_auto_interval(1000000, years, 0, 10), 600);
	/* sqrt(2 * 1 s * 157680000 s), and on a thousand nodes */
	assert_int_equal(ckpti_policy_auto_interval(1000000, years, 1, 10), 17758);
	assert_int_equal(ckpti_policy_auto_interval(1000000, years, 1000, 10), 561);
	/* Four times the cost is twice the time. */
	assert_int_equal(ckpti_policy_auto_interval(4000000, years, 1000, 10), 1123);
	assert_int_equal(ckpti_policy_auto_interval(1000000, 86400, 1, 10), 415);
	/* Limits. */
	assert_int_equal(ckpti_policy_auto_interval(1000, years, 100000, 10), 10);
	assert_int_equal(ckpti_policy_auto_interval(1000, years, 1000, 7200), 7200);
	assert_int_equal(ckpti_policy_auto_interval(3600000000ULL, years, 1, 10), 86400);
	assert_int_equal(ckpti_policy_auto_interval(604800000000ULL, 20 * years, 1, 10), 86400);
}

static void test_cost(void **state)
{
	(void)state;
	assert_int_equal(ckpti_policy_cost(100000, 100000), 100000);
	assert_int_equal(ckpti_policy_cost(100000, 1100000), 200000);
	/* Clocks of several hosts. */
	assert_int_equal(ckpti_policy_cost(100000, 90000), 100000);
}

static void test_margin(void **state)
{
	(void)state;
	assert_int_equal(ckpti_policy_margin(60, 0, 0), 60);
	assert_int_equal(ckpti_policy_margin(60, 10000000, 3600), 60);
	assert_int_equal(ckpti_policy_margin(60, 45500000, 182), 91);
	assert_int_equal(ckpti_policy_margin(60, 45500000, 120), 90);
	assert_int_equal(ckpti_policy_margin(60, 0, 60), 45);
}

static void test_end(void **state)
{
	struct ckpti_end_facts f = {
		.running = true, .requeue = true, .now = 1000, .end_time = 2000, .margin = 60};

	(void)state;
	assert_int_equal(ckpti_policy_end(&f), CKPTI_END_NOTHING);
	f.now = 1940;
	assert_int_equal(ckpti_policy_end(&f), CKPTI_END_SAVE);
	f.chain = true;
	assert_int_equal(ckpti_policy_end(&f), CKPTI_END_REQUEUE);
	f.requeue = false;
	assert_int_equal(ckpti_policy_end(&f), CKPTI_END_SAVE);
	f.now = 2000;
	assert_int_equal(ckpti_policy_end(&f), CKPTI_END_NOTHING);
	f.now = 1940;
	f.end_time = 0;
	assert_int_equal(ckpti_policy_end(&f), CKPTI_END_NOTHING);
	f.preempted = true;
	assert_int_equal(ckpti_policy_end(&f), CKPTI_END_SAVE);
	f.requeue = true;
	assert_int_equal(ckpti_policy_end(&f), CKPTI_END_VACATE);
	f.running = false;
	assert_int_equal(ckpti_policy_end(&f), CKPTI_END_NOTHING);
}

/* A job that dies again and again: three times from the newest, three times from the one before. */
static void test_restart_without_progress(void **state)
{
	struct ckpti_restarts r = {0};

	(void)state;
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(ckpti_policy_restart(&r, 7, 6, 3), CKPTI_RESTART_USE);
		assert_int_equal(r.count, i);
	}
	assert_int_equal(ckpti_policy_restart(&r, 7, 6, 3), CKPTI_RESTART_BACK);
	/* 7 is rejected now: what comes next is about 6. */
	assert_int_equal(ckpti_policy_restart(&r, 6, 5, 3), CKPTI_RESTART_USE);
	assert_int_equal(ckpti_policy_restart(&r, 6, 5, 3), CKPTI_RESTART_USE);
	assert_int_equal(ckpti_policy_restart(&r, 6, 5, 3), CKPTI_RESTART_HOLD);
	/* Somebody has released it. */
	assert_int_equal(ckpti_policy_restart(&r, 6, 5, 3), CKPTI_RESTART_USE);
}

static void test_restart_with_progress(void **state)
{
	struct ckpti_restarts r = {0};

	(void)state;
	for (uint64_t gen = 1; gen < 20; gen++)
		assert_int_equal(ckpti_policy_restart(&r, gen, gen - 1, 1), CKPTI_RESTART_USE);
	assert_int_equal(ckpti_policy_restart(&r, 19, 0, 1), CKPTI_RESTART_HOLD);
}

static void test_restart_progress_after_going_back(void **state)
{
	struct ckpti_restarts r = {0};

	(void)state;
	assert_int_equal(ckpti_policy_restart(&r, 7, 6, 1), CKPTI_RESTART_USE);
	assert_int_equal(ckpti_policy_restart(&r, 7, 6, 1), CKPTI_RESTART_BACK);
	/* From 6 it came to 8: the next trouble may go back again. */
	assert_int_equal(ckpti_policy_restart(&r, 8, 6, 1), CKPTI_RESTART_USE);
	assert_int_equal(ckpti_policy_restart(&r, 8, 6, 1), CKPTI_RESTART_BACK);
}

static void test_fence(void **state)
{
	(void)state;
	/* The last sign is old: agents that can read still get their time. */
	assert_int_equal(ckpti_policy_fence_ms(0, 1000000, 1000000, 30), 6000);
	assert_int_equal(ckpti_policy_fence_ms(0, 1000000, 1000000, 6), 2500);
	assert_int_equal(ckpti_policy_fence_ms(990000, 1000000, 1000000, 30), 20000);
	assert_int_equal(ckpti_policy_fence_ms(990000, 1000000, 1019000, 30), 1000);
	assert_int_equal(ckpti_policy_fence_ms(990000, 1000000, 1020000, 30), 0);
	/* Clocks that were set. */
	assert_int_equal(ckpti_policy_fence_ms(INT64_MAX, 1000000, 1000000, 30), 30000);
	assert_int_equal(ckpti_policy_fence_ms(2000000, 1000000, 1000000, 30), 30000);
}

static void test_texts(void **state)
{
	char text[32];

	(void)state;
	assert_string_equal(ckpti_policy_size(0, text), "0 B");
	assert_string_equal(ckpti_policy_size(1023, text), "1023 B");
	assert_string_equal(ckpti_policy_size(1536, text), "1.5 KiB");
	assert_string_equal(ckpti_policy_size(812ULL << 20, text), "812 MiB");
	assert_string_equal(ckpti_policy_duration(38000, text), "38 ms");
	assert_string_equal(ckpti_policy_duration(1900000, text), "1.9 s");
	assert_string_equal(ckpti_policy_duration(950, text), "0.9 ms");
	assert_string_equal(ckpti_policy_age(-5, text), "0 s");
	assert_string_equal(ckpti_policy_age(180, text), "3 min");
	assert_string_equal(ckpti_policy_age(90000, text), "25 h");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jitter),
		cmocka_unit_test(test_auto_interval),
		cmocka_unit_test(test_cost),
		cmocka_unit_test(test_margin),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_restart_without_progress),
		cmocka_unit_test(test_restart_with_progress),
		cmocka_unit_test(test_restart_progress_after_going_back),
		cmocka_unit_test(test_fence),
		cmocka_unit_test(test_texts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
