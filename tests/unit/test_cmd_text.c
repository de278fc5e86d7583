/* SPDX-License-Identifier: BSD-3-Clause */
/* What people type at cpr and what it prints for them and for machines. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ckpt.h>

#include "json.h"
#include "text.h"

static void test_text_size_takes_units_of_1024(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} good[] = {
		{"0", 0},         {"4096", 4096},       {"64K", 65536},
		{"64k", 65536},   {"1.5G", 1610612736}, {"2GiB", 2147483648},
		{"3MB", 3145728}, {"0.001K", 1},
	};
	static const char *const bad[] = {"",    "K",   "-1",   "1X",     "1K1", "1.",
					  "1.K", " 1K", "1Ki1", "16384P", "0x10"};
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(ckpti_text_size(good[i].text, &v), 0);
		assert_int_equal(v, good[i].value);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ckpti_text_size(bad[i], &v), -EINVAL);
}

static void test_text_seconds_are_milliseconds_inside(void **state)
{
	unsigned ms;

	(void)state;
	assert_int_equal(ckpti_text_seconds("10", &ms), 0);
	assert_int_equal(ms, 10000);
	assert_int_equal(ckpti_text_seconds("0.25", &ms), 0);
	assert_int_equal(ms, 250);
	assert_int_equal(ckpti_text_seconds("0", &ms), -EINVAL);
	assert_int_equal(ckpti_text_seconds("1s", &ms), -EINVAL);
	assert_int_equal(ckpti_text_seconds("9999999999", &ms), -EINVAL);
}

static void test_text_target_has_a_default_type(void **state)
{
	struct ckpti_target t;

	(void)state;
	assert_int_equal(ckpti_text_target("42", 2, &t), 0);
	assert_int_equal(t.type, P_HID);
	assert_int_equal(t.id, 42);
	assert_int_equal(ckpti_text_target("42:gid,7", 6, &t), 0);
	assert_int_equal(t.type, P_PGID);
	assert_int_equal(ckpti_text_target("5.6:ASH", 7, &t), 0);
	assert_int_equal(t.id, CKPT_STEPID(5, 6));
	assert_int_equal(ckpti_text_target("0", 1, &t), -EINVAL);
	assert_int_equal(ckpti_text_target("4x", 2, &t), -EINVAL);
	assert_int_equal(ckpti_text_target("5.6:PID", 7, &t), -EINVAL);
	assert_int_equal(ckpti_text_target("5:", 2, &t), -EINVAL);
	assert_int_equal(ckpti_text_target("", 0, &t), -EINVAL);
	assert_int_equal(ckpti_text_target("4294967297", 10, &t), -EINVAL);
}

static void test_text_numbers_for_people(void **state)
{
	char buf[16];

	(void)state;
	assert_string_equal(ckpti_text_bytes(0, buf), "0 B");
	assert_string_equal(ckpti_text_bytes(1023, buf), "1023 B");
	assert_string_equal(ckpti_text_bytes(1024, buf), "1.0 KiB");
	assert_string_equal(ckpti_text_bytes(1048575, buf), "1.0 MiB");
	assert_string_equal(ckpti_text_bytes(UINT64_MAX, buf), "16.0 EiB");
	assert_string_equal(ckpti_text_time(3100000, buf), "3.1 ms");
	assert_string_equal(ckpti_text_time(180000000, buf), "0.18 s");
	assert_string_equal(ckpti_text_time(90ULL * 1000000000, buf), "90 s");
	assert_string_equal(ckpti_text_time(7200ULL * 1000000000, buf), "2 h");
}

static void test_text_clean_disarms_the_terminal(void **state)
{
	char s[] = "a\033[31m\n\x7f\xc2\x9b z \xc3\xa4";

	(void)state;
	assert_string_equal(ckpti_text_clean(s), "a?[31m???? z \xc3\xa4");
}

static void test_json_escapes_and_separates(void **state)
{
	struct ckpti_json j = {.f = NULL};
	char *out = NULL;
	size_t len;

	(void)state;
	j.f = open_memstream(&out, &len);
	assert_non_null(j.f);
	ckpti_json_open(&j, NULL, '{');
	ckpti_json_str(&j, "a\"b", "\\ \t\x01 \xc3\xa4");
	ckpti_json_open(&j, "l", '[');
	ckpti_json_u64(&j, NULL, UINT64_MAX);
	ckpti_json_i64(&j, NULL, INT64_MIN);
	ckpti_json_open(&j, NULL, '{');
	ckpti_json_close(&j, '}');
	ckpti_json_bool(&j, NULL, true);
	ckpti_json_close(&j, ']');
	ckpti_json_hex(&j, "h", 0xfeed);
	/* Overlong, surrogate, above U+10FFFF, cut off: each bad byte is one U+FFFD. */
	ckpti_json_str(&j, "u", "\xc0\xaf|\xed\xa0\x80|\xf4\x90\x80\x80|\xe2\x82");
	ckpti_json_close(&j, '}');
	assert_int_equal(ckpti_json_end(&j), 0);
	(void)fclose(j.f);
	assert_string_equal(out,
			    "{\"a\\\"b\":\"\\\\ \\u0009\\u0001 \xc3\xa4\",\"l\":["
			    "18446744073709551615,-9223372036854775808,{},true],"
			    "\"h\":\"000000000000feed\",\"u\":\"\\ufffd\\ufffd|"
			    "\\ufffd\\ufffd\\ufffd|\\ufffd\\ufffd\\ufffd\\ufffd|\\ufffd\\ufffd\""
			    "}\n");
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text_size_takes_units_of_1024),
		cmocka_unit_test(test_text_seconds_are_milliseconds_inside),
		cmocka_unit_test(test_text_target_has_a_default_type),
		cmocka_unit_test(test_text_numbers_for_people),
		cmocka_unit_test(test_text_clean_disarms_the_terminal),
		cmocka_unit_test(test_json_escapes_and_separates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
