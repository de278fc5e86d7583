/* SPDX-License-Identifier: BSD-3-Clause */
/* Settings files in a directory of the test's own. */
#ifndef CKPT_TESTS_CONFIG_FIXTURE_H
#define CKPT_TESTS_CONFIG_FIXTURE_H

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

#include "config/config.h"

static char dir[64], site[96], user[128];

static inline int fixture_setup(void **state)
{
	(void)state;
	(void)strcpy(dir, "/tmp/ckpt-config.XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	(void)snprintf(site, sizeof(site), "%s/site.yaml", dir);
	(void)snprintf(user, sizeof(user), "%s/user.yaml", dir);
	return 0;
}

static inline int fixture_teardown(void **state)
{
	(void)state;
	(void)unlink(site);
	(void)unlink(user);
	return rmdir(dir);
}

/* The file with this text, or none for NULL. */
static inline void put(const char *path, const char *text)
{
	FILE *f;

	(void)unlink(path);
	if (!text)
		return;
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

/* Load what `site` and `user` hold and demand that it works. */
static inline void load(struct ckpti_config *c)
{
	struct ckpti_err err = {.code = 0};
	int r = ckpti_config_load(site, user, c, &err);

	if (r < 0)
		print_error("%s\n", err.text);
	assert_int_equal(r, 0);
	assert_int_equal(err.code, 0);
}

/* The same, but it must fail with `code` and a text that ends like this, behind the directory. */
static inline void refuse(int code, const char *end)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_config c, untouched;
	const char *text = err.text;

	memset(&c, 0x5a, sizeof(c));
	memset(&untouched, 0x5a, sizeof(untouched));
	assert_int_equal(ckpti_config_load(site, user, &c, &err), code);
	assert_memory_equal(&c, &untouched, sizeof(c));
	if (strncmp(text, dir, strlen(dir)) == 0)
		text += strlen(dir) + 1;
	assert_string_equal(text, end);
}

#endif
