/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shell of a batch script, before its exec, already its user.  It is not prepared; but `cpr run` in
 * it is told by CKPT_LAUNCHER how to make a step of its program, and something is started beside it that
 * says so when no step ever comes.
 */
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "spank/plugin/plugin.h"

#define BATCH_SCRIPT 0xfffffffbU /* SLURM_BATCH_SCRIPT */

/* Options as sbatch hands them on: Slurm's variables for those that it was given, ours for those that came
 * from its environment. */
static bool is_option(const char *pair)
{
	static const char *const prefixes[] = {"SLURM_SPANK__SLURM_SPANK_OPTION_spank_ckpt_",
					       "SLURM_SPANK_CKPT_"};

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (strncmp(pair, prefixes[i], strlen(prefixes[i])) == 0)
			return true;
	}
	return false;
}

/* In the new process, which shares nothing but was not made by fork(): system calls only. */
static void be_watch(char *argv[], char *envp[])
{
	struct sigaction deflt = {.sa_handler = SIG_DFL};
	sigset_t none;
	int null;

	for (int i = 1; i < NSIG; i++)
		(void)sigaction(i, &deflt, NULL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0) {
		(void)syscall(SYS_close_range, STDERR_FILENO + 1, ~0U, 0);
		(void)execve(argv[0], argv, envp);
	}
	_exit(127);
}

static void start_watch(const char *path, const char *const option[3], char *envp[])
{
	char *argv[] = {(char *)(uintptr_t)path,       (char *)(uintptr_t)option[0],
			(char *)(uintptr_t)option[1],  (char *)(uintptr_t)option[2],
			(char *)(uintptr_t) "--watch", NULL};

	/* A sibling of the script, so that the script never waits for it; slurmstepd ends it. */
	if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, 0) == 0)
		be_watch(argv, envp);
}

void ckpti_batch_begin(spank_t sp, const struct ckpti_plugin_conf *conf)
{
	char path[PATH_MAX], option[3][PATH_MAX + 16], launcher[5 * PATH_MAX], **env = NULL;
	uint32_t step;
	bool asked = false;

	if (spank_get_item(sp, S_JOB_STEPID, &step) != ESPANK_SUCCESS || step != BATCH_SCRIPT ||
	    spank_get_item(sp, S_JOB_ENV, &env) != ESPANK_SUCCESS)
		return;
	for (char **e = env; *e; e++)
		asked = asked || is_option(*e);
	if (!asked && !conf->always)
		return;
	(void)snprintf(path, sizeof(path), "%s/ckpt-batch", conf->libexec);
	(void)snprintf(option[0], sizeof(option[0]), "--bindir=%s", conf->bindir);
	(void)snprintf(option[1], sizeof(option[1]), "--libdir=%s", conf->libdir);
	(void)snprintf(option[2], sizeof(option[2]), "--config=%s", conf->config);
	if (access(path, X_OK) < 0)
		return; /* `cpr run` does what it does elsewhere */
	(void)snprintf(launcher, sizeof(launcher), "%s %s %s %s", path, option[0], option[1],
		       option[2]);
	(void)spank_setenv(sp, CKPTI_PLUGIN_LAUNCHER, launcher, 1);
	if (asked && spank_get_item(sp, S_JOB_ENV, &env) == ESPANK_SUCCESS)
		start_watch(path, (const char *const[]){option[0], option[1], option[2]}, env);
}
