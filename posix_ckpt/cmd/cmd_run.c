/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cpr run: put libckpt into the environment of a command and become it.  There is no fork: whoever
 * started `cpr run` is the parent of the command, and its pid is the one that was returned to him.
 *
 * With CKPT_RESTART=DIR in the environment the same command line restarts from DIR instead, so that
 * any launcher (a shell, srun, mpirun) that can start a program can also restart it.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "cmd.h"
#include "mpirun.h"
#include "program.h"
#include "util/launch.h"

#define SET_DIGITS 16 /* of a CKPT_SET */
#define LIBRARY    "libckpt.so.0"

/* As a shell has it. */
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND  127

/* A library that belongs to this executable: beside it in a build tree, in the sister folder in an
 * installed one, wherever the tree was moved to. */
static bool find_library(const char *name, char *ret, size_t size)
{
	static const char *const places[] = {"", "../lib/", "../lib/x86_64-linux-gnu/",
					     "../lib64/"};
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	while (n > 0 && exe[n - 1] != '/')
		n--;
	for (size_t i = 0; n > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
		(void)snprintf(ret, size, "%.*s%s%s", (int)n, exe, places[i], name);
		if (access(ret, R_OK) == 0)
			return true;
	}
	(void)snprintf(ret, size, "%s/%s", CKPT_LIBDIR, name);
	return access(ret, R_OK) == 0;
}

/* In front of a list of ld.so's, unless it is there: `cpr run` below `cpr run`. */
static int put_first(const char *variable, const char *lib, struct ckpti_err *err)
{
	const char *old = getenv(variable);
	size_t len = strlen(lib);
	char *value = NULL;
	int r;

	/* ld.so splits the list there. */
	if (strpbrk(lib, " :"))
		return ckpti_err(err, -ENOEXEC,
				 "%s: a path with a space or colon cannot be preloaded", lib);
	if (!old || !*old)
		return setenv(variable, lib, 1) < 0 ? -errno : 0;
	if (strncmp(old, lib, len) == 0 && strchr(": ", old[len]))
		return 0; /* strchr() finds the NUL, too */
	if (asprintf(&value, "%s:%s", lib, old) < 0)
		return -ENOMEM;
	r = setenv(variable, value, 1) < 0 ? -errno : 0;
	free(value);
	return r;
}

/* Where programs look for Open MPI they find the shim, if the MPI side is installed. */
static int set_mpi(struct ckpti_err *err)
{
	char look[4400], shim[4400];

	if (!find_library("ckpt-mpi/ckpt-look.so", look, sizeof(look)) ||
	    !find_library("ckpt-mpi/libmpi.so.40", shim, sizeof(shim)))
		return 0;
	if (setenv("CKPT_MPI_LIB", shim, 1) < 0)
		return -errno;
	return put_first("LD_AUDIT", look, err);
}

static int set_preload(struct ckpti_err *err)
{
	char lib[4400];
	int r;

	if (!find_library(LIBRARY, lib, sizeof(lib)))
		return ckpti_err(err, -ENOEXEC,
				 LIBRARY ": not found beside cpr or in " CKPT_LIBDIR);
	r = put_first("LD_PRELOAD", lib, err);
	return r < 0 ? r : set_mpi(err);
}

/* A command that runs in a set already joins it. */
static int set_identity(void)
{
	unsigned char raw[8];
	char hex[17];

	if (getenv("CKPT_SET"))
		return 0;
	if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
		return -EIO;
	for (size_t i = 0; i < sizeof(raw); i++)
		(void)snprintf(hex + 2 * i, 3, "%02x", raw[i]);
	return setenv("CKPT_SET", hex, 1) < 0 ? -errno : 0;
}

/* A command that runs in a set already is part of its launch. */
static int set_cpus(void)
{
	char list[8192];

	if (getenv("CKPT_SET") && getenv(CKPTI_LAUNCH_CPUS))
		return 0;
	if (ckpti_launch_cpus_format(list, sizeof(list)) < 0)
		return unsetenv(CKPTI_LAUNCH_CPUS) < 0 ? -errno : 0;
	return setenv(CKPTI_LAUNCH_CPUS, list, 1) < 0 ? -errno : 0;
}

/* What has the environment of the launch, for all lives of the set; no program fails for want of it. */
static void set_launch_file(const struct ckpti_cmd_opts *o, bool in_set)
{
	struct ckpti_launch_file file;
	char usual[64] = "";
	const char *path = getenv(CKPTI_LAUNCH_FILE);
	int r = ckpti_launch_file_name(getenv("CKPT_SET"), usual, sizeof(usual));
	/* A usual name is this set's, or it was inherited from another one. */
	bool named = path && (r < 0 || strncmp(path, usual, strlen(usual) - SET_DIGITS) != 0);

	if (path && in_set && (named || strcmp(path, usual) == 0) && access(path, F_OK) == 0)
		return;
	if (named)
		r = 0;
	else
		path = usual;
	if (r == 0)
		r = ckpti_launch_file_write(path, environ, 0, 0, &file);
	if (r == 0) {
		(void)setenv(CKPTI_LAUNCH_FILE, path, 1);
		return;
	}
	if (!o->quiet)
		(void)fprintf(stderr, "cpr: run: no " CKPTI_LAUNCH_FILE ": %s: %s\n", path,
			      strerror(-r));
	(void)unsetenv(CKPTI_LAUNCH_FILE);
}

static int restart_instead(const struct ckpti_cmd_opts *o, const char *dir, int rank)
{
	struct ckpti_cmd_opts again = *o;
	char *copy = strdup(dir);
	int status;

	if (!copy)
		return CKPTI_EXIT_FAILED;
	(void)unsetenv("CKPT_RESTART"); /* else what is restarted would restart again */
	again.verb = CKPTI_VERB_RESTART;
	again.args = &copy;
	again.nargs = 1;
	if (rank >= 0 && ckpti_mpirun_is_dir(dir))
		status = ckpti_mpirun_restart_rank(&again, copy, rank);
	else
		status = ckpti_cmd_restart(&again);
	free(copy);
	return status;
}

/*
 * Who has made our surroundings, a batch system for example, may have a way of its own to start programs
 * that are checkpointed: the words in CKPT_LAUNCHER, with the command behind them.  It calls us again, without
 * the variable, for what it cannot do.  Inside of a set there is somebody who does it already.
 */
static void become_launcher(const struct ckpti_cmd_opts *o)
{
	const char *text = getenv("CKPT_LAUNCHER");
	char *copy, *save = NULL, **argv;
	size_t n = 0;

	if (!text || !*text || getenv("CKPT_SET") || o->run_dir || o->nargs == 0)
		return;
	copy = strdup(text);
	argv = calloc(strlen(text) / 2 + 1 + (size_t)o->nargs + 3, sizeof(*argv));
	if (copy && argv) {
		for (char *word = strtok_r(copy, " ", &save); word;
		     word = strtok_r(NULL, " ", &save))
			argv[n++] = word;
		if (o->quiet)
			argv[n++] = (char *)"--quiet";
		argv[n++] = (char *)"--";
		memcpy(argv + n, o->args, (size_t)o->nargs * sizeof(*argv));
		(void)execv(argv[0], argv);
		(void)fprintf(stderr, "cpr: run: CKPT_LAUNCHER: %s: %s\n", argv[0],
			      strerror(errno));
	}
	free(argv);
	free(copy);
}

int ckpti_run_become(const struct ckpti_cmd_opts *o)
{
	struct ckpti_err err = {.code = 0};
	const bool in_set = getenv("CKPT_SET") != NULL;
	int r;

	r = ckpti_mpirun_prepare(o->args[0], &err);
	if (r == -ENOTSUP && !o->quiet)
		(void)fprintf(stderr, "cpr: run: %s: %s\n", o->args[0], err.text);
	if (r == -ENOTSUP)
		r = 0;
	if (r == 0)
		r = set_preload(&err);
	if (r == 0)
		r = set_cpus();
	if (r == 0)
		r = set_identity();
	if (r == 0 && o->run_dir && setenv("CKPT_DIR", o->run_dir, 1) < 0)
		r = -errno;
	if (r < 0)
		return ckpti_report_error(o, r, &err);
	set_launch_file(o, in_set);

	(void)execvp(o->args[0], o->args);
	r = errno;
	(void)fprintf(stderr, "cpr: run: %s: %s\n", o->args[0], strerror(r));
	return r == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
}

int ckpti_cmd_run(const struct ckpti_cmd_opts *o)
{
	const char *dir = getenv("CKPT_RESTART"), *why;
	int rank = ckpti_mpirun_own_rank();

	if (dir && *dir)
		return restart_instead(o, dir, rank);
	if (o->nargs == 0) {
		(void)fprintf(stderr, "cpr: run: no command, and CKPT_RESTART is empty\n");
		return CKPTI_EXIT_USAGE;
	}
	why = ckpti_program_obstacle(o->args[0]);
	if (why && !o->quiet)
		(void)fprintf(stderr, "cpr: run: %s: cannot be checkpointed: %s\n", o->args[0],
			      why);
	if (!why)
		become_launcher(o);
	return ckpti_run_become(o);
}
