/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program itself, in a child, or `cpr -r` that makes it anew.
 *
 * The script knows our process number and may send signals to it: they are handed on.  Slurm sends
 * its signals to every process of the job, so that the program has those already.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spank/batch/batch.h"
#include "spank/lib/step.h"
#include "spank/plugin/plugin.h"
#include "util/launch.h"

#define CANNOT_RUN   126
#define NOT_FOUND    127
#define MAX_FENCE_MS 7200000U

static const int handed_on[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1,
				SIGUSR2, SIGALRM, SIGURG,  SIGWINCH};

static const char *from_coordinator(const char *name)
{
	const char *text = getenv(name);

	return text ? text : "";
}

/* ---- the child ---------------------------------------------------------------------------- */

static void wait_for_fence(void)
{
	uint64_t ms = strtoull(from_coordinator("SLURM_CKPT_WAIT"), NULL, 10);
	struct timespec left;

	if (ms > MAX_FENCE_MS)
		ms = MAX_FENCE_MS;
	left = (struct timespec){.tv_sec = (time_t)(ms / 1000),
				 .tv_nsec = (long)(ms % 1000) * 1000000};
	while (nanosleep(&left, &left) < 0 && errno == EINTR) {
		/* Not before time. */
	}
}

static void set_slot(const struct ckpti_batch *b, uint32_t state)
{
	b->page->slot[0].pid = (int32_t)getpid();
	__atomic_store_n(&b->page->slot[0].state, state, __ATOMIC_RELEASE);
}

static void set_reason(const struct ckpti_batch *b, const char *reason)
{
	(void)snprintf(b->page->slot[0].reason, sizeof(b->page->slot[0].reason), "%s", reason);
}

/* Why the program cannot be checkpointed; NULL: it can. */
static const char *prepare(const struct ckpti_batch *b)
{
	char lib[PATH_MAX];
	const char *why;

	(void)snprintf(lib, sizeof(lib), "%s/" CKPTI_PLUGIN_LIBRARY, b->libdir);
	why = ckpti_preload_obstacle(lib);
	if (why)
		return why;
	(void)setenv("CKPT_SET", from_coordinator("SLURM_CKPT_SET"), 1);
	(void)unsetenv(CKPTI_LAUNCH_CPUS);
	(void)setenv("SLURM_CHECKPOINT_IMAGE_DIR", from_coordinator("SLURM_CKPT_STEPDIR"), 1);
	return NULL;
}

void ckpti_batch_exec_run(const struct ckpti_batch *b, char cpr[PATH_MAX])
{
	char **argv;
	size_t n = 0, k = 0;

	(void)snprintf(cpr, PATH_MAX, "%s/cpr", b->bindir);
	while (b->command[n])
		n++;
	argv = calloc(n + 5, sizeof(*argv));
	if (!argv)
		return;
	argv[k++] = cpr;
	argv[k++] = (char *)(uintptr_t) "run";
	if (b->quiet)
		argv[k++] = (char *)(uintptr_t) "-q";
	argv[k++] = (char *)(uintptr_t) "--";
	memcpy(argv + k, b->command, n * sizeof(*argv));
	(void)execv(cpr, argv);
	free(argv);
}

/* Inside of a set `cpr run` prepares the program, and makes no step of it. */
static void be_prepared(const struct ckpti_batch *b)
{
	char cpr[PATH_MAX];

	ckpti_batch_exec_run(b, cpr);
	(void)fprintf(stderr, "cpr: run: cannot execute %s: %s\n", cpr, strerror(errno));
	_exit(CANNOT_RUN);
}

static void be_program(const struct ckpti_batch *b)
{
	const char *why = prepare(b);
	int r;

	ckpti_batch_clear_env();
	(void)unsetenv(CKPTI_PLUGIN_TOKEN);
	(void)unsetenv(CKPTI_LAUNCH_FILE);
	set_reason(b, why ? why : "");
	set_slot(b, why ? CKPTI_SLOT_LEFT_OUT : CKPTI_SLOT_FRESH);
	if (!why)
		be_prepared(b);
	(void)execvp(b->command[0], b->command);
	r = errno;
	(void)fprintf(stderr, "cpr: run: %s: %s\n", b->command[0], strerror(r));
	_exit(r == ENOENT ? NOT_FOUND : CANNOT_RUN);
}

/* What cpr tells by one byte that the program runs: where that lies in the page. */
static int open_building(const struct ckpti_batch *b)
{
	char path[40];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", b->page_fd);
	/* NOLINTNEXTLINE(android-cloexec-open): cpr has it, and closes it */
	fd = open(path, O_WRONLY);
	if (fd < 0 || lseek(fd, offsetof(struct ckpti_page, slot[0].building), SEEK_SET) < 0) {
		(void)fprintf(stderr, "cpr: run: %s: %s\n", path, strerror(errno));
		_exit(CANNOT_RUN);
	}
	return fd;
}

static void be_restored(const struct ckpti_batch *b, const struct ckpti_manifest *m)
{
	const char *pids = from_coordinator("SLURM_CKPT_PIDS");
	char cpr[PATH_MAX], dir[PATH_MAX], number[24], ready[12];
	char *argv[] = {cpr,
			(char *)(uintptr_t) "-r",
			dir,
			(char *)(uintptr_t) "--generation",
			number,
			(char *)(uintptr_t) "-q",
			(char *)(uintptr_t) "--fenced",
			(char *)(uintptr_t) "--ids",
			(char *)(uintptr_t)(strcmp(pids, "off") == 0 ? "new" : "auto"),
			(char *)(uintptr_t) "--api-ready",
			ready,
			NULL};

	(void)snprintf(cpr, sizeof(cpr), "%s/cpr", b->bindir);
	(void)snprintf(dir, sizeof(dir), "%s/life-%" PRIu32 "/task-0",
		       from_coordinator("SLURM_CKPT_STEPDIR"), m->epoch);
	(void)snprintf(number, sizeof(number), "%" PRIu64, m->task[0].generation);
	(void)snprintf(ready, sizeof(ready), "%d", open_building(b));
	ckpti_batch_clear_env();
	(void)unsetenv("LD_PRELOAD");
	(void)unsetenv("LD_AUDIT");
	(void)unsetenv("CKPT_SET");
	b->page->slot[0].building = 1;
	set_slot(b, CKPTI_SLOT_RESTORED);
	(void)execv(cpr, argv);
	(void)fprintf(stderr, "cpr: run: cannot execute %s: %s\n", cpr, strerror(errno));
	_exit(CANNOT_RUN);
}

/* The agent tells the coordinator, as of a cpr that fails: the generation before this one is tried then. */
static void be_nothing(const struct ckpti_batch *b, const char *why)
{
	(void)fprintf(stderr, "cpr: run: cannot be restarted: %s\n", why);
	b->page->slot[0].building = 1;
	set_reason(b, why);
	set_slot(b, CKPTI_SLOT_LEFT_OUT);
	_exit(CANNOT_RUN);
}

/* ---- the parent --------------------------------------------------------------------------- */

static void hand_on(const siginfo_t *si, pid_t pid)
{
	/* slurmstepd, which is root, has sent it to the program as well. */
	if (si->si_code > 0 || (si->si_uid == 0 && getuid() != 0))
		return;
	(void)kill(pid, si->si_signo);
}

static int wait_for(pid_t pid, const sigset_t *set)
{
	siginfo_t si;
	int status;

	for (;;) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		if (sigwaitinfo(set, &si) < 0)
			continue;
		if (si.si_signo != SIGCHLD)
			hand_on(&si, pid);
	}
}

/* The generation to be restored. */
static int load(uint64_t gen, struct ckpti_manifest *ret, struct ckpti_err *err)
{
	struct ckpti_step st;
	unsigned skipped;
	int r;

	r = ckpti_step_open(from_coordinator("SLURM_CKPT_STEPDIR"), &st, err);
	if (r < 0)
		return r;
	r = ckpti_step_load(&st, gen, ret, &skipped, err);
	ckpti_step_close(&st);
	return r;
}

int ckpti_batch_task(struct ckpti_batch *b)
{
	const char *restore = from_coordinator("SLURM_CKPT_RESTORE");
	const char *dash = strrchr(restore, '-');
	struct ckpti_manifest m = {0};
	struct ckpti_err err = {.code = 0};
	sigset_t set, old;
	pid_t pid;
	int status, r = 0;

	if (dash)
		r = load(strtoull(dash + 1, NULL, 10), &m, &err);
	if (m.task && m.task[0].state == CKPTI_TASK_ENDED) {
		status = m.task[0].status;
		ckpti_manifest_free(&m);
		return status;
	}
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	for (size_t i = 0; i < sizeof(handed_on) / sizeof(handed_on[0]); i++)
		(void)sigaddset(&set, handed_on[i]);
	(void)sigprocmask(SIG_BLOCK, &set, &old);
	ckpti_batch_start_agent(b);
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)sigprocmask(SIG_SETMASK, &old, NULL);
		wait_for_fence();
		if (r < 0)
			be_nothing(b, err.text);
		if (m.task)
			be_restored(b, &m);
		be_program(b);
	}
	if (pid < 0)
		(void)fprintf(stderr, "cpr: run: %s\n", strerror(errno));
	status = pid < 0 ? CANNOT_RUN << 8 : wait_for(pid, &set);
	ckpti_manifest_free(&m);
	return status;
}
