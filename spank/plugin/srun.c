/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * srun: the coordinator of the step is started before the tasks are, and waited for at the end (link.h).
 *
 * srun has threads and handlers of its own.  posix_spawn() is safe there, and handlers are borrowed only while
 * the answer of the coordinator is awaited.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spank/plugin/link.h"
#include "spank/plugin/options.h"
#include "spank/plugin/plugin.h"
#include "spank/plugin/start.h"

extern char **environ;

static volatile sig_atomic_t interrupted;
static pid_t owner; /* a fork of srun has nothing to do with the coordinator */

static void say(bool refused, const char *text)
{
	if (refused)
		slurm_error("checkpoint: %s", text);
	else
		slurm_spank_log("srun: checkpoint: %s", text);
}

static struct ckpti_link coordinator = {.say = say, .what = "step", .interrupted = &interrupted};

/* What the user or a failed coordinator has left must not reach the tasks.  Set to nothing, not removed: srun
 * has a copy of the environment by now, to which it adds what is set later. */
static void clear_env(void)
{
	const size_t prefix = sizeof(CKPTI_PLUGIN_ENV) - 1;
	char name[128];

	for (char **e = environ; e && *e; e++) {
		size_t len = strcspn(*e, "=");

		if (strncmp(*e, CKPTI_PLUGIN_ENV, prefix) != 0 || len >= sizeof(name))
			continue;
		(void)snprintf(name, sizeof(name), "%.*s", (int)len, *e);
		(void)setenv(name, "", 1);
	}
}

/* ---- its answer, and its end -------------------------------------------------------------- */

static void note_interrupt(int number)
{
	interrupted = number;
}

/* A thread of srun waits for these signals, but has nothing that it could end before the launch: it would
 * forget them, and the step would run.  The main thread is given them first when it does not block them. */
static enum ckpti_link_answer await_answer(void)
{
	static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	const size_t n = sizeof(ends) / sizeof(ends[0]);
	struct sigaction act = {.sa_handler = note_interrupt}, old[sizeof(ends) / sizeof(ends[0])];
	const char *restarts = getenv("SLURM_RESTART_COUNT");
	enum ckpti_link_answer answer;
	sigset_t wake;

	coordinator.may_restart =
		restarts && atoi(restarts) > 0 && !ckpti_options_get(CKPTI_OPT_FRESH);
	(void)pthread_sigmask(SIG_SETMASK, NULL, &wake);
	(void)sigemptyset(&act.sa_mask);
	for (size_t i = 0; i < n; i++) {
		(void)sigaction(ends[i], &act, &old[i]);
		(void)sigdelset(&wake, ends[i]);
	}
	coordinator.wake = &wake;
	answer = ckpti_link_answer(&coordinator);
	coordinator.wake = NULL;
	for (size_t i = 0; i < n; i++)
		(void)sigaction(ends[i], &old[i], NULL);
	interrupted = 0;
	return answer;
}

void ckpti_srun_exit(void)
{
	if (coordinator.pid > 0 && owner == getpid())
		ckpti_link_end(&coordinator);
}

/* ---- start -------------------------------------------------------------------------------- */

/* Parts of a heterogeneous step have colons between them.  The program's arguments may have some, too. */
static bool has_colon(void)
{
	struct ckpti_cmdline c;
	bool found = false;

	if (ckpti_cmdline_read(&c) < 0)
		return true;
	for (int i = 0; i < c.n; i++)
		found = found || strcmp(c.word[i], ":") == 0;
	ckpti_cmdline_free(&c);
	return found;
}

void ckpti_srun_options_done(void)
{
	static int calls; /* one for each part of a heterogeneous step, but perhaps twice */
	const char *parts = getenv("SLURM_HET_SIZE");

	ckpti_vacated_note();
	ckpti_options_from_srun_env();
	calls++;
	if (ckpti_options_any() && ((calls > 1 && has_colon()) || (parts && atoi(parts) > 1))) {
		slurm_error("checkpoint: heterogeneous jobs cannot be checkpointed");
		/* Failures of an optional plugin do not end srun. */
		exit(ckpti_plugin_exit_error());
	}
}

/* Descriptors in the child: nothing on 0 and 1, our stderr, status on 3, life on 4; it closes the rest. */
static int spawn(char *path, char *argv[], int status, int life)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r = posix_spawn_file_actions_init(&files);

	if (r)
		return -r;
	r = posix_spawnattr_init(&attr);
	if (r) {
		(void)posix_spawn_file_actions_destroy(&files);
		return -r;
	}
	(void)sigemptyset(&none);
	(void)sigfillset(&all);
	(void)posix_spawnattr_setsigmask(&attr, &none);
	(void)posix_spawnattr_setsigdefault(&attr, &all);
	(void)posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
						      POSIX_SPAWN_SETSID);
	r = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, status, CKPTI_LINK_STATUS);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&files, life, CKPTI_LINK_LIFE);
	if (r == 0)
		r = posix_spawn(&coordinator.pid, path, &files, &attr, argv, environ);
	if (r)
		coordinator.pid = 0;
	(void)posix_spawnattr_destroy(&attr);
	(void)posix_spawn_file_actions_destroy(&files);
	return -r;
}

static int start_coordinator(char *path, char *argv[])
{
	int status, life, r = ckpti_link_open(&coordinator, &status, &life);

	if (r < 0)
		return r;
	r = spawn(path, argv, status, life);
	(void)close(status);
	(void)close(life);
	if (r < 0) {
		(void)close(coordinator.status_fd);
		(void)close(coordinator.life_fd);
	}
	owner = getpid();
	return r;
}

void ckpti_srun_start(spank_t sp, const struct ckpti_plugin_conf *conf)
{
	char path[PATH_MAX], **argv = NULL;
	int r;

	clear_env();
	if (coordinator.pid > 0 || (!conf->always && !ckpti_options_any()))
		return;
	if (conf->unknown)
		slurm_spank_log("srun: checkpoint: plugstack.conf: unknown argument '%s', ignoring",
				conf->unknown);
	if (!ckpti_options_any() && getenv("SLURM_HET_SIZE"))
		return; /* nobody asked; who did has been refused already */
	(void)snprintf(path, sizeof(path), "%s/ckpt-coordinator", conf->libexec);
	r = ckpti_start_argv(sp, conf, path, &argv);
	if (r == 0)
		r = start_coordinator(path, argv);
	ckpti_start_free(argv);
	if (r < 0) {
		slurm_spank_log("srun: checkpoint: cannot start %s: %s, "
				"the step runs without checkpoints",
				path, strerror(-r));
		return;
	}
	switch (await_answer()) {
	case CKPTI_LINK_READY:
		break;
	case CKPTI_LINK_WITHOUT:
		ckpti_link_give_up(&coordinator);
		clear_env();
		break;
	case CKPTI_LINK_REFUSED:
		/* srun that ends here would leave its step in the allocation for good; so it is launched,
		 * and its tasks end before they are the program. */
		ckpti_link_give_up(&coordinator);
		clear_env();
		(void)setenv(CKPTI_PLUGIN_REFUSED, "1", 1);
		break;
	}
}
