/* SPDX-License-Identifier: BSD-3-Clause */
#include "step.h"

#include <ckpt.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "text.h"

#define HELPER "ckpt-step"

bool ckpti_step_is_target(const struct ckpti_target *t)
{
	return t->type == P_ASH || t->type == P_JID;
}

static int missing(const struct ckpti_target *t, struct ckpti_err *err)
{
	if (!t)
		return ckpti_err(err, -ENOTSUP,
				 "the directory of a job step needs the program " HELPER
				 " (not found beside cpr or in " CKPT_LIBEXECDIR ")");
	return ckpti_err(err, -ENOTSUP,
			 "an id of type %s needs a Slurm job, and the program " HELPER
			 " (not found beside cpr or in " CKPT_LIBEXECDIR ")",
			 ckpti_text_type_name(t->type));
}

/* t: what it is for, NULL: a directory. */
static int find_helper(const struct ckpti_target *t, char *ret, size_t size, struct ckpti_err *err)
{
	static const char *const places[] = {"", "../libexec/ckpt/"};
	const char *named = getenv("CKPT_STEP_HELPER");
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

	if (named && *named) {
		(void)snprintf(ret, size, "%s", named);
		return access(ret, X_OK) == 0 ? 0
					      : ckpti_err(err, -ENOTSUP, "CKPT_STEP_HELPER: %s: %s",
							  named, strerror(errno));
	}
	while (n > 0 && exe[n - 1] != '/')
		n--;
	for (size_t i = 0; n > 0 && i < sizeof(places) / sizeof(places[0]); i++) {
		(void)snprintf(ret, size, "%.*s%s" HELPER, (int)n, exe, places[i]);
		if (access(ret, X_OK) == 0)
			return 0;
	}
	(void)snprintf(ret, size, "%s", CKPT_LIBEXECDIR "/" HELPER);
	return access(ret, X_OK) == 0 ? 0 : missing(t, err);
}

/* Nothing of what cpr -c can be told goes to a job, but for the end of its processes. */
static int check(const struct ckpti_cmd_opts *o, struct ckpti_err *err)
{
	if (o->ntarget != 1)
		return ckpti_err(err, -ENOTSUP, "one job or step at a time");
	if (o->dryrun || o->drive_fd >= 0)
		return ckpti_err(err, -ENOTSUP, "%s does not go with a job or step",
				 o->dryrun ? "--dry-run" : "--drive");
	return 0;
}

static bool next_char(int fd, char *ret)
{
	ssize_t n;

	do
		n = read(fd, ret, 1);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

/* Runs argv; the last line that it writes on stderr goes to `last`.  Wait status or -errno. */
static int run(char **argv, char *last, size_t size)
{
	int status = 0, end[2];
	size_t n = 0;
	char c;
	pid_t pid;

	if (pipe2(end, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid == 0) {
		(void)dup2(end[1], STDERR_FILENO);
		(void)execv(argv[0], argv);
		_exit(127);
	}
	(void)close(end[1]);
	for (bool fresh = true; pid > 0 && next_char(end[0], &c); fresh = c == '\n') {
		if (fresh && c != '\n')
			n = 0;
		if (c != '\n' && n + 1 < size)
			last[n++] = c;
	}
	last[n] = '\0';
	(void)close(end[0]);
	if (pid < 0)
		return -EAGAIN;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

int ckpti_step_create(const struct ckpti_cmd_opts *o, bool end_them, struct ckpti_err *err)
{
	const struct ckpti_target *t = &o->target[0];
	char helper[4200], id[32], dir[8300], cwd[4096] = "", last[256] = "";
	char *argv[] = {helper, (char *)"create", id, dir, end_them ? (char *)"kill" : NULL, NULL};
	uint64_t high = (uint64_t)t->id >> 32;
	int r = check(o, err);

	if (r == 0)
		r = find_helper(t, helper, sizeof(helper), err);
	if (r < 0)
		return r;
	if (high)
		(void)snprintf(id, sizeof(id), "%" PRIu64 ".%" PRIu32, high, (uint32_t)t->id);
	else
		(void)snprintf(id, sizeof(id), "%" PRId64, t->id);
	/* Who writes there has another working directory. */
	if (o->args[0][0] != '/' && !getcwd(cwd, sizeof(cwd)))
		return ckpti_err(err, -errno, "the working directory: %s", strerror(errno));
	(void)snprintf(dir, sizeof(dir), "ImageDir=%s%s%s", cwd, *cwd ? "/" : "", o->args[0]);
	if (o->result_fd == CKPTI_RESULT_NONE) {
		(void)execv(helper, argv);
		return ckpti_err(err, -errno, "%s: %s", helper, strerror(errno));
	}
	r = run(argv, last, sizeof(last));
	if (r < 0)
		return ckpti_err(err, r, "%s: %s", helper, strerror(-r));
	return r == 0 ? 0 : ckpti_err(err, -EREMOTEIO, "%s", *last ? last : HELPER " has failed");
}

bool ckpti_step_is_dir(const char *dir)
{
	char path[4200];

	(void)snprintf(path, sizeof(path), "%s/step", dir);
	return access(path, F_OK) == 0;
}

int ckpti_step_ask(const char *verb, const char *dir, struct ckpti_err *err)
{
	char helper[4200];
	char *argv[] = {helper, (char *)(uintptr_t)verb, (char *)(uintptr_t)dir, NULL};
	int r = find_helper(NULL, helper, sizeof(helper), err), status = 0;
	pid_t pid;

	if (r < 0)
		return r;
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)execv(helper, argv);
		(void)fprintf(stderr, "cpr: %s: %s\n", helper, strerror(errno));
		_exit(127);
	}
	if (pid < 0)
		return ckpti_err(err, -errno, "%s: %s", helper, strerror(errno));
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status == 0 ? 0 : -EREMOTEIO;
}
