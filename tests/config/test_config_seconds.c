/* SPDX-License-Identifier: BSD-3-Clause */
/* Times as people write them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "config/config.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_seconds_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
