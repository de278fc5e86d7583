/* SPDX-License-Identifier: BSD-3-Clause */
/* Times: a table, and that both parsers of the product agree on it and on many texts like it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"
#include "spank/lib/interval.h"

#define BAD (UINT64_MAX - 2)

static const struct {
	const char *text;
	uint64_t seconds;
} table[] = {
	{"5", 300},
	{"90:30", 5430},
	{"1:2:3", 3723},
	{"1-2", 93600},
	{"1-2:3", 93780},
	{"1-2:3:4", 93784},
	{"0", 0},
	{"30s", 30},
	{"5m", 300},
	{"2h", 7200},
	{"1d", 86400},
	{"-1", CKPTI_CONFIG_NEVER},
	{"infinite", CKPTI_CONFIG_NEVER},
	{"UNLIMITED", CKPTI_CONFIG_NEVER},
	{"Auto", CKPTI_CONFIG_AUTO},
	{"", BAD},
	{" 5", BAD},
	{"5 ", BAD},
	{"+5", BAD},
	{"-2", BAD},
	{"5:", BAD},
	{":5", BAD},
	{"1:2:3:4", BAD},
	{"1-", BAD},
	{"1-2:3:4:5", BAD},
	{"1-2-3", BAD},
	{"5S", BAD},
	{"5ms", BAD},
	{"1:2s", BAD},
	{"1-2h", BAD},
	{"1e3", BAD},
	{"1.5h", BAD},
	{"1234567890", BAD},
	{"00000000000000000000005", BAD},
	{"000000000000000000000005", BAD},
};
#define NTABLE (sizeof(table) / sizeof(table[0]))

static void test_seconds_table(void **state)
{
	uint64_t v;

	(void)state;
	for (size_t i = 0; i < NTABLE; i++) {
		v = BAD;
		assert_int_equal(ckpti_config_seconds(table[i].text, &v),
				 table[i].seconds == BAD ? -EINVAL : 0);
		assert_int_equal(v, table[i].seconds);
	}
	assert_int_equal(ckpti_config_seconds("never", &v), 0);
	assert_true(v == CKPTI_CONFIG_NEVER);
}

static void agree(const char *text)
{
	uint64_t a = BAD, b = BAD;
	int ra = ckpti_config_seconds(text, &a), rb = ckpti_interval_parse(text, &b);

	if (a == 0)
		a = CKPTI_CONFIG_NEVER; /* there no interval, here left to the key */
	if (ra != rb || (ra == 0 && a != b))
		print_error("'%s'\n", text);
	assert_int_equal(ra, rb);
	assert_true(ra < 0 || a == b);
}

static void test_seconds_same_as_interval(void **state)
{
	static const char letters[] = "0195:-smhd";
	uint64_t x = 1;
	char text[32];

	(void)state;
	for (size_t i = 0; i < NTABLE; i++)
		agree(table[i].text);
	for (unsigned i = 0; i < 200000; i++) {
		size_t len = x / 65536 % 8;

		for (size_t k = 0; k < len; k++) {
			x = x * 6364136223846793005ULL + 1442695040888963407ULL;
			text[k] = letters[(x >> 33) % (sizeof(letters) - 1)];
		}
		x = x * 6364136223846793005ULL + 1442695040888963407ULL;
		text[len] = '\0';
		agree(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seconds_table),
		cmocka_unit_test(test_seconds_same_as_interval),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
