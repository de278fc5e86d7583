/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A task that was asked to be what its rank was in a generation: `cpr -r` for one that lived, the same end
 * for one that had ended.  Anything else is an error that ends the task: a rank that starts from zero
 * beside others that go on would make the result of the step wrong without a word.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank/lib/page.h"
#include "spank/lib/step.h"
#include "spank/plugin/plugin.h"

#define EXIT_CANNOT_RUN 126
#define MAX_MANIFEST    (64U << 20)

__attribute__((noreturn, format(printf, 2, 3))) static void fail(const struct ckpti_restore *re,
								 const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	slurm_error("spank_ckpt: rank %" PRIu32 " cannot be restarted: %s", re->rank, text);
	ckpti_task_set_slot(re->slot, re->rank, CKPTI_SLOT_LEFT_OUT, text);
	_exit(EXIT_CANNOT_RUN);
}

static char *read_file(const struct ckpti_restore *re, size_t *ret_len)
{
	int fd = open(re->manifest, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	char *text;
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		fail(re, "%s: %s", re->manifest, strerror(errno));
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
	    (st.st_mode & 022) || st.st_size > (off_t)MAX_MANIFEST)
		fail(re, "%s: not a manifest of this user", re->manifest);
	text = malloc((size_t)st.st_size + 1);
	if (!text)
		fail(re, "no memory");
	while (len < (size_t)st.st_size) {
		n = read(fd, text + len, (size_t)st.st_size - len);
		if (n <= 0)
			fail(re, "%s: %s", re->manifest, n < 0 ? strerror(errno) : "cut off");
		len += (size_t)n;
	}
	(void)close(fd);
	text[len] = '\0';
	*ret_len = len;
	return text;
}

/* End as it had ended; slurmstepd sees no difference. */
static void end_again(const struct ckpti_restore *re, int status)
{
	const struct rlimit no_core = {0, 0};
	sigset_t set;

	/* The state is for slurmstepd to write: there is no process to look after. */
	ckpti_task_set_slot(re->slot, re->rank, CKPTI_SLOT_EMPTY, NULL);
	re->slot->pid = 0;
	if (WIFSIGNALED(status)) {
		(void)setrlimit(RLIMIT_CORE, &no_core);
		(void)signal(WTERMSIG(status), SIG_DFL);
		(void)sigemptyset(&set);
		(void)sigaddset(&set, WTERMSIG(status));
		(void)sigprocmask(SIG_UNBLOCK, &set, NULL);
		(void)raise(WTERMSIG(status));
		_exit(128 + WTERMSIG(status));
	}
	_exit(WEXITSTATUS(status));
}

/* What cpr tells by one byte that the program runs: where that lies in the page.  An offset of its own, so the
 * page is opened anew; the program does not inherit it. */
static int open_building(const struct ckpti_restore *re)
{
	char path[40];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", ckpti_step_page_fd());
	fd = open(path, O_WRONLY);
	if (fd < 0 ||
	    lseek(fd, (const char *)&re->slot->building - (const char *)re->page, SEEK_SET) < 0)
		fail(re, "%s: %s", path, strerror(errno));
	return fd;
}

static char *marker(const struct ckpti_restore *re, uint32_t rank)
{
	int len = (int)(strrchr(re->manifest, '/') - re->manifest);
	char *path = NULL;

	if (asprintf(&path, "%.*s/life-%" PRIu32 "/" CKPTI_STEP_INCLUDE "put-%" PRIu32, len,
		     re->manifest, re->epoch, rank) < 0)
		fail(re, "no memory");
	return path;
}

/* Tasks that have files of the whole step put them back before any task goes on.  The words of it for cpr;
 * *n is how many there are. */
static void add_meeting(const struct ckpti_restore *re, const struct ckpti_manifest *m, char **argv,
			size_t *n)
{
	if (re->epoch == 0)
		return;
	for (uint32_t rank = 0; rank < m->ntasks; rank++) {
		if (!m->task[rank].puts)
			continue;
		argv[(*n)++] = (char *)(uintptr_t)(rank == re->rank ? "--settled" : "--after");
		argv[(*n)++] = marker(re, rank);
	}
}

static void restart(spank_t sp, const struct ckpti_restore *re, const struct ckpti_manifest *m)
{
	static const char *const not_for_cpr[] = {"LD_PRELOAD", "LD_AUDIT", "CKPT_SET"};
	char cpr[PATH_MAX], dir[PATH_MAX], number[24], ids[8] = "auto", ready[12], launch[24],
						       **env = NULL;
	char *words[] = {cpr,
			 (char *)(uintptr_t) "-r",
			 dir,
			 (char *)(uintptr_t) "--generation",
			 number,
			 (char *)(uintptr_t) "-q",
			 (char *)(uintptr_t) "--fenced",
			 (char *)(uintptr_t) "--ids",
			 ids,
			 (char *)(uintptr_t) "--launch",
			 launch,
			 (char *)(uintptr_t) "--api-ready",
			 ready,
			 NULL};
	uint32_t job = 0, step = 0;
	const char *slash = strrchr(re->manifest, '/');
	const uint64_t generation = m->task[re->rank].generation;
	size_t n = sizeof(words) / sizeof(words[0]) - 1;
	char **argv = calloc(n + 2 * (size_t)m->ntasks + 1, sizeof(*argv));
	int r;

	if (!argv)
		fail(re, "no memory");
	if (!slash)
		fail(re, "%s: not an absolute path", re->manifest);
	memcpy(argv, words, n * sizeof(*argv));
	add_meeting(re, m, argv, &n);
	r = snprintf(dir, sizeof(dir), "%.*s/life-%" PRIu32 "/task-%" PRIu32,
		     (int)(slash - re->manifest), re->manifest, m->epoch, re->rank);
	if (r < 0 || (size_t)r >= sizeof(dir))
		fail(re, "%s: too long", re->manifest);
	(void)snprintf(cpr, sizeof(cpr), "%s/cpr", re->conf->bindir);
	if (spank_get_item(sp, S_JOB_ID, &job) != ESPANK_SUCCESS ||
	    spank_get_item(sp, S_JOB_STEPID, &step) != ESPANK_SUCCESS)
		fail(re, "Slurm does not tell the number of the step");
	(void)snprintf(launch, sizeof(launch), "%" PRIu32 ".%" PRIu32, job, step);
	(void)snprintf(number, sizeof(number), "%" PRIu64, generation);
	if (re->pids && strcmp(re->pids, "off") == 0)
		(void)snprintf(ids, sizeof(ids), "new");
	/* They are for programs.  What is restarted has its own in memory. */
	for (size_t i = 0; i < sizeof(not_for_cpr) / sizeof(not_for_cpr[0]); i++)
		(void)spank_unsetenv(sp, not_for_cpr[i]);
	if (spank_get_item(sp, S_JOB_ENV, &env) != ESPANK_SUCCESS)
		fail(re, "Slurm gives no environment");
	(void)snprintf(ready, sizeof(ready), "%d", open_building(re));
	ckpti_task_set_slot(re->slot, re->rank, CKPTI_SLOT_RESTORED, NULL);
	(void)execve(cpr, argv, env);
	fail(re, "%s: %s", cpr, strerror(errno));
}

void ckpti_restore_become(spank_t sp, const struct ckpti_restore *re)
{
	struct ckpti_manifest m;
	const struct ckpti_manifest_task *task;
	size_t len;
	char *text;
	int r;

	re->slot->building = 1;
	text = read_file(re, &len);
	r = ckpti_manifest_parse(&m, text, len);
	free(text);
	if (r < 0)
		fail(re, "%s: damaged", re->manifest);
	if (re->rank >= m.ntasks)
		fail(re, "%s: has %" PRIu32 " tasks only", re->manifest, m.ntasks);
	task = &m.task[re->rank];
	if (task->state == CKPTI_TASK_ENDED)
		end_again(re, task->status);
	else
		restart(sp, re, &m);
	_exit(EXIT_CANNOT_RUN);
}
