/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where cpr is, and with which environment it runs.  It must not become part of the set that it is
 * about to stop, so nothing that brings our agent into a program is handed on.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api_private.h"
#include "api/helper.h"

#ifndef CKPT_BINDIR
#define CKPT_BINDIR "/usr/bin"
#endif

/* From the directory of libckpt.so: build tree, then lib/ and lib/x86_64-linux-gnu/ beside bin/. */
static const char *const beside[] = {"cpr", "../bin/cpr", "../../bin/cpr"};

static const char *const not_for_cpr[] = {"LD_PRELOAD=", "LD_AUDIT=", "CKPT_SET="};

static bool try_path(char *ret, const char *dir, int dirlen, const char *name)
{
	int n = snprintf(ret, PATH_MAX, "%.*s/%s", dirlen, dir, name);

	return n < PATH_MAX && access(ret, X_OK) == 0;
}

int ckpti_helper_locate(char *ret, struct ckpti_err *err)
{
	const char *env = secure_getenv("CKPT_CPR");
	const char *slash;
	Dl_info info;

	if (env && env[0]) {
		if (snprintf(ret, PATH_MAX, "%s", env) < PATH_MAX && access(ret, X_OK) == 0)
			return 0;
		return ckpti_err_obj(err, -ENOPKG, 0, env, "CKPT_CPR names no program: '%s'", env);
	}
	if (dladdr(&cpr_flags, &info) && info.dli_fname) {
		slash = strrchr(info.dli_fname, '/');
		for (size_t i = 0; slash && i < sizeof(beside) / sizeof(beside[0]); i++) {
			if (try_path(ret, info.dli_fname, (int)(slash - info.dli_fname), beside[i]))
				return 0;
		}
	}
	if (try_path(ret, CKPT_BINDIR, (int)strlen(CKPT_BINDIR), "cpr"))
		return 0;
	return ckpti_err_obj(
		err, -ENOPKG, 0, "cpr",
		"the program cpr was found neither beside libckpt.so nor in " CKPT_BINDIR);
}

static bool wanted(const char *var)
{
	for (size_t i = 0; i < sizeof(not_for_cpr) / sizeof(not_for_cpr[0]); i++) {
		if (strncmp(var, not_for_cpr[i], strlen(not_for_cpr[i])) == 0)
			return false;
	}
	return true;
}

char **ckpti_helper_environ(void)
{
	size_t n = 0;
	char **env;

	while (environ && environ[n])
		n++;
	env = calloc(n + 1, sizeof(*env));
	if (!env)
		return NULL;
	for (size_t i = 0, k = 0; i < n; i++) {
		if (wanted(environ[i]))
			env[k++] = environ[i];
	}
	return env;
}
