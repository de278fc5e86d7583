/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One task's part of a round: a cpr that checkpoints it, and that we hold at its barriers (--drive).
 *
 * cpr ends by itself when our end of the socket is closed, whatever it does: so a part that is to be given
 * up is told so and, when it has not ended in time, is killed.  Its processes go on in either case.
 * Everything that touches the shared file system before cpr runs is done in the child.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank/lib/step.h"
#include "spank/node/node.h"
#include "util/result.h"

#define ABORT_LIMIT_MS 5000 /* for a cpr that was told to give up */
#define DRIVE_FD       4    /* in the child; 3 is for its result */

/* ---- the child ---------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2), noreturn)) static void child_fails(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vdprintf(STDERR_FILENO, fmt, ap);
	va_end(ap);
	_exit(1);
}

static void child_descriptors(const struct ckpti_part *p, int drive)
{
	/* Out of the way of the numbers that they are to get. */
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int errors = fcntl(p->errors, F_DUPFD_CLOEXEC, 10);
	int result = fcntl(p->result, F_DUPFD_CLOEXEC, 10);
	int end = fcntl(drive, F_DUPFD_CLOEXEC, 10);

	if (null < 0 || errors < 0 || result < 0 || end < 0 || dup2(errors, STDERR_FILENO) < 0 ||
	    dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(result, CKPTI_RESULT_FD) < 0 || dup2(end, DRIVE_FD) < 0)
		_exit(1);
	(void)close_range(DRIVE_FD + 1, ~0U, 0);
}

static void add_held(char **text, uint64_t gen)
{
	char *longer = NULL;

	if (asprintf(&longer, "%s%s%" PRIu64, *text ? *text : "", *text ? "," : "", gen) < 0)
		child_fails("no memory for a list of generations");
	free(*text);
	*text = longer;
}

/* The generations of this part that must stay: what we know to be committed, and what the directory says
 * is.  Either may be behind: the directory by a cache, we by a connection that broke.  NULL: none. */
static char *held_list(const struct ckpti_node *n, const struct ckpti_task *t)
{
	struct ckpti_step st;
	struct ckpti_err err = {.code = 0};
	size_t found = 0;
	uint64_t *gen = NULL;
	char *text = NULL;
	int r;

	if (ckpti_step_open(n->stepdir, &st, &err) < 0)
		child_fails("%s", err.text);
	r = ckpti_step_held(&st, n->epoch, t->rank, &gen, &found);
	/* Without the whole list cpr would remove what is needed. */
	if (r < 0)
		child_fails("cannot read the manifests in '%s': %s", n->stepdir, strerror(-r));
	ckpti_step_close(&st);
	for (size_t i = 0; i < found; i++)
		add_held(&text, gen[i]);
	free(gen);
	for (size_t i = 0; i < t->nkept; i++)
		add_held(&text, t->kept[i]);
	if (t->unsure)
		add_held(&text, t->unsure);
	return text;
}

static void seconds(char *buf, size_t size, unsigned ms)
{
	(void)snprintf(buf, size, "%u.%03u", ms / 1000, ms % 1000);
}

/* The command line: as long as the user's rules for files are many. */
static char **command(const struct ckpti_node *n, const struct ckpti_task *t, char **rest)
{
	const struct ckpti_config_list *rules = &n->config.file_policy;
	char **include = ckpti_include_of_task(n, t), **argv;
	size_t i = 0, ninclude = 0;

	while (include && include[ninclude])
		ninclude++;
	argv = calloc(2 * (rules->n + ninclude) + 32, sizeof(*argv));
	if (!argv || !include)
		child_fails("no memory for a command");
	while (*rest)
		argv[i++] = *rest++;
	for (size_t k = 0; k < rules->n; k++) {
		argv[i++] = (char *)"--file-policy";
		argv[i++] = rules->item[k];
	}
	for (size_t k = 0; k < ninclude; k++) {
		argv[i++] = (char *)"--include";
		argv[i++] = include[k];
	}
	return argv;
}

__attribute__((noreturn)) static void child(const struct ckpti_node *n, const struct ckpti_task *t,
					    int drive)
{
	char dir[PATH_MAX + 32], pins[PATH_MAX + 32], cpr[PATH_MAX];
	char pid[16], timeout[16], limit[16], drive_fd[8], result_fd[8], copy[24];
	char **argv, *held;
	sigset_t none;
	size_t i = 0;

	child_descriptors(t->part, drive);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)snprintf(dir, sizeof(dir), "%s/task-%u", n->life, t->rank);
	(void)snprintf(pins, sizeof(pins), "%s/pins", n->life);
	(void)snprintf(cpr, sizeof(cpr), "%s/cpr", n->bindir);
	(void)snprintf(pid, sizeof(pid), "%d", t->pid);
	(void)snprintf(drive_fd, sizeof(drive_fd), "%d", DRIVE_FD);
	(void)snprintf(result_fd, sizeof(result_fd), "%d", CKPTI_RESULT_FD);
	(void)snprintf(copy, sizeof(copy), "%" PRIu64, n->config.copy_limit);
	seconds(timeout, sizeof(timeout), n->round.muster_ms);
	seconds(limit, sizeof(limit), n->round.drive_ms);
	held = held_list(n, t);
	if (mkdir(pins, 0700) < 0 && errno != EEXIST)
		child_fails("cannot make '%s': %s", pins, strerror(errno));

	/* Who is not prepared has been named; nothing of a step is traced. */
	argv = command(n, t,
		       (char *[]){cpr,
				  (char *)"-c",
				  (char *)"-f",
				  (char *)"-q",
				  (char *)"--no-inject",
				  (char *)(n->round.kill ? "-k" : "-g"),
				  (char *)"--api-result",
				  result_fd,
				  (char *)"--drive",
				  drive_fd,
				  (char *)"--drive-timeout",
				  limit,
				  (char *)"--timeout",
				  timeout,
				  (char *)"--keep",
				  (char *)"1",
				  (char *)"--copy-limit",
				  copy,
				  (char *)"--incremental",
				  (char *)(n->config.incremental ? "auto" : "off"),
				  (char *)"--pins",
				  pins,
				  (char *)"-p",
				  pid,
				  NULL});
	while (argv[i])
		i++;
	if (held) {
		argv[i++] = (char *)"--hold";
		argv[i++] = held;
	}
	argv[i++] = (char *)"--";
	argv[i] = dir;
	(void)execv(cpr, argv);
	child_fails("cannot run '%s': %s", cpr, strerror(errno));
}

/* ---- the agent's side ----------------------------------------------------------------------- */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

int ckpti_part_start(struct ckpti_node *n, struct ckpti_task *t, struct ckpti_err *err)
{
	struct ckpti_part *p = calloc(1, sizeof(*p));
	int pair[2] = {-1, -1};
	int r = 0;

	if (!p)
		return ckpti_err(err, -ENOMEM, "no memory for a round");
	t->part = p;
	p->start_ms = ckpti_node_now_ms();
	p->result = memfd_create("ckpt-result", MFD_CLOEXEC);
	p->errors = memfd_create("ckpt-errors", MFD_CLOEXEC);
	if (p->result < 0 || p->errors < 0 ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		r = ckpti_err(err, -errno, "cannot make descriptors for a checkpoint: %s",
			      strerror(errno));
		goto out;
	}
	p->drive = pair[0];
	pair[0] = -1;
	(void)fcntl(p->drive, F_SETFL, O_NONBLOCK);
	p->cpr = fork();
	if (p->cpr == 0)
		child(n, t, pair[1]);
	if (p->cpr < 0)
		r = ckpti_err(err, -errno, "cannot start cpr: %s", strerror(errno));
out:
	close_fd(&pair[0]);
	close_fd(&pair[1]);
	if (r < 0) {
		p->cpr = 0;
		ckpti_part_free(t);
	}
	return r;
}

void ckpti_part_free(struct ckpti_task *t)
{
	struct ckpti_part *p = t->part;

	if (!p)
		return;
	close_fd(&p->drive);
	close_fd(&p->result);
	close_fd(&p->errors);
	free(p);
	t->part = NULL;
}

static void say(struct ckpti_part *p, const char *line)
{
	/* A few bytes into an empty socket buffer: what fails is a cpr that has ended. */
	if (p->drive >= 0)
		(void)send(p->drive, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void ckpti_part_go(struct ckpti_part *p)
{
	say(p, "go\n");
}

void ckpti_part_abort(struct ckpti_part *p, const char *why)
{
	char line[256];

	if (p->aborted || !p->cpr)
		return;
	p->aborted = true;
	(void)snprintf(line, sizeof(line), "abort %.200s\n", why);
	say(p, line);
	close_fd(&p->drive);
	p->kill_ms = ckpti_node_now_ms() + ABORT_LIMIT_MS;
}

/* What cpr wrote into its result, at its end or when its image was committed; false: nothing that is
 * whole. */
static bool read_result(struct ckpti_part *p)
{
	struct ckpti_result res = {0};

	if (pread(p->result, &res, sizeof(res), 0) < (ssize_t)offsetof(struct ckpti_result, text) ||
	    res.magic != CKPTI_RESULT_MAGIC)
		return false;
	p->error = res.error;
	p->gen = res.generation;
	p->durable_us = (ckpti_node_now_ms() - p->start_ms) * 1000;
	p->procs = res.nprocs;
	p->threads = res.nthreads;
	p->stored = res.stored_bytes;
	p->stop_us = res.stop_ns / 1000;
	p->pid = res.pid;
	res.object[sizeof(res.object) - 1] = res.text[sizeof(res.text) - 1] = 0;
	(void)snprintf(p->object, sizeof(p->object), "%s", res.object);
	(void)snprintf(p->text, sizeof(p->text), "%s", res.text);
	return true;
}

/* A line that cpr says at a barrier. */
static bool take_line(struct ckpti_part *p, const char *line)
{
	if (strcmp(line, "prepared") == 0 && p->state == CKPTI_PART_STARTED) {
		p->state = CKPTI_PART_PREPARED;
	} else if (strcmp(line, "captured") == 0 && p->state == CKPTI_PART_MUSTERING) {
		p->state = CKPTI_PART_CAPTURED;
	} else if (strncmp(line, "committed ", 10) == 0 && p->state == CKPTI_PART_WRITING) {
		p->state = read_result(p) ? CKPTI_PART_COMMITTED : CKPTI_PART_FAILED;
	} else {
		return false; /* of a newer cpr: it will wait for us, and give up */
	}
	return true;
}

bool ckpti_part_read(struct ckpti_task *t)
{
	struct ckpti_part *p = t->part;
	bool changed = false;
	char *newline;
	ssize_t got;

	if (p->drive < 0)
		return false;
	got = recv(p->drive, p->line + p->nline, sizeof(p->line) - 1 - p->nline, MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (got <= 0) {
		close_fd(&p->drive); /* it ends: SIGCHLD says how */
		return false;
	}
	p->nline += (size_t)got;
	p->line[p->nline] = 0;
	while ((newline = strchr(p->line, '\n')) != NULL) {
		*newline = 0;
		changed = take_line(p, p->line) || changed;
		p->nline -= (size_t)(newline + 1 - p->line);
		memmove(p->line, newline + 1, p->nline + 1);
	}
	if (p->nline == sizeof(p->line) - 1)
		close_fd(&p->drive);
	return changed;
}

static void explain(struct ckpti_part *p, int status)
{
	char text[8192];
	const char *line = text;
	ssize_t got = pread(p->errors, text, sizeof(text) - 1, 0);

	p->error = -EIO;
	text[got > 0 ? got : 0] = 0;
	while (strncmp(line, CKPTI_NODE_NOTE, strlen(CKPTI_NODE_NOTE)) == 0)
		line = strchrnul(line, '\n') + (strchr(line, '\n') != NULL);
	if (*line) {
		(void)snprintf(p->text, sizeof(p->text), "%.*s", (int)strcspn(line, "\n"), line);
		return;
	}
	(void)snprintf(p->text, sizeof(p->text),
		       WIFSIGNALED(status) ? "cpr was ended by signal %d"
					   : "cpr ended with status %d and said nothing",
		       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
}

void ckpti_part_reaped(struct ckpti_task *t, int status)
{
	struct ckpti_part *p = t->part;
	bool result;

	while (ckpti_part_read(t)) {
		/* what it said before it ended */
	}
	close_fd(&p->drive);
	p->cpr = 0;
	p->kill_ms = 0;
	result = read_result(p);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && result && p->error == 0 && p->gen) {
		p->state = CKPTI_PART_DONE;
		return;
	}
	if (!result || p->error == 0)
		explain(p, status);
	p->state = CKPTI_PART_FAILED;
}
