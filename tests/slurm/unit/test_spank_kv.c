/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "spank/lib/kv.h"

static int parse(struct ckpti_kv *kv, const char *text, size_t len)
{
	char *copy = malloc(len ? len : 1); /* no byte behind it */
	int r;

	memcpy(copy, text, len);
	ckpti_kv_init(kv);
	r = ckpti_kv_parse(kv, copy, len);
	free(copy);
	return r;
}

static void assert_text(const struct ckpti_kv *kv, const char *want)
{
	char *text;
	size_t len;

	assert_int_equal(ckpti_kv_write(kv, &text, &len), 0);
	assert_string_equal(text, want);
	assert_int_equal(len, strlen(want));
	free(text);
}

static void test_kv_values_are_written_in_order_and_escaped(void **state)
{
	struct ckpti_kv kv;

	(void)state;
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "text", "a\nb\\n=c");
	ckpti_kv_set_u64(&kv, "z.9", UINT64_MAX);
	ckpti_kv_setf(&kv, "a-b_c", "%d", -3);
	ckpti_kv_set(&kv, "empty", "");
	ckpti_kv_set_u64(&kv, "z.9", 7); /* keeps its place */
	assert_text(&kv, "text=a\\nb\\\\n=c\nz.9=7\na-b_c=-3\nempty=\n");
	ckpti_kv_free(&kv);
	assert_text(&kv, "");
}

static void test_kv_what_was_written_is_read(void **state)
{
	static const char text[] = "text=a\\nb\\\\n=c\nn=18446744073709551615\nempty=\nneg=-3\n";
	struct ckpti_kv kv;

	(void)state;
	assert_int_equal(parse(&kv, text, strlen(text)), 0);
	assert_int_equal(kv.n, 4);
	assert_string_equal(ckpti_kv_get(&kv, "text", NULL), "a\nb\\n=c");
	assert_string_equal(ckpti_kv_get(&kv, "empty", NULL), "");
	assert_null(ckpti_kv_get(&kv, "tex", NULL));
	assert_null(ckpti_kv_get(&kv, "texts", NULL));
	assert_true(ckpti_kv_get_u64(&kv, "n", 1) == UINT64_MAX);
	assert_int_equal(ckpti_kv_get_i64(&kv, "n", 1), 1);
	assert_int_equal(ckpti_kv_get_i64(&kv, "neg", 1), -3);
	assert_int_equal(ckpti_kv_get_u64(&kv, "neg", 1), 1);
	assert_text(&kv, text);
	ckpti_kv_free(&kv);
}

static void test_kv_numbers_that_are_none_give_the_default(void **state)
{
	static const char *const bad[] = {
		"", " 1", "1 ", "+1", "0x10", "1e3", "--1", "-", "18446744073709551616"};
	struct ckpti_kv kv;

	(void)state;
	ckpti_kv_init(&kv);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ckpti_kv_set(&kv, "k", bad[i]);
		assert_int_equal(ckpti_kv_get_u64(&kv, "k", 42), 42);
		assert_int_equal(ckpti_kv_get_i64(&kv, "k", 42), 42);
	}
	ckpti_kv_free(&kv);
}

static void test_kv_other_forms_are_refused(void **state)
{
	static const char *const bad[] = {"a=1",       "a\n",        "=1\n",
					  "A=1\n",     "a b=1\n",    "a=1\n\nb=2\n",
					  "\n",        "a=1\na=1\n", "a=bad\\escape\n",
					  "a=cut\\\n", "\xc3=\n"};
	struct ckpti_kv kv;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(parse(&kv, bad[i], strlen(bad[i])), -EBADMSG);
		ckpti_kv_free(&kv);
	}
	assert_int_equal(parse(&kv, "a=x\0y\n", 6), -EBADMSG);
	ckpti_kv_free(&kv);
	assert_int_equal(parse(&kv, "", 0), 0);
	ckpti_kv_free(&kv);
}

static void test_kv_first_failure_is_kept(void **state)
{
	struct ckpti_kv kv;
	char *text;
	size_t len;

	(void)state;
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "Bad Key", "1");
	ckpti_kv_set(&kv, "good", "1");
	assert_int_equal(ckpti_kv_write(&kv, &text, &len), -EINVAL);
	ckpti_kv_free(&kv);
}

/* As many pairs as there may be, in a time that shows that a key is found without looking at
 * all. */
static void test_kv_many_pairs_are_read_quickly_and_more_refused(void **state)
{
	struct timespec a, b;
	struct ckpti_kv kv;
	char *text = malloc(16U * (CKPTI_KV_MAX + 1)), *p = text;
	size_t len;

	(void)state;
	for (unsigned i = 0; i <= CKPTI_KV_MAX; i++) {
		if (i == CKPTI_KV_MAX)
			len = (size_t)(p - text);
		p += sprintf(p, "k%u=1\n", i);
	}
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	assert_int_equal(parse(&kv, text, len), 0);
	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	assert_int_equal(kv.n, CKPTI_KV_MAX);
	assert_string_equal(ckpti_kv_get(&kv, "k77777", ""), "1");
	assert_true(b.tv_sec - a.tv_sec < 3);
	ckpti_kv_free(&kv);
	assert_int_equal(parse(&kv, text, (size_t)(p - text)), -EBADMSG);
	ckpti_kv_free(&kv);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kv_values_are_written_in_order_and_escaped),
		cmocka_unit_test(test_kv_what_was_written_is_read),
		cmocka_unit_test(test_kv_numbers_that_are_none_give_the_default),
		cmocka_unit_test(test_kv_other_forms_are_refused),
		cmocka_unit_test(test_kv_first_failure_is_kept),
		cmocka_unit_test(test_kv_many_pairs_are_read_quickly_and_more_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
