/* SPDX-License-Identifier: BSD-3-Clause */
/* Which files count, which are believed, and what a job may demand. */
#include "config_fixture.h"

#include <errno.h>
#include <pwd.h>
#include <signal.h>

static void test_defaults_without_files(void **state)
{
	struct ckpti_config c;
	struct ckpti_err err = {.code = 0};

	(void)state;
	put(site, NULL);
	put(user, NULL);
	load(&c);
	assert_false(c.disabled);
	assert_string_equal(c.directory, ".");
	assert_int_equal(c.directories.n, 0);
	assert_true(c.interval == CKPTI_CONFIG_NEVER);
	assert_int_equal(c.min_interval, 10);
	assert_int_equal(c.keep, 2);
	assert_int_equal(c.copy_limit, 64 << 20);
	assert_int_equal(c.reserve.percent, 5);
	assert_int_equal(c.node_local.n, 4);
	assert_string_equal(c.node_local.item[3], "/run");
	assert_int_equal(c.fence, 30);
	assert_int_equal(c.heartbeat, 1);
	assert_int_equal(c.silence, 3);
	assert_int_equal(c.write_timeout, 3600);
	assert_int_equal(c.exit_code, 75);
	assert_int_equal(c.ports.low, 0);
	assert_string_equal(c.hook, "");
	assert_string_equal(c.site_path, "");
	assert_int_equal(ckpti_config_origin(&c, "keep")->source, CKPTI_CONFIG_DEFAULT);
	assert_null(ckpti_config_origin(&c, "kepp"));
	ckpti_config_free(&c);
	ckpti_config_free(&c); /* a second time does no harm */

	assert_int_equal(ckpti_config_load(NULL, NULL, &c, &err), 0);
	ckpti_config_free(&c);
	/* A component of the path is a file. */
	put(site, "");
	(void)snprintf(user, sizeof(user), "%s/x", site);
	load(&c);
	ckpti_config_free(&c);
	(void)snprintf(user, sizeof(user), "%s/user.yaml", dir);
}

static void test_every_type_is_read(void **state)
{
	struct ckpti_config c;

	(void)state;
	put(site, "disabled: yes\n"
		  "directories: [/scratch, \"/home/a b\"]\n"
		  "directory: \"%u/%j.%s\"\n"
		  "interval: auto\n"
		  "min_interval: 1:30\n"
		  "copy_limit: 3k\n"
		  "site_writers:\n"
		  "    count: 4\n"
		  "    directory: /scratch/.w\n"
		  "reserve: 7G\n"
		  "memory_reserve: 0%\n"
		  "node_local:\n"
		  "- /tmp\n"
		  "restart_pids: off\n"
		  "ports: 60001-60100\n");
	put(user, "file_policy: ['/x=y/*=append']\n"
		  "signal: SIGUSR2\n"
		  "hook: /bin/true\n"
		  "quiet: on\n"
		  "expire: never\n");
	load(&c);
	assert_true(c.disabled);
	assert_int_equal(c.directories.n, 2);
	assert_string_equal(c.directories.item[1], "/home/a b");
	assert_string_equal(c.directory, "%u/%j.%s");
	assert_true(c.interval == CKPTI_CONFIG_AUTO);
	assert_int_equal(c.min_interval, 90);
	assert_int_equal(c.copy_limit, 3072);
	assert_int_equal(c.site_writers_count, 4);
	assert_string_equal(c.site_writers_directory, "/scratch/.w");
	assert_true(c.reserve.bytes == 7ULL << 30);
	assert_int_equal(c.reserve.percent, 0);
	assert_int_equal(c.memory_reserve.bytes, 0);
	assert_int_equal(c.memory_reserve.percent, 0);
	/* A list takes the place of the default. */
	assert_int_equal(c.node_local.n, 1);
	assert_string_equal(c.node_local.item[0], "/tmp");
	assert_int_equal(c.restart_pids, CKPTI_PIDS_OFF);
	assert_int_equal(c.ports.low, 60001);
	assert_int_equal(c.ports.high, 60100);
	assert_string_equal(c.file_policy.item[0], "/x=y/*=append");
	assert_int_equal(c.signal, SIGUSR2);
	assert_string_equal(c.hook, "/bin/true");
	assert_true(c.quiet);
	assert_true(c.expire == CKPTI_CONFIG_NEVER);
	ckpti_config_free(&c);
	put(user, NULL);
}

static void test_user_replaces_site_within_limits(void **state)
{
	const struct ckpti_config_origin *o;
	struct ckpti_config c;

	(void)state;
	put(site, "interval: 2h\nmin_interval: 1m\nkeep: 5\nmax_keep: 6\nwrite_timeout: 30m\n");
	put(user, "# mine\nkeep: 6\ninterval: 1\nwrite_timeout: 10m\nexpire: 90d\n");
	load(&c);
	assert_int_equal(c.interval, 60);
	assert_int_equal(c.keep, 6);
	assert_int_equal(c.write_timeout, 600);
	assert_true(c.expire == 90ULL * 86400); /* the site says nothing */
	o = ckpti_config_origin(&c, "keep");
	assert_int_equal(o->source, CKPTI_CONFIG_USER);
	assert_int_equal(o->line, 2);
	assert_int_equal(o->column, 7);
	assert_int_equal(ckpti_config_origin(&c, "max_keep")->source, CKPTI_CONFIG_SITE);
	assert_string_equal(c.user_path, user);
	ckpti_config_free(&c);

	put(user, "keep: 7\n");
	refuse(-ERANGE, "user.yaml:1:7: keep: 7 is more than the site allows, max_keep is 6");
	put(user, "interval: 59s\n");
	refuse(-ERANGE, "user.yaml:1:11: interval: 59s is shorter than the site allows, "
			"min_interval is 1m");
	put(user, "interval: 0\n");
	load(&c);
	assert_true(c.interval == CKPTI_CONFIG_NEVER);
	ckpti_config_free(&c);
	put(user, "write_timeout: 31m\n");
	{
		struct ckpti_err err = {.code = 0};
		char text[320];

		(void)snprintf(text, sizeof(text),
			       "%s:1:16: write_timeout: '31m' is more than the site allows (%s:5)",
			       user, site);
		assert_int_equal(ckpti_config_load(site, user, &c, &err), -ERANGE);
		assert_string_equal(err.text, text);
	}
	put(user, NULL);
}

static void test_values_that_do_not_go_together(void **state)
{
	(void)state;
	put(user, NULL);
	put(site, "heartbeat: 2s\n");
	refuse(-ERANGE, "site.yaml:1:12: heartbeat: silence must be at least two heartbeats, 4s");
	put(site, "heartbeat: 2s\nsilence: 3s\n");
	refuse(-ERANGE, "site.yaml:2:10: silence: silence must be at least two heartbeats, 4s");
	put(site, "fence: 5s\n");
	refuse(-ERANGE, "site.yaml:1:8: fence: fence must be at least twice silence, 6s");
	put(site, "silence: 20s\n");
	refuse(-ERANGE, "site.yaml:1:10: silence: fence must be at least twice silence, 40s");
	put(site, "site_writers: {count: 2}\n");
	refuse(-EINVAL, "site.yaml:1:23: site_writers: a directory is needed as well");
	put(site, "keep: 3\nmax_keep: 2\n");
	refuse(-ERANGE, "site.yaml:1:7: keep: 3 is more than the site allows, max_keep is 2");
}

static void test_files_not_to_be_trusted(void **state)
{
	struct ckpti_config c;
	char text[128];

	(void)state;
	put(user, NULL);
	put(site, "keep: 3\n");
	assert_int_equal(chmod(site, 0664), 0);
	refuse(-EPERM, "site.yaml: others may write to it; chmod go-w helps");
	assert_int_equal(chmod(site, 0646), 0);
	refuse(-EPERM, "site.yaml: others may write to it; chmod go-w helps");
	put(site, NULL);
	assert_int_equal(mkdir(site, 0700), 0);
	refuse(-EINVAL, "site.yaml: not a regular file");
	assert_int_equal(rmdir(site), 0);
	assert_int_equal(mkfifo(site, 0600), 0);
	refuse(-EINVAL, "site.yaml: not a regular file");
	put(site, "");
	assert_int_equal(truncate(site, (1 << 20) + 1), 0);
	refuse(-EFBIG, "site.yaml: larger than 1 MiB");
	put(site, "keep: 3\n");
	if (geteuid() != 0) {
		print_message("owners: not tested, only root can give files away\n");
		return;
	}
	put(user, "keep: 4\n");
	assert_int_equal(chown(user, 4711, 4711), 0);
	refuse(-EPERM, "user.yaml: belongs to user 4711, not to you");
	put(user, NULL);
	assert_int_equal(chown(site, 4711, 4711), 0);
	refuse(-EPERM, "site.yaml: belongs to user 4711, not to root");

	/* As that user: root's is right for the site, and not for the user. */
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(seteuid(4711), 0);
	load(&c); /* one's own, for tests and for trying out */
	ckpti_config_free(&c);
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chown(site, 0, 0), 0);
	put(user, "keep: 4\n");
	assert_int_equal(seteuid(4711), 0);
	refuse(-EPERM, "user.yaml: belongs to user 0, not to you");
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(chmod(site, 0600), 0);
	assert_int_equal(seteuid(4711), 0);
	(void)snprintf(text, sizeof(text), "site.yaml: %s", strerror(EACCES));
	refuse(-EACCES, text);
	assert_int_equal(seteuid(0), 0);
	put(user, NULL);
}

static void test_job_options(void **state)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_config c;

	(void)state;
	put(site, "min_interval: 1m\nmax_keep: 4\n");
	load(&c);
	assert_int_equal(ckpti_config_set_job(&c, "--checkpoint", "interval", "2m", &err), 0);
	assert_int_equal(c.interval, 120);
	assert_int_equal(ckpti_config_origin(&c, "interval")->source, CKPTI_CONFIG_JOB);
	assert_int_equal(ckpti_config_set_job(&c, "--checkpoint", "interval", "30s", &err),
			 -ERANGE);
	assert_string_equal(err.text, "--checkpoint: interval: 30s is shorter than the site "
				      "allows, min_interval is 1m");
	assert_int_equal(c.interval, 120);
	assert_int_equal(ckpti_config_set_job(&c, "--checkpoint", "interval", "infinite", &err), 0);
	assert_true(c.interval == CKPTI_CONFIG_NEVER);

	err.code = 0;
	assert_int_equal(ckpti_config_set_job(&c, "--checkpoint-keep", "keep", "5", &err), -ERANGE);
	assert_string_equal(err.text, "--checkpoint-keep: keep: 5 is more than the site allows, "
				      "max_keep is 4");
	assert_int_equal(c.keep, 2);
	err.code = 0;
	assert_int_equal(ckpti_config_set_job(&c, "--checkpoint-keep", "keep", "x", &err), -EINVAL);
	assert_string_equal(err.text, "--checkpoint-keep: 'x' is not a number from 1 to 10000");
	err.code = 0;
	assert_int_equal(ckpti_config_set_job(&c, "-x", "fence", "30s", &err), -EPERM);
	assert_string_equal(err.text, "-x: fence: can be set in the site's file only");
	err.code = 0;
	assert_int_equal(ckpti_config_set_job(&c, "-x", "fense", "30s", &err), -ENOENT);

	assert_int_equal(ckpti_config_set_job(&c, "-d", "directory", "/s/%j", NULL), 0);
	assert_string_equal(c.directory, "/s/%j");
	assert_int_equal(ckpti_config_set_job(&c, "-d", "directory", "/s/%z", NULL), -EINVAL);
	assert_string_equal(c.directory, "/s/%j");
	ckpti_config_free(&c);
	put(user, NULL);
}

static int check_dir(const struct ckpti_config *c, const char *format)
{
	char path[256];

	(void)snprintf(path, sizeof(path), "%s%s", dir, format);
	return ckpti_config_check_job(c, 0, 0, path, NULL);
}

static void test_job_directory_is_below_the_allowed(void **state)
{
	struct ckpti_config c;
	struct ckpti_err err = {.code = 0};
	char path[256], target[256];

	(void)state;
	(void)snprintf(path, sizeof(path), "directories: [/nowhere/at/all, %s/ok/]\n", dir);
	put(site, path);
	load(&c);
	/* Not there yet: compared by name. */
	assert_int_equal(check_dir(&c, "/ok"), 0);
	assert_int_equal(check_dir(&c, "/ok/a/b"), 0);
	assert_int_equal(check_dir(&c, "/okay"), -ERANGE);
	assert_int_equal(check_dir(&c, "//./ok/"), 0);
	assert_int_equal(check_dir(&c, "/ok/../x"), -ENOENT);
	assert_int_equal(ckpti_config_check_job(&c, 0, 0, "/nowhere/at/all/x", &err), 0);
	assert_int_equal(ckpti_config_check_job(&c, 0, 0, "/", NULL), -ERANGE);

	/* There: links count as what they lead to. */
	(void)snprintf(path, sizeof(path), "%s/ok", dir);
	assert_int_equal(mkdir(path, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/ok/out", dir);
	assert_int_equal(symlink("/var", path), 0);
	assert_int_equal(check_dir(&c, "/ok/new/x"), 0);
	assert_int_equal(check_dir(&c, "/ok/out/x"), -ERANGE);
	assert_int_equal(check_dir(&c, "/ok/../ok/x"), 0);
	assert_int_equal(check_dir(&c, "/ok/.."), -ERANGE);
	assert_int_equal(unlink(path), 0);
	(void)snprintf(path, sizeof(path), "%s/link", dir);
	(void)snprintf(target, sizeof(target), "%s/ok", dir);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(check_dir(&c, "/link/x"), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(target), 0);

	assert_int_equal(ckpti_config_check_job(&c, 0, 0, "/var/x", &err), -ERANGE);
	assert_string_equal(err.text, "directory: /var/x is not below a directory that the site "
				      "allows, such as /nowhere/at/all");
	/* Numbers. */
	err.code = 0;
	assert_int_equal(ckpti_config_check_job(&c, 9, 0, NULL, &err), -ERANGE);
	assert_string_equal(err.text, "interval: 9s is shorter than the site allows, min_interval "
				      "is 10s");
	assert_int_equal(ckpti_config_check_job(&c, 10, 100, NULL, NULL), 0);
	assert_int_equal(ckpti_config_check_job(&c, CKPTI_CONFIG_AUTO, 101, NULL, NULL), -ERANGE);
	ckpti_config_free(&c);
}

static void test_user_path_is_of_the_password_database(void **state)
{
	char path[256], small[8];

	(void)state;
	if (geteuid() == 0) {
		assert_int_equal(setenv("HOME", "/somewhere/else", 1), 0);
		assert_int_equal(ckpti_config_user_path(path, sizeof(path), NULL), 0);
		assert_string_equal(path, "/root/.config/ckpt.yaml");
	}
	assert_int_equal(ckpti_config_user_path(small, sizeof(small), NULL),
			 getpwuid(geteuid()) ? -ENAMETOOLONG : -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults_without_files),
		cmocka_unit_test(test_every_type_is_read),
		cmocka_unit_test(test_user_replaces_site_within_limits),
		cmocka_unit_test(test_values_that_do_not_go_together),
		cmocka_unit_test(test_files_not_to_be_trusted),
		cmocka_unit_test(test_job_options),
		cmocka_unit_test(test_job_directory_is_below_the_allowed),
		cmocka_unit_test(test_user_path_is_of_the_password_database),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
