/* SPDX-License-Identifier: BSD-3-Clause */
/* plugstack.conf: whose line, which argument, and files that are included. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "spank/lib/plugstack.h"

static char top[] = "/tmp/ckpt-plugstack-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[PATH_MAX];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", top, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static int look(char *ret, size_t size)
{
	char path[PATH_MAX];

	(void)snprintf(path, sizeof(path), "%s/plugstack.conf", top);
	return ckpti_plugstack_argument(path, "spank_ckpt.so", "config", ret, size);
}

static void expect(const char *text, int r, const char *value)
{
	char ret[64] = "";

	put("plugstack.conf", text);
	assert_int_equal(look(ret, sizeof(ret)), r);
	assert_string_equal(ret, value);
}

static void test_the_line_of_the_plugin(void **state)
{
	(void)state;
	expect("optional spank_ckpt.so config=/etc/a.yaml\n", 0, "/etc/a.yaml");
	expect("required\t/usr/lib/slurm/spank_ckpt.so  bindir=/b\tconfig=/c always\n", 0, "/c");
	expect("optional spank_ckpt.so config=/last.yaml", 0, "/last.yaml");
	expect("optional spank_ckpt.so bindir=/b\n", -ENOENT, "");
	expect("optional other.so config=/other\n", -ENOENT, "");
	expect("optional spank_ckpt.so.old config=/old\n", -ENOENT, "");
	expect("# optional spank_ckpt.so config=/a\n\n  \noptional\n", -ENOENT, "");
	expect("optional spank_ckpt.so bindir=/b # config=/c\n", -ENOENT, "");
	/* Slurm loads both, and the first one is who acts. */
	expect("optional spank_ckpt.so\noptional spank_ckpt.so config=/second\n", -ENOENT, "");
	expect("optional spank_ckpt.so xconfig=/x configs=/y\n", -ENOENT, "");
	expect("optional spank_ckpt.so "
	       "config=/"
	       "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
	       -ENAMETOOLONG, "/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}

static void test_files_that_are_included(void **state)
{
	char text[PATH_MAX + 32], name[PATH_MAX];

	(void)state;
	(void)snprintf(name, sizeof(name), "%s/plugstack.conf.d", top);
	assert_int_equal(mkdir(name, 0700), 0);
	put("plugstack.conf.d/10-other.conf", "optional other.so config=/no\n");
	put("plugstack.conf.d/20-ckpt.conf", "optional spank_ckpt.so config=/included\n");
	(void)snprintf(text, sizeof(text), "include %s/plugstack.conf.d/*.conf\n", top);
	expect(text, 0, "/included");
	expect("include plugstack.conf.d/*\n", 0, "/included");
	expect("include nowhere/*\noptional spank_ckpt.so config=/after\n", 0, "/after");
	expect("optional spank_ckpt.so config=/before\ninclude plugstack.conf.d/*\n", 0, "/before");
	expect("include plugstack.conf\n", -ELOOP, "");
}

static void test_a_file_that_is_missing(void **state)
{
	char ret[8] = "";

	(void)state;
	assert_int_equal(ckpti_plugstack_argument("/nowhere/plugstack.conf", "a", "b", ret,
						  sizeof(ret)),
			 -ENOENT);
}

static int setup(void **state)
{
	(void)state;
	return mkdtemp(top) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[PATH_MAX];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", top);
	return system(command);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_line_of_the_plugin),
		cmocka_unit_test(test_files_that_are_included),
		cmocka_unit_test(test_a_file_that_is_missing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
