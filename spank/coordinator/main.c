/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt-coordinator: the loop.  Each turn reads what has come, then lets every part look at the clock.
 *
 * A turn that comes later than it was wanted means that we were stopped, or the machine was: so long the
 * silence of the others was ours, and nothing that waits for them has waited.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"

#define TURN_MS 1000 /* at most */

const char *argp_program_version = "ckpt-coordinator (posix-ckpt) " CKPT_VERSION;

/* ---- our surroundings --------------------------------------------------------------------- */

/* Neither srun's descriptors nor its terminal are ours. */
static void leave_srun(const struct ckpti_coord_args *a)
{
	int low = a->status_fd < a->life_fd ? a->status_fd : a->life_fd;
	int high = a->status_fd < a->life_fd ? a->life_fd : a->status_fd;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct rlimit files;

	if (null >= 0) {
		(void)dup2(null, STDIN_FILENO);
		(void)dup2(null, STDOUT_FILENO);
	}
	if (low > 3)
		(void)close_range(3, (unsigned)low - 1, 0);
	if (low >= 3 && high > low + 1)
		(void)close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	(void)close_range(high >= 3 ? (unsigned)high + 1 : 3U, ~0U, 0);
	if (low >= 3)
		(void)fcntl(low, F_SETFD, FD_CLOEXEC);
	if (high >= 3)
		(void)fcntl(high, F_SETFD, FD_CLOEXEC);
	(void)setsid();
	(void)umask(077);
	(void)chdir("/");
	/* A connection for every node. */
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &files);
	}
}

/* ^C and the like are srun's business: it tells us when it ends.  SIGTERM is, too, until there is something
 * to end: Slurm sends it to us and srun at once, and srun must not take our end for a failure to start. */
static void set_signals(void)
{
	static const int ignored[] = {SIGINT,  SIGHUP,  SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2,
				      SIGALRM, SIGTSTP, SIGTTIN, SIGTTOU, SIGTERM};
	sigset_t none;

	for (int sig = 1; sig < 32; sig++)
		(void)signal(sig, SIG_DFL);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		(void)signal(ignored[i], SIG_IGN);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Only when there is something to end in order. */
static int watch_term(void)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGTERM, SIG_DFL);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* ---- the loop ----------------------------------------------------------------------------- */

static void read_life(struct ckpti_coord *c)
{
	char text[64];
	ssize_t n = read(c->args.life_fd, text, sizeof(text));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	c->life = n > 0 ? 0 : -1;
}

static int64_t next_ms(const struct ckpti_coord *c, int64_t end)
{
	int64_t next = ckpti_now_ms() + TURN_MS, at;

	if (end < next)
		next = end;
	at = ckpti_round_next(c);
	if (at < next)
		next = at;
	at = ckpti_schedule_next(c);
	return at < next ? at : next;
}

struct poll_set {
	struct pollfd *fd;
	size_t n, max;
};

static bool watch_fd(struct poll_set *p, int fd, short events)
{
	if (p->n == p->max) {
		size_t max = p->max ? 2 * p->max : 32;
		struct pollfd *more = realloc(p->fd, max * sizeof(*more));

		if (!more)
			return false;
		p->fd = more;
		p->max = max;
	}
	p->fd[p->n++] = (struct pollfd){.fd = fd, .events = events};
	return true;
}

static void collect(struct ckpti_coord *c, struct poll_set *p)
{
	p->n = 0;
	(void)watch_fd(p, c->listen_fd, POLLIN);
	(void)watch_fd(p, c->life == 1 ? c->args.life_fd : -1, POLLIN);
	(void)watch_fd(p, c->signal_fd, POLLIN);
	(void)watch_fd(p, c->conns_fd, POLLIN);
	for (struct ckpti_child *child = c->children; child; child = child->next)
		(void)watch_fd(p, child->fd, POLLIN);
}

/* In the order of collect(); new children stand before the ones that were there. */
static void handle(struct ckpti_coord *c, const struct poll_set *p)
{
	struct ckpti_child *child = c->children;
	size_t i = 4;

	for (; child && i < p->n; child = child->next, i++)
		if (p->fd[i].revents)
			ckpti_child_event(c, child);
	if (p->fd[3].revents)
		ckpti_agents_events(c);
	if (p->fd[2].revents) {
		struct signalfd_siginfo si;

		c->terminated = read(c->signal_fd, &si, sizeof(si)) > 0 || c->terminated;
	}
	if (p->fd[1].revents)
		read_life(c);
	if (p->fd[0].revents)
		ckpti_agents_accept(c);
}

static void tick(struct ckpti_coord *c)
{
	bool connected = false;

	ckpti_child_tick(c);
	ckpti_watch_tick(c);
	ckpti_agents_tick(c);
	ckpti_round_tick(c);
	ckpti_schedule_tick(c);
	for (unsigned i = 0; i < c->nnodes && !connected; i++)
		connected = c->node[i].conn;
	__atomic_store_n(&c->watch->alive, connected || c->nnodes == 0, __ATOMIC_RELEASE);
	c->superseded = c->superseded || __atomic_load_n(&c->watch->superseded, __ATOMIC_ACQUIRE);
}

static void turn(struct ckpti_coord *c, struct poll_set *p, int64_t end)
{
	int64_t now = ckpti_now_ms(), wanted = next_ms(c, end), late;

	if (wanted < now)
		wanted = now;
	collect(c, p);
	if (poll(p->fd, p->n, (int)(wanted - now)) < 0)
		for (size_t i = 0; i < p->n; i++)
			p->fd[i].revents = 0;
	late = ckpti_now_ms() - wanted;
	if (late > 0) {
		ckpti_agents_forgive(c, late);
		ckpti_round_forgive(c, late);
	}
	handle(c, p);
	tick(c);
}

void ckpti_loop_for(struct ckpti_coord *c, int timeout_ms,
		    bool (*until)(const struct ckpti_coord *c))
{
	int64_t end = ckpti_now_ms() + timeout_ms;
	struct poll_set p = {0};

	while (ckpti_now_ms() < end && !until(c))
		turn(c, &p, end);
	free(p.fd);
}

static bool is_over(const struct ckpti_coord *c)
{
	return c->life != 1 || c->terminated || c->superseded;
}

static void tell_superseded(struct ckpti_coord *c)
{
	struct ckpti_kv kv;

	ckpti_report_say(c, true,
			 "checkpoint: '%s' has been restarted elsewhere, this life is over",
			 c->step.path);
	ckpti_kv_init(&kv);
	ckpti_kv_set(&kv, "text", "the step has been restarted elsewhere");
	ckpti_agents_send(c, CKPTI_W_KILL, &kv);
	ckpti_kv_free(&kv);
}

int main(int argc, char **argv)
{
	static struct ckpti_coord c;
	struct ckpti_err err = {.code = 0};
	int r;

	ckpti_coord_args_parse(argc, argv, &c.args);
	c.listen_fd = c.conns_fd = c.signal_fd = c.step.dirfd = -1;
	c.life = 1;
	set_signals();
	leave_srun(&c.args);
	openlog("ckpt", LOG_PID, LOG_USER);
	r = ckpti_start(&c, &err);
	if (r != 0) {
		ckpti_report_status(&c, "%s %s", r > 0 ? "refuse" : "error", err.text);
		return 1;
	}
	c.signal_fd = watch_term();
	ckpti_schedule_start(&c);
	ckpti_expire_start(&c);
	while (!is_over(&c))
		ckpti_loop_for(&c, INT32_MAX / 2, is_over);
	if (c.superseded)
		tell_superseded(&c);
	return ckpti_finish(&c, c.life == 0 || c.terminated);
}
