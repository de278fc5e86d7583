/* SPDX-License-Identifier: BSD-3-Clause */
/* Each thing that can be wrong in a file, with the exact message. */
#include "config_fixture.h"

#include <errno.h>

struct wrong {
	const char *text, *message;
};

static void each(const struct wrong *w, size_t n, const char *path)
{
	for (size_t i = 0; i < n; i++) {
		put(path, w[i].text);
		refuse(strstr(w[i].message, "can be set in") ? -EPERM : -EINVAL, w[i].message);
	}
}
#define EACH(w, path) each(w, sizeof(w) / sizeof((w)[0]), path)

static void test_keys_wrong_refused(void **state)
{
	static const struct wrong w[] = {
		{"# a comment\nintervall: 5\n",
		 "site.yaml:2:1: unknown key 'intervall', did you mean 'interval'?"},
		{"exprie: 3d\n", "site.yaml:1:1: unknown key 'exprie', did you mean 'expire'?"},
		{"node-local: []\n",
		 "site.yaml:1:1: unknown key 'node-local', did you mean 'node_local'?"},
		{"Keep: 3\n", "site.yaml:1:1: unknown key 'Keep', did you mean 'keep'?"},
		{"nothing_like_it: 3\n", "site.yaml:1:1: unknown key 'nothing_like_it'"},
		{"\"\": 3\n", "site.yaml:1:1: unknown key ''"},
		{"keep: 1\nfence: 30s\nkeep: 1\n", "site.yaml:3:1: 'keep' is there a second time"},
		{"{keep: 1, fence: 30s, keep: 1}", "site.yaml:1:23: 'keep' is there a second time"},
		{"site_writers:\n  cuont: 3\n",
		 "site.yaml:2:3: unknown key 'cuont', did you mean 'count'?"},
		{"site_writers:\n  keep: 3\n", "site.yaml:2:3: unknown key 'keep'"},
		{"site_writers.count: 3\n",
		 "site.yaml:1:1: unknown key 'site_writers.count', did you mean 'site_writers'?"},
		{"site_writers: 3\n",
		 "site.yaml:1:15: site_writers: has keys of its own, such as 'directory'"},
		{"site_writers: {}\nsite_writers: {}\n",
		 "site.yaml:2:1: 'site_writers' is there a second time"},
		{"site_writers:\n    site_writers: {count: 1}\n",
		 "site.yaml:2:5: unknown key 'site_writers'"},
		{"count: 3\n", "site.yaml:1:1: unknown key 'count'"},
		{"? [a]\n: 3\n", "site.yaml:1:3: the name of a key is needed here"},
		{"hook: /bin/true\n", "site.yaml:1:7: hook: can be set in the user's file only"},
		{"signal: USR1\n",
		 "site.yaml:1:9: signal: can be set in the user's file and options of the job only"},
	};
	static const struct wrong by_user[] = {
		{"interval: 1h\nfence: 60s\n",
		 "user.yaml:2:8: fence: can be set in the site's file only"},
		{"node_local: []\n",
		 "user.yaml:1:13: node_local: can be set in the site's file only"},
		{"site_writers: {count: 1}\n",
		 "user.yaml:1:23: site_writers.count: can be set in the site's file only"},
	};

	(void)state;
	EACH(w, site);
	put(site, NULL);
	EACH(by_user, user);
	put(user, NULL);
}

static void test_values_wrong_refused(void **state)
{
	static const struct wrong w[] = {
		{"disabled: maybe\n", "site.yaml:1:11: disabled: 'maybe' is neither yes nor no"},
		{"restart_pids: cap\n",
		 "site.yaml:1:15: restart_pids: 'cap' is none of: userns off"},
		{"keep: 0\n", "site.yaml:1:7: keep: '0' is not a number from 1 to 10000"},
		{"keep: -1\n", "site.yaml:1:7: keep: '-1' is not a number from 1 to 10000"},
		{"keep: 0x10\n", "site.yaml:1:7: keep: '0x10' is not a number from 1 to 10000"},
		{"keep: 4294967298\n",
		 "site.yaml:1:7: keep: '4294967298' is not a number from 1 to 10000"},
		{"keep: 18446744073709551618\n",
		 "site.yaml:1:7: keep: '18446744073709551618' is not a number from 1 to 10000"},
		{"keep:\n", "site.yaml:1:6: keep: the value is missing"},
		{"keep: ~\n", "site.yaml:1:7: keep: the value is missing"},
		{"keep: [1]\n", "site.yaml:1:7: keep: one value is needed"},
		{"keep: {a: 1}\n", "site.yaml:1:7: keep: one value is needed"},
		{"interval: 30q\n", "site.yaml:1:11: interval: '30q' is not a time such as 30s, 5m "
				    "or 1:30:00, or never"},
		{"copy_limit: 5X\n",
		 "site.yaml:1:13: copy_limit: '5X' is not a size such as 512K, 64M or 2G"},
		{"copy_limit: 99999999999T\n",
		 "site.yaml:1:13: copy_limit: '99999999999T' is not a "
		 "size such as 512K, 64M or 2G"},
		{"reserve: 100%\n",
		 "site.yaml:1:10: reserve: '100%' is neither a size such as 2G nor 0% to 99%"},
		{"ports: 60100-60001\n", "site.yaml:1:8: ports: '60100-60001' is no range of ports "
					 "such as 60001-60100"},
		{"ports: 1-65536\n",
		 "site.yaml:1:8: ports: '1-65536' is no range of ports such as 60001-60100"},
		{"directories: /scratch\n",
		 "site.yaml:1:14: directories: a list is needed, such as [a, b]"},
		{"directories: [/a, b]\n",
		 "site.yaml:1:19: directories: 'b' is not an absolute path"},
		{"directories: [/a, [/b]]\n",
		 "site.yaml:1:19: directories: a list within the list"},
		{"directory: /s/%q\n",
		 "site.yaml:1:12: directory: '%q' in '/s/%q' is none of: %j %s %u %n %%"},
		{"directory: /s/%\n",
		 "site.yaml:1:12: directory: '%' in '/s/%' is none of: %j %s %u %n %%"},
		{"directory: ''\n", "site.yaml:1:12: directory: an empty directory"},
		{"directory: \"a\\nb\"\n",
		 "site.yaml:1:12: a line break, tab or other control character"},
		{"directory: \"a\\0b\"\n",
		 "site.yaml:1:12: a line break, tab or other control character"},
		{"directory: \"\\e[2J\"\n",
		 "site.yaml:1:12: a line break, tab or other control character"},
	};
	static const struct wrong by_user[] = {
		{"file_policy: ['*.log']\n",
		 "user.yaml:1:15: file_policy: '*.log' is not GLOB=ACTION"},
		{"file_policy: ['*.log=eat']\n",
		 "user.yaml:1:15: file_policy: 'eat' is none of: merge ignore append replace "
		 "substitute relocate"},
		{"hook: mail.sh\n", "user.yaml:1:7: hook: 'mail.sh' is not an absolute path"},
		{"signal: KILL\n",
		 "user.yaml:1:9: signal: 'KILL' is none of: none HUP USR1 USR2 ALRM URG WINCH"},
	};

	(void)state;
	EACH(w, site);
	/* Times out of their range have a code of their own. */
	put(site, "fence: 30\n");
	refuse(-ERANGE,
	       "site.yaml:1:8: fence: '30' is not a time from 5s to 20m (a plain number is "
	       "minutes)");
	put(site, "fence: 1s\n");
	refuse(-ERANGE, "site.yaml:1:8: fence: '1s' is not a time from 5s to 20m");
	put(site, "fence: never\n");
	refuse(-ERANGE, "site.yaml:1:8: fence: 'never' is not a time from 5s to 20m");
	put(site, "expire: auto\n");
	refuse(-ERANGE, "site.yaml:1:9: expire: 'auto' is not a time from 1h to 3650d");
	put(site, NULL);
	EACH(by_user, user);
	put(user, NULL);
}

static void test_yaml_beyond_the_plain_refused(void **state)
{
	static const struct wrong w[] = {
		{"keep: &two 2\n", "site.yaml:1:7: anchors are not allowed"},
		{"&a keep: 2\n", "site.yaml:1:1: anchors are not allowed"},
		{"&a {keep: 2}\n", "site.yaml:1:1: anchors are not allowed"},
		{"directories: &a [/x]\n", "site.yaml:1:14: anchors are not allowed"},
		{"keep: *two\n", "site.yaml:1:7: aliases are not allowed"},
		{"keep: !!int 2\n", "site.yaml:1:7: tags are not allowed"},
		{"directories: !mine [/x]\n", "site.yaml:1:14: tags are not allowed"},
		{"<<: {keep: 2}\n", "site.yaml:1:1: unknown key '<<'"},
		{"keep: 1\n---\nkeep: 2\n", "site.yaml:2:1: a second document"},
		{"[keep]\n", "site.yaml:1:1: lines 'key: value' are needed"},
		{"keep\n", "site.yaml:1:1: lines 'key: value' are needed"},
		{"keep: \xff\n", "site.yaml:1:1: invalid leading UTF-8 octet"},
	};

	(void)state;
	EACH(w, site);
	put(site, NULL);
}

/* What libyaml itself finds: its words, but our place. */
static void test_yaml_syntax_has_line_and_column(void **state)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_config c;
	char place[128];

	(void)state;
	put(site, "keep: 2\ndirectories: [/a\nfence: 30s\n");
	assert_int_equal(ckpti_config_load(site, NULL, &c, &err), -EINVAL);
	(void)snprintf(place, sizeof(place), "%s:3:6: ", site);
	assert_memory_equal(err.text, place, strlen(place));
	put(site, NULL);
}

static void test_yaml_nothing_in_it_is_defaults(void **state)
{
	static const char *const texts[] = {
		"", "# comment\n", "---\n", "--- ~\n...\n", "{}\n", "%YAML 1.1\n---\nkeep: 2\n"};
	struct ckpti_config c;

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put(site, texts[i]);
		load(&c);
		assert_int_equal(c.keep, 2);
		ckpti_config_free(&c);
	}
	put(site, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keys_wrong_refused),
		cmocka_unit_test(test_values_wrong_refused),
		cmocka_unit_test(test_yaml_beyond_the_plain_refused),
		cmocka_unit_test(test_yaml_syntax_has_line_and_column),
		cmocka_unit_test(test_yaml_nothing_in_it_is_defaults),
	};

	return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
