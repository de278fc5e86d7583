/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Root never touches what belongs to the owner of a job: neither registry nor directory nor
 * coordinator.  A child becomes the owner for good and makes the request.
 *
 * The owner may do to that child what he may do to any process of his, so it has nothing of
 * root's: no descriptors but two pipes, no terminal, no environment but a few names, a session
 * of its own.  What comes through the pipes is cleaned before a terminal of root's sees it, and
 * the child has a deadline.
 */
#include "spank/scontrol/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "spank/scontrol/job.h"
#include "spank/scontrol/say.h"
#include "util/clock.h"

/* For what is asked of Slurm before and after; the coordinator has its own slack. */
#define SLACK_S    90
#define LINE_SIZE  4096
#define KEPT_NAMES 8

/* Output of a child: complete lines are printed, the rest waits in the buffer. */
struct pipe_end {
	int fd; /* -1: ended */
	FILE *to;
	char line[LINE_SIZE];
	size_t used;
};

struct child {
	pid_t pid; /* 0: a free place */
	uint32_t job;
	int64_t end_ms;
	bool late;
	struct pipe_end out[2];
};

struct ckpti_owner_pool {
	unsigned n, failed;
	bool label;
	struct pollfd *fds; /* two for each child */
	struct child child[];
};

/* ---- the child ---------------------------------------------------------------------------- */

/* What programs of Slurm and messages need, and nothing else of root's. */
static int set_environment(const struct passwd *pw)
{
	static const char *const names[] = {"PATH",   "SLURM_CONF", "TZ",          "LANG",
					    "LC_ALL", "LC_CTYPE",   "LC_MESSAGES", "LC_TIME"};
	char *value[KEPT_NAMES];
	const char *text;
	int r = 0;

	for (size_t i = 0; i < KEPT_NAMES; i++) {
		text = getenv(names[i]);
		value[i] = text ? strdup(text) : NULL;
	}
	if (clearenv() != 0)
		r = -1;
	for (size_t i = 0; i < KEPT_NAMES; i++) {
		if (value[i])
			r |= setenv(names[i], value[i], 1);
		free(value[i]);
	}
	r |= setenv("HOME", pw->pw_dir, 1);
	r |= setenv("USER", pw->pw_name, 1);
	r |= setenv("LOGNAME", pw->pw_name, 1);
	return r ? -ENOMEM : 0;
}

static int become(uid_t uid, struct ckpti_err *err)
{
	const struct passwd *pw;
	uid_t real, effective, saved;

	errno = 0;
	pw = getpwuid(uid);
	if (!pw)
		return ckpti_err(err, errno ? -errno : -ENOENT, "there is no user %u here",
				 (unsigned)uid);
	if (set_environment(pw) < 0)
		return ckpti_err(err, -ENOMEM, "no memory");
	if (initgroups(pw->pw_name, pw->pw_gid) < 0 ||
	    setresgid(pw->pw_gid, pw->pw_gid, pw->pw_gid) < 0 || setresuid(uid, uid, uid) < 0)
		return ckpti_err(err, -errno, "cannot become user %s: %s", pw->pw_name,
				 strerrordesc_np(errno));
	if (getresuid(&real, &effective, &saved) < 0 || real != uid || effective != uid ||
	    saved != uid || (uid != 0 && setuid(0) == 0))
		return ckpti_err(err, -EPERM, "could not become user %s", pw->pw_name);
	return 0;
}

static void run_child(const struct ckpti_request *q, const struct ckpti_slurm_job *job,
		      pid_t parent, int out, int errors)
{
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	struct ckpti_err err = {0};
	int status;

	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
	    dup2(errors, STDERR_FILENO) < 0 || close_range(STDERR_FILENO + 1, ~0U, 0) < 0 ||
	    setsid() < 0 || chdir("/") < 0)
		_exit(EXIT_FAILURE);
	if (become(job->uid, &err) < 0)
		_exit(ckpti_say_err(&err));
	/* Changing the user has cleared it before. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
		_exit(EXIT_FAILURE);
	status = ckpti_job_request(q, job);
	_exit(fflush(stdout) == 0 ? status : EXIT_FAILURE);
}

/* ---- the parent --------------------------------------------------------------------------- */

static void print_line(const struct ckpti_owner_pool *p, const struct child *c, FILE *to,
		       const char *line)
{
	if (p->label)
		ckpti_say_line(to, "job %u: %s", c->job, line);
	else
		ckpti_say_line(to, "%s", line);
}

static void drain(const struct ckpti_owner_pool *p, const struct child *c, struct pipe_end *e)
{
	ssize_t n = read(e->fd, e->line + e->used, sizeof(e->line) - 1 - e->used);
	char *end, *from = e->line;

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		close(e->fd);
		e->fd = -1;
	} else {
		e->used += (size_t)n;
	}
	e->line[e->used] = '\0';
	while ((end = memchr(from, '\n', e->used - (size_t)(from - e->line)))) {
		*end = '\0';
		print_line(p, c, e->to, from);
		from = end + 1;
	}
	e->used -= (size_t)(from - e->line);
	memmove(e->line, from, e->used + 1);
	if (e->used > 0 && (e->fd < 0 || e->used == sizeof(e->line) - 1)) {
		print_line(p, c, e->to, e->line);
		e->used = 0;
	}
}

/* Both pipes have ended: so has the child, or it is about to. */
static void finish(struct ckpti_owner_pool *p, struct child *c)
{
	int status = 0;

	if (c->late)
		(void)kill(c->pid, SIGKILL);
	while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
		;
	if (c->late)
		print_line(p, c, stderr, "the request has no end and was given up");
	else if (WIFSIGNALED(status))
		print_line(p, c, stderr, "the request was killed");
	if (!WIFEXITED(status) || WEXITSTATUS(status) != EXIT_SUCCESS)
		p->failed++;
	for (size_t i = 0; i < 2; i++) {
		if (c->out[i].fd >= 0)
			close(c->out[i].fd);
	}
	c->pid = 0;
}

/* Waits until something happens and deals with it. */
static void turn(struct ckpti_owner_pool *p)
{
	int64_t now = ckpti_now_ms(), wait = 60000;
	struct pollfd *fds = p->fds;
	struct child *c;

	for (unsigned i = 0; i < p->n; i++) {
		c = &p->child[i];
		for (unsigned k = 0; k < 2; k++)
			fds[2 * i + k] =
				(struct pollfd){.fd = c->pid ? c->out[k].fd : -1, .events = POLLIN};
		if (c->pid && c->end_ms - now < wait)
			wait = c->end_ms > now ? c->end_ms - now : 0;
	}
	if (poll(fds, 2UL * p->n, (int)wait) < 0 && errno != EINTR)
		memset(fds, 0, 2UL * p->n * sizeof(*fds));
	now = ckpti_now_ms();
	for (unsigned i = 0; i < p->n; i++) {
		c = &p->child[i];
		if (!c->pid)
			continue;
		for (unsigned k = 0; k < 2; k++) {
			if (c->out[k].fd >= 0 && fds[2 * i + k].revents)
				drain(p, c, &c->out[k]);
		}
		c->late = now >= c->end_ms;
		if (c->late || (c->out[0].fd < 0 && c->out[1].fd < 0))
			finish(p, c);
	}
}

struct ckpti_owner_pool *ckpti_owner_pool_new(unsigned parallel, bool label)
{
	struct ckpti_owner_pool *p = calloc(1, sizeof(*p) + parallel * sizeof(p->child[0]));

	if (!p)
		return NULL;
	p->n = parallel;
	p->label = label;
	p->fds = calloc(2UL * parallel, sizeof(*p->fds));
	if (!p->fds) {
		free(p);
		return NULL;
	}
	return p;
}

static struct child *free_place(struct ckpti_owner_pool *p)
{
	for (;;) {
		for (unsigned i = 0; i < p->n; i++) {
			if (!p->child[i].pid)
				return &p->child[i];
		}
		turn(p);
	}
}

void ckpti_owner_pool_add(struct ckpti_owner_pool *p, const struct ckpti_request *q,
			  const struct ckpti_slurm_job *job)
{
	struct child *c = free_place(p);
	int fds[2][2] = {{-1, -1}, {-1, -1}};
	pid_t parent = getpid();

	memset(c, 0, sizeof(*c));
	c->job = job->job;
	c->end_ms = ckpti_now_ms() + ((int64_t)q->max_wait + SLACK_S) * 1000;
	(void)fflush(NULL);
	if (pipe2(fds[0], O_CLOEXEC) < 0 || pipe2(fds[1], O_CLOEXEC) < 0 || (c->pid = fork()) < 0) {
		print_line(p, c, stderr, strerrordesc_np(errno));
		for (size_t i = 0; i < 4; i++) {
			if (fds[i / 2][i % 2] >= 0)
				close(fds[i / 2][i % 2]);
		}
		c->pid = 0;
		p->failed++;
		return;
	}
	if (c->pid == 0)
		run_child(q, job, parent, fds[0][1], fds[1][1]);
	for (size_t i = 0; i < 2; i++) {
		close(fds[i][1]);
		c->out[i].fd = fds[i][0];
		c->out[i].to = i == 0 ? stdout : stderr;
	}
}

unsigned ckpti_owner_pool_end(struct ckpti_owner_pool *p)
{
	unsigned failed, left;

	do {
		left = 0;
		for (unsigned i = 0; i < p->n; i++)
			left += p->child[i].pid != 0;
		if (left > 0)
			turn(p);
	} while (left > 0);
	failed = p->failed;
	free(p->fds);
	free(p);
	return failed;
}

int ckpti_owner_request(const struct ckpti_request *q, const struct ckpti_slurm_job *job)
{
	struct ckpti_owner_pool *p = ckpti_owner_pool_new(1, false);

	if (!p)
		return ckpti_say_error(NULL, "no memory");
	ckpti_owner_pool_add(p, q, job);
	return ckpti_owner_pool_end(p) ? EXIT_FAILURE : EXIT_SUCCESS;
}
