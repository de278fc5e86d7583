/* SPDX-License-Identifier: BSD-3-Clause */
/* The password database is wrapped by the linker: home directories are scratch directories. */
#include <errno.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "spank/lib/registry.h"

static char home[64];

int __wrap_getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t size, struct passwd **ret);

int __wrap_getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t size, struct passwd **ret)
{
	assert_int_equal(uid, geteuid());
	(void)buf;
	(void)size;
	*pw = (struct passwd){.pw_dir = home};
	*ret = pw;
	return 0;
}

static int setup(void **state)
{
	(void)state;
	(void)snprintf(home, sizeof(home), "/tmp/ckpt-home-XXXXXX");
	return mkdtemp(home) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[96];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", home);
	return system(command);
}

static const char *path(const char *name)
{
	static char p[2][128];
	static unsigned turn;

	turn ^= 1;
	(void)snprintf(p[turn], sizeof(p[turn]), "%s/.local/state%s", home, name);
	return p[turn];
}

static void put(uint32_t job, const char *step, const char *host)
{
	struct ckpti_kv kv;

	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "host", host);
	assert_int_equal(ckpti_registry_write("c1", job, step, &kv, NULL), 0);
	ckpti_kv_free(&kv);
}

static void test_registry_entry_is_written_read_and_removed(void **state)
{
	struct ckpti_err err = {0};
	struct ckpti_kv kv;
	struct stat sb;

	(void)state;
	(void)umask(0);
	assert_int_equal(ckpti_registry_read("c1", 5, "0", &kv, &err), -ENOENT);
	assert_string_equal(err.text, "there is no coordinator of step 5.0");
	assert_int_equal(access(path(""), F_OK), -1); /* reading makes nothing */
	put(5, "0", "n1");
	put(5, "0", "n2");
	(void)umask(022);
	assert_int_equal(stat(path("/ckpt/c1/5.0"), &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0600);
	assert_int_equal(stat(path("/ckpt/c1"), &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0700);
	assert_int_equal(stat(path("/ckpt"), &sb), 0);
	assert_int_equal(sb.st_mode & 07777, 0700);
	assert_int_equal(ckpti_registry_read("c1", 5, "0", &kv, NULL), 0);
	assert_string_equal(ckpti_kv_get(&kv, "host", ""), "n2");
	ckpti_kv_free(&kv);
	assert_int_equal(ckpti_registry_read("c2", 5, "0", &kv, NULL), -ENOENT);
	assert_int_equal(ckpti_registry_remove("c1", 5, "0"), 0);
	assert_int_equal(ckpti_registry_remove("c1", 5, "0"), -ENOENT);
	assert_int_equal(ckpti_registry_read("c1", 5, "0", &kv, NULL), -ENOENT);
}

static int collect(void *arg, uint32_t job, const char *step, const struct ckpti_kv *kv)
{
	char *text = arg;

	(void)sprintf(text + strlen(text), "%u.%s@%s ", job, step, ckpti_kv_get(kv, "host", "?"));
	return strcmp(step, "stop") == 0 ? 7 : 0;
}

static void test_registry_each_lists_the_steps_of_a_job(void **state)
{
	char text[256] = "";

	(void)state;
	assert_int_equal(ckpti_registry_each("c1", 5, collect, text), 0);
	put(5, "1", "a");
	put(5, "batch", "b");
	put(55, "0", "c");
	assert_int_equal(truncate(path("/ckpt/c1/55.0"), 3), 0); /* damaged */
	put(6, "0", "d");
	assert_int_equal(symlink("6.0", path("/ckpt/c1/5.9")), 0);
	assert_int_equal(ckpti_registry_each("c1", 5, collect, text), 0);
	assert_string_equal(text, "5.1@a 5.batch@b ");
	text[0] = '\0';
	assert_int_equal(ckpti_registry_each("c1", 0, collect, text), 0);
	assert_string_equal(text, "5.1@a 5.batch@b 6.0@d ");
	put(4, "stop", "e");
	text[0] = '\0';
	assert_int_equal(ckpti_registry_each("c1", 0, collect, text), 7);
	assert_string_equal(text, "4.stop@e ");
}

static void test_registry_of_others_and_odd_names_are_refused(void **state)
{
	static const char *const bad[] = {"", "..", "a/b", ".hidden"};
	struct ckpti_kv kv;

	(void)state;
	put(5, "0", "a");
	assert_int_equal(chmod(path("/ckpt/c1/5.0"), 0660), 0);
	assert_int_equal(ckpti_registry_read("c1", 5, "0", &kv, NULL), -EPERM);
	assert_int_equal(chmod(path("/ckpt/c1/5.0"), 0600), 0);
	assert_int_equal(chmod(path("/ckpt/c1"), 0777), 0);
	assert_int_equal(ckpti_registry_read("c1", 5, "0", &kv, NULL), -EPERM);
	assert_int_equal(chmod(path("/ckpt/c1"), 0700), 0);
	assert_int_equal(rename(path("/ckpt"), path("/other")), 0);
	assert_int_equal(symlink("other", path("/ckpt")), 0);
	assert_int_equal(ckpti_registry_read("c1", 5, "0", &kv, NULL), -EPERM);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(ckpti_registry_read(bad[i], 5, "0", &kv, NULL), -EINVAL);
		assert_int_equal(ckpti_registry_read("c1", 5, bad[i], &kv, NULL), -EINVAL);
		assert_int_equal(ckpti_registry_remove("c1", 5, bad[i]), -EINVAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registry_entry_is_written_read_and_removed,
						setup, teardown),
		cmocka_unit_test_setup_teardown(test_registry_each_lists_the_steps_of_a_job, setup,
						teardown),
		cmocka_unit_test_setup_teardown(test_registry_of_others_and_odd_names_are_refused,
						setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
