/* SPDX-License-Identifier: BSD-3-Clause */
/* The attribute file of cpr: what is read, what is refused and where, and which block counts. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <ckpt.h>

#include "attr.h"

static int parse(const char *text, struct ckpti_attr *attr, struct ckpti_err *err)
{
	*err = (struct ckpti_err){.code = 0};
	return ckpti_attr_parse("F", text, strlen(text), attr, err);
}

static void select_for(const struct ckpti_attr *attr, unsigned long type, int64_t id,
		       struct ckpti_attr_choice *ret)
{
	const struct ckpti_target target = {.type = type, .id = id};

	assert_int_equal(ckpti_attr_select(attr, &target, 1, ret), 0);
}

static void test_attr_full_file_is_read(void **state)
{
	struct ckpti_attr attr;
	struct ckpti_err err;
	const struct ckpti_attr_block *b;

	(void)state;
	assert_int_equal(parse("# head\n"
			       "CKPT PID 1111 {\n"
			       "\tFILE: \"/tmp/a \\\"b\\\" [x]\\*\": REPLACE # why\n"
			       "\tfile: \"*\": merge;\n"
			       "\tWILL: CONT\n"
			       "\tCDIR: IGNORE RDIR:REPLACE\n"
			       "\tFORK: ANY\n"
			       "}\n"
			       "ckpt ash 12.3 { }",
			       &attr, &err),
			 0);
	assert_int_equal(attr.nblocks, 2);
	b = &attr.blocks[0];
	assert_false(b->any_type || b->any_id);
	assert_int_equal(b->target.type, P_PID);
	assert_int_equal(b->target.id, 1111);
	assert_int_equal(b->nrules, 2);
	assert_string_equal(b->rules[0].glob, "/tmp/a \"b\" [x]\\*");
	assert_int_equal(b->rules[0].action, CKPT_FILE_REPLACE);
	assert_string_equal(b->rules[1].glob, "*");
	assert_int_equal(b->rules[1].action, CKPT_FILE_MERGE);
	assert_int_equal(b->action[CKPTI_ATTR_WILL], CKPTI_ATTR_CONT);
	assert_int_equal(b->action[CKPTI_ATTR_CDIR], CKPTI_ATTR_IGNORE);
	assert_int_equal(b->action[CKPTI_ATTR_RDIR], CKPTI_ATTR_REPLACE);
	assert_int_equal(b->action[CKPTI_ATTR_FORK], CKPTI_ATTR_ANY);
	assert_int_equal(attr.blocks[1].target.type, P_ASH);
	assert_int_equal(attr.blocks[1].target.id, CKPT_STEPID(12, 3));
	ckpti_attr_free(&attr);
}

static void test_attr_errors_name_line_and_column(void **state)
{
	static const struct {
		const char *text;
		const char *message;
	} cases[] = {
		{"x", "F:1:1: CKPT expected"},
		{"CKPT FOO 1 {}", "F:1:6: PID, GID, SID, ASH, HID, SGP, JID or * expected"},
		{"CKPT PID x {}", "F:1:10: number or * expected"},
		{"CKPT PID 0 {}", "F:1:10: number or * expected"},
		{"CKPT PID 1.2 {}", "F:1:10: number or * expected"},
		{"CKPT PID 99999999999999999999 {}", "F:1:10: number or * expected"},
		{"CKPT PID 1\n\n", "F:3:1: '{' expected"},
		{"CKPT PID 1 {\n WILL CONT }", "F:2:7: ':' expected"},
		{"CKPT PID 1 {\n WILL: MAYBE }", "F:2:8: EXIT, CONT or KILL expected"},
		{"CKPT PID 1 { WILL: EXIT\nWILL: EXIT }", "F:2:1: this policy was set above"},
		{"CKPT PID 1 { FILE: x: MERGE }", "F:1:20: file name in quotes expected"},
		{"CKPT PID 1 { FILE: \"\": MERGE }", "F:1:20: file name in quotes expected"},
		{"CKPT PID 1 { FILE: \"x\n\": MERGE }", "F:1:20: file name in quotes expected"},
		{"CKPT PID 1 { FILE: \"x\": ANY }",
		 "F:1:25: MERGE, IGNORE, APPEND, REPLACE, SUBSTITUTE or RELOCATE expected"},
		{"CKPT PID 1 {", "F:1:13: FILE, WILL, CDIR, RDIR, FORK or '}' expected"},
		{"CKPT PID 1 {} }", "F:1:15: CKPT expected"},
		{"CKPT PID 1 {}\n\t$", "F:2:2: CKPT expected"},
	};
	struct ckpti_attr attr;
	struct ckpti_err err;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(parse(cases[i].text, &attr, &err), -EINVAL);
		assert_string_equal(err.text, cases[i].message);
		assert_null(attr.blocks);
	}
}

/* Every prefix of a file is either refused or a file itself; nothing is read behind its end. */
static void test_attr_any_prefix_is_safe(void **state)
{
	static const char text[] = "CKPT * 5 { FILE: \"a\\\"\": IGNORE; FORK: ANY } CKPT SID * {}";
	const size_t first = (size_t)(strchr(text, '}') - text) + 1; /* length of a whole block */
	struct ckpti_attr attr;
	struct ckpti_err err;

	(void)state;
	for (size_t len = 0; len < sizeof(text); len++) {
		char *copy = malloc(len ? len : 1);
		int r;

		assert_non_null(copy);
		memcpy(copy, text, len);
		err = (struct ckpti_err){.code = 0};
		r = ckpti_attr_parse("F", copy, len, &attr, &err);
		assert_int_equal(r == 0, len == 0 || len == first || len == first + 1 ||
						 len == sizeof(text) - 1);
		ckpti_attr_free(&attr);
		free(copy);
	}
}

static void test_attr_first_block_that_fits_counts(void **state)
{
	struct ckpti_attr_choice c;
	struct ckpti_attr attr;
	struct ckpti_err err;

	(void)state;
	assert_int_equal(parse("CKPT PID 5 { WILL: KILL FILE: \"a\": MERGE }\n"
			       "CKPT SID 5 { CDIR: IGNORE }\n"
			       "CKPT * * { WILL: CONT FORK: ANY FILE: \"b\": APPEND }\n",
			       &attr, &err),
			 0);
	select_for(&attr, P_HID, 5, &c); /* a process, however it was called */
	assert_int_equal(c.action[CKPTI_ATTR_WILL], CKPTI_ATTR_KILL);
	assert_int_equal(c.action[CKPTI_ATTR_FORK], CKPTI_ATTR_ANY);
	assert_int_equal(c.action[CKPTI_ATTR_CDIR], CKPTI_ATTR_UNSET);
	assert_int_equal(c.nrules, 2);
	assert_string_equal(c.rules[0].glob, "a");
	assert_string_equal(c.rules[1].glob, "b");
	free(c.rules);

	select_for(&attr, P_SID, 5, &c);
	assert_int_equal(c.action[CKPTI_ATTR_WILL], CKPTI_ATTR_CONT);
	assert_int_equal(c.action[CKPTI_ATTR_CDIR], CKPTI_ATTR_IGNORE);
	assert_int_equal(c.nrules, 1);
	free(c.rules);

	select_for(&attr, P_PGID, 6, &c);
	assert_int_equal(c.action[CKPTI_ATTR_WILL], CKPTI_ATTR_CONT);
	assert_int_equal(c.nrules, 1);
	free(c.rules);
	ckpti_attr_free(&attr);
}

static void test_attr_nothing_fits_sets_nothing(void **state)
{
	struct ckpti_attr_choice c;
	struct ckpti_attr attr;
	struct ckpti_err err;

	(void)state;
	assert_int_equal(parse("CKPT GID * { WILL: KILL }", &attr, &err), 0);
	select_for(&attr, P_PID, 5, &c);
	assert_int_equal(c.action[CKPTI_ATTR_WILL], CKPTI_ATTR_UNSET);
	assert_int_equal(c.nrules, 0);
	assert_null(c.rules);
	ckpti_attr_free(&attr);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_attr_full_file_is_read),
		cmocka_unit_test(test_attr_errors_name_line_and_column),
		cmocka_unit_test(test_attr_any_prefix_is_safe),
		cmocka_unit_test(test_attr_first_block_that_fits_counts),
		cmocka_unit_test(test_attr_nothing_fits_sets_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
