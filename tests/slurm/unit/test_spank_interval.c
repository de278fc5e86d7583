/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "spank/lib/interval.h"

static void test_interval_formats(void **state)
{
	static const struct {
		const char *text;
		uint64_t seconds;
	} good[] = {
		{"5", 300},
		{"1:30", 90},
		{"90:90", 5490},
		{"2:00:05", 7205},
		{"1-2", 93600},
		{"1-2:3", 93780},
		{"1-02:03:04", 93784},
		{"30s", 30},
		{"5m", 300},
		{"2h", 7200},
		{"1d", 86400},
		{"999999999d", 86399999913600},
		{"-1", CKPTI_INTERVAL_NONE},
		{"infinite", CKPTI_INTERVAL_NONE},
		{"UNLIMITED", CKPTI_INTERVAL_NONE},
		{"0", CKPTI_INTERVAL_NONE},
		{"0:00", CKPTI_INTERVAL_NONE},
		{"0-0:0:0", CKPTI_INTERVAL_NONE},
		{"never", CKPTI_INTERVAL_NONE},
		{"none", CKPTI_INTERVAL_NONE},
		{"Auto", CKPTI_INTERVAL_AUTO},
		{"00000:00000:00000001", 1},
	};
	uint64_t seconds;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(ckpti_interval_parse(good[i].text, &seconds), 0);
		assert_true(seconds == good[i].seconds);
	}
}

static void test_interval_anything_else_is_invalid(void **state)
{
	static const char *const bad[] = {"",
					  " 5",
					  "5 ",
					  "abc",
					  "-2",
					  "+5",
					  "5:",
					  ":5",
					  "1:2:3:4",
					  "1-",
					  "-",
					  "1-2-3",
					  "1-2:",
					  "1-2:3:4:5",
					  "5x",
					  "5ms",
					  "5 m",
					  "1.5h",
					  "1:30s",
					  "0x10",
					  "1-2h",
					  "5\n",
					  "12345678901234567890",
					  "1000000000d",
					  "forever",
					  "000000:000000:0000000001"};
	uint64_t seconds;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ckpti_interval_parse(bad[i], &seconds), -EINVAL);
}

static void test_dir_letters_are_expanded(void **state)
{
	char out[16];

	(void)state;
	assert_int_equal(ckpti_dir_expand("/a/%u%n%%%j.%s", 7, "1", "bo", "c", out, 16), 0);
	assert_string_equal(out, "/a/boc%7.1");
	assert_int_equal(ckpti_dir_expand("%s", 7, "batch", "", "", out, 6), 0);
	assert_int_equal(ckpti_dir_expand("%s", 7, "batch", "", "", out, 5), -ENAMETOOLONG);
	assert_int_equal(ckpti_dir_expand("%x", 7, "1", "", "", out, 16), -EINVAL);
	assert_int_equal(ckpti_dir_expand("a%", 7, "1", "", "", out, 16), -EINVAL);
	assert_int_equal(ckpti_dir_expand("", 7, "1", "", "", out, 16), 0);
	assert_string_equal(out, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interval_formats),
		cmocka_unit_test(test_interval_anything_else_is_invalid),
		cmocka_unit_test(test_dir_letters_are_expanded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
