/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt-batch [--quiet] -- COMMAND: start reading here; batch.h says what it is.
 *
 * The plugin names it in CKPT_LAUNCHER for batch scripts of jobs that want checkpoints, and
 * `cpr run` executes it in its place.  Where no step can be made it executes `cpr run` again.
 */
#include <argp.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank/batch/batch.h"
#include "spank/lib/registry.h"
#include "spank/plugin/plugin.h"

#define CANNOT_RUN 126

enum {
	KEY_BINDIR = 0x100,
	KEY_LIBDIR,
	KEY_CONFIG,
	KEY_QUIET,
	KEY_WATCH
};

static const struct argp_option options[] = {
	{"bindir", KEY_BINDIR, "DIR", 0, "Where cpr is", 0},
	{"libdir", KEY_LIBDIR, "DIR", 0, "Where libckpt.so.0 is", 0},
	{"config", KEY_CONFIG, "FILE", 0, "Settings of the site", 0},
	{"quiet", KEY_QUIET, NULL, 0, "Print failures only", 0},
	{"watch", KEY_WATCH, NULL, 0, "Run nothing: say when the job has no step", 0},
	{0},
};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct ckpti_batch *b = state->input;

	switch (key) {
	case KEY_BINDIR:
		b->bindir = arg;
		return 0;
	case KEY_LIBDIR:
		b->libdir = arg;
		return 0;
	case KEY_CONFIG:
		b->config = arg;
		return 0;
	case KEY_QUIET:
		b->quiet = true;
		return 0;
	case KEY_WATCH:
		b->watch = true;
		return 0;
	case ARGP_KEY_ARGS:
		b->command = state->argv + state->next;
		return 0;
	case ARGP_KEY_END:
		if (!b->bindir || !b->libdir || !b->config || (!b->command && !b->watch))
			argp_error(state, "--bindir, --libdir, --config and a command are needed");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static void find_ourselves(struct ckpti_batch *b)
{
	ssize_t n = readlink("/proc/self/exe", b->libexec, sizeof(b->libexec) - 1);
	char *slash;

	b->libexec[n > 0 ? n : 0] = '\0';
	slash = strrchr(b->libexec, '/');
	if (slash)
		*slash = '\0';
}

/* As it would be without us. */
static int run_plain(const struct ckpti_batch *b)
{
	char cpr[PATH_MAX];

	ckpti_batch_clear_env();
	ckpti_batch_exec_run(b, cpr);
	(void)fprintf(stderr, "cpr: run: %s: %s\n", cpr, strerror(errno));
	return CANNOT_RUN;
}

/* What waits for us sees what it would have seen of the program. */
static int end_like(int status)
{
	const struct rlimit no_core = {0, 0};
	sigset_t set;
	int sig;

	if (!WIFSIGNALED(status))
		return WEXITSTATUS(status);
	sig = WTERMSIG(status);
	(void)setrlimit(RLIMIT_CORE, &no_core);
	(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, sig);
	(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
	(void)raise(sig);
	return 128 + sig;
}

const char *argp_program_version = "ckpt-batch (posix-ckpt) " CKPT_VERSION;

int main(int argc, char **argv)
{
	static struct ckpti_batch b = {.page_fd = -1};
	static const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.args_doc = "-- COMMAND...",
		.doc = "Run a program in a batch script as a step that is checkpointed. `cpr run` "
		       "starts it; see ckpt-batch(8).",
	};
	struct ckpti_err err = {.code = 0};
	int status;

	argp_err_exit_status = 2;
	(void)argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &b);
	/* Messages are those of the command that the user has written. */
	program_invocation_short_name = (char *)(uintptr_t) "cpr";
	(void)unsetenv("CKPT_LAUNCHER");
	ckpti_vacated_note();
	find_ourselves(&b);
	if (!ckpti_batch_surroundings(&b))
		return b.watch ? EXIT_SUCCESS : run_plain(&b);
	ckpti_batch_ask_lives(&b);
	if (b.watch)
		return ckpti_batch_watch(&b);
	if (ckpti_batch_make_page(&b, &err) < 0) {
		(void)fprintf(stderr, "cpr: run: %s, the program runs without checkpoints\n",
			      err.text);
		return run_plain(&b);
	}
	switch (ckpti_batch_coordinate(&b)) {
	case CKPTI_LINK_WITHOUT:
		return run_plain(&b);
	case CKPTI_LINK_REFUSED:
		return EXIT_FAILURE;
	case CKPTI_LINK_READY:
		break;
	}
	status = ckpti_batch_task(&b);
	ckpti_batch_ended(&b, status);
	ckpti_batch_coordinate_end();
	return end_like(status);
}
