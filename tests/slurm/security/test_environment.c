/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The environment of a job comes from whoever submitted it, from module files, or from a script that was
 * copied from somebody.  Nothing that says who is who is taken from there, and what is too long or malformed
 * is refused, not shortened.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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

#include "spank/lib/fs.h"
#include "spank/lib/interval.h"
#include "spank/lib/registry.h"
#include "spank/lib/slurm.h"

static char home[64], trap[64];

int __wrap_getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t size, struct passwd **ret);

int __wrap_getpwuid_r(uid_t uid, struct passwd *pw, char *buf, size_t size, struct passwd **ret)
{
	(void)uid;
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
	(void)snprintf(trap, sizeof(trap), "/tmp/ckpt-trap-XXXXXX");
	return mkdtemp(home) && mkdtemp(trap) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[160];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s %s", home, trap);
	return system(command);
}

static size_t entries(const char *dir)
{
	char **names = NULL;
	size_t n = 0;
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ckpti_fs_names(fd, &names, &n), 0);
	ckpti_fs_free_names(names, n);
	close(fd);
	return n;
}

/* The registry of a user is in his home, wherever the environment says that is. */
static void test_environment_home_is_that_of_the_password_database(void **state)
{
	static const char *const names[] = {"HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME",
					    "XDG_RUNTIME_DIR", "TMPDIR"};
	struct ckpti_kv kv;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(setenv(names[i], trap, 1), 0);
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "host", "n0");
	assert_int_equal(ckpti_registry_write("c", 5, "0", &kv, NULL), 0);
	ckpti_kv_free(&kv);
	assert_int_equal(ckpti_registry_read("c", 5, "0", &kv, NULL), 0);
	ckpti_kv_free(&kv);
	assert_int_equal(entries(trap), 0);
	assert_true(entries(home) > 0);
}

static void make_program(const char *dir, const char *name)
{
	char path[160];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
	assert_true(fd >= 0);
	close(fd);
}

/* The current directory is often one that others can write to. */
static void test_environment_scontrol_of_the_current_directory_is_not_run(void **state)
{
	char path[PATH_MAX], want[160], value[512];
	struct ckpti_err err = {0};

	(void)state;
	make_program(trap, "scontrol");
	make_program(home, "scontrol");
	assert_int_equal(chdir(trap), 0);
	(void)snprintf(want, sizeof(want), "%s/scontrol", home);
	(void)snprintf(value, sizeof(value), ":.:./:../%s:%s", strrchr(trap, '/') + 1, home);
	assert_int_equal(setenv("PATH", value, 1), 0);
	assert_int_equal(ckpti_slurm_real_scontrol(path, NULL), 0);
	assert_string_equal(path, want);
	assert_int_equal(setenv("PATH", ".::", 1), 0);
	assert_int_equal(ckpti_slurm_real_scontrol(path, &err), -ENOENT);
	assert_int_equal(setenv("PATH", "", 1), 0);
	assert_int_equal(ckpti_slurm_real_scontrol(path, &err), -ENOENT);
	assert_int_equal(setenv("PATH", "/usr/bin:/bin", 1), 0);
	assert_int_equal(chdir("/"), 0);
}

/* SLURM_CHECKPOINT, SLURM_CHECKPOINT_DIR: whole or not at all. */
static void test_environment_values_are_refused_rather_than_cut(void **state)
{
	static const char *const bad[] = {"",
					  " ",
					  "30s;id",
					  "$(id)",
					  "1e9",
					  "-2",
					  "0x10",
					  "99999999999999999999",
					  "1:2:3:4",
					  "30s\n",
					  "\xff",
					  "%n%n%n",
					  "000000000000000000000000000000000000001"};
	char path[64], big[PATH_MAX + 64];
	uint64_t seconds = 7;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (ckpti_interval_parse(bad[i], &seconds) != -EINVAL)
			fail_msg("'%s' is taken for %llu s", bad[i], (unsigned long long)seconds);
	}
	assert_int_equal(seconds, 7);
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(ckpti_dir_expand(big, 1, "0", "u", "c", path, sizeof(path)),
			 -ENAMETOOLONG);
	/* Room for the end of the text as well: 63 letters fit, 64 do not. */
	big[63] = '\0';
	assert_int_equal(ckpti_dir_expand(big, 1, "0", "u", "c", path, sizeof(path)), 0);
	assert_int_equal(strlen(path), 63);
	big[63] = 'x';
	big[64] = '\0';
	assert_int_equal(ckpti_dir_expand(big, 1, "0", "u", "c", path, sizeof(path)),
			 -ENAMETOOLONG);
	assert_int_equal(ckpti_dir_expand("/a/%", 1, "0", "u", "c", path, sizeof(path)), -EINVAL);
	assert_int_equal(ckpti_dir_expand("/a/%5$s", 1, "0", "u", "c", path, sizeof(path)),
			 -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			test_environment_home_is_that_of_the_password_database, setup, teardown),
		cmocka_unit_test_setup_teardown(
			test_environment_scontrol_of_the_current_directory_is_not_run, setup,
			teardown),
		cmocka_unit_test(test_environment_values_are_refused_rather_than_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
