/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt-node-agent: started by a task of each node of a step, as its sibling and its user, with the page of
 * the step as descriptor 3.  One loop over poll(); see node.h for who does what.
 *
 * Slurm sends every signal for the step to us, too.  All are ignored, by cpr as well, which inherits it:
 * they are meant for the programs.  SIGCONT, which hurts nobody, is Slurm's way to tell of a coming end
 * and is reported, and so is SIGTERM: what ends after it has not ended by itself.
 */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spank/node/node.h"
#include "util/launch.h"

#define PAGE_FD    3
#define IDLE_MS    500
#define BUSY_MS    50
#define ENDING_MS  2 /* slurmstepd is about to say how a task has ended */
#define GOODBYE_MS 1000

uint64_t ckpti_node_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* ---- start ------------------------------------------------------------------------------------- */

enum {
	KEY_BINDIR = 0x100,
	KEY_LIBDIR
};

static const struct argp_option options[] = {
	{"bindir", KEY_BINDIR, "DIR", 0, "Where cpr is", 0},
	{"libdir", KEY_LIBDIR, "DIR", 0, "Where libckpt.so.0 is", 0},
	{0},
};

/* NOLINTNEXTLINE(readability-non-const-parameter): argp's type */
static error_t parse_option(int key, char *arg, struct argp_state *state)
{
	struct ckpti_node *n = state->input;

	if (key == KEY_BINDIR)
		n->bindir = arg;
	else if (key != KEY_LIBDIR) /* the tasks have it already */
		return ARGP_ERR_UNKNOWN;
	return 0;
}

static int get_number(const char *name, uint64_t max, int base, uint64_t *ret,
		      struct ckpti_err *err)
{
	const char *text = getenv(name);
	char *end;

	if (!text || !*text)
		return ckpti_err(err, -EINVAL, "%s is not set: Slurm starts this program", name);
	errno = 0;
	*ret = strtoull(text, &end, base);
	if (errno || *end || *text == '-' || *ret > max)
		return ckpti_err(err, -EINVAL, "%s is '%.64s': a number is needed", name, text);
	return 0;
}

static int get_u32(const char *name, uint32_t *ret, struct ckpti_err *err)
{
	uint64_t v;
	int r = get_number(name, UINT32_MAX, 10, &v, err);

	if (r == 0)
		*ret = (uint32_t)v;
	return r;
}

static int get_text(const char *name, char *ret, size_t size, struct ckpti_err *err)
{
	const char *text = getenv(name);

	if (!text || !*text || strlen(text) >= size)
		return ckpti_err(err, -EINVAL, "%s is %s: Slurm starts this program", name,
				 text && *text ? "too long" : "not set");
	(void)snprintf(ret, size, "%s", text);
	return 0;
}

static int read_environment(struct ckpti_node *n, struct ckpti_err *err)
{
	int r = get_u32("SLURM_JOB_ID", &n->job, err);

	if (r == 0)
		r = get_u32("SLURM_STEP_ID", &n->step, err);
	if (r == 0)
		r = get_u32("SLURM_NODEID", &n->index, err);
	if (r == 0)
		r = get_u32("SLURM_STEP_NUM_NODES", &n->nnodes, err);
	if (r == 0)
		r = get_u32("SLURM_STEP_NUM_TASKS", &n->ntasks_step, err);
	if (r == 0)
		r = get_u32("SLURM_CKPT_PORT", &n->port, err);
	if (r == 0)
		r = get_u32("SLURM_CKPT_EPOCH", &n->epoch, err);
	if (r == 0)
		r = get_number("SLURM_CKPT_SET", UINT64_MAX, 16, &n->set_base, err);
	if (r == 0)
		r = get_text("SLURM_CKPT_STEPDIR", n->stepdir, sizeof(n->stepdir), err);
	if (r == 0)
		r = get_text("SLURM_SRUN_COMM_HOST", n->server, sizeof(n->server), err);
	if (r < 0)
		return r;
	if (get_u32("SLURM_CKPT_WAIT", &n->wait_ms, NULL) < 0)
		n->wait_ms = 0;
	n->restored = get_text("SLURM_CKPT_RESTORE", n->life, sizeof(n->life), NULL) == 0;
	if (n->stepdir[0] != '/')
		return ckpti_err(err, -EINVAL, "SLURM_CKPT_STEPDIR is '%.200s': not absolute",
				 n->stepdir);
	if (snprintf(n->life, sizeof(n->life), "%s/life-%u", n->stepdir, n->epoch) >=
	    (int)sizeof(n->life))
		return ckpti_err(err, -ENAMETOOLONG, "'%.200s' is too long", n->stepdir);
	if (get_text("SLURMD_NODENAME", n->host, sizeof(n->host), NULL) < 0)
		(void)gethostname(n->host, sizeof(n->host) - 1);
	return 0;
}

/* The coordinator has read the same files and said what is wrong with them; we go on with what is
 * safe. */
static void read_config(struct ckpti_node *n)
{
	const char *site = getenv("SLURM_CKPT_CONFIG");
	char user[PATH_MAX];
	uint32_t fence;

	if (ckpti_config_user_path(user, sizeof(user), NULL) < 0)
		user[0] = 0;
	if (ckpti_config_load(site, user[0] ? user : NULL, &n->config, NULL) < 0 &&
	    ckpti_config_load(site, NULL, &n->config, NULL) < 0)
		(void)ckpti_config_load(NULL, NULL, &n->config, NULL);
	n->fence_s = (unsigned)n->config.fence;
	if (getenv("SLURM_CKPT_FENCE") && get_u32("SLURM_CKPT_FENCE", &fence, NULL) == 0)
		n->fence_s = fence;
}

static int set_signals(struct ckpti_node *n, struct ckpti_err *err)
{
	static const int kept[] = {SIGCHLD, SIGCONT, SIGSEGV, SIGBUS, SIGILL,
				   SIGFPE,  SIGABRT, SIGTRAP, SIGSYS};
	struct sigaction ignore = {.sa_handler = SIG_IGN};
	sigset_t mask;

	for (int sig = 1; sig <= SIGRTMAX; sig++) {
		bool keep = false;

		for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
			keep = keep || kept[i] == sig;
		if (!keep)
			(void)sigaction(sig, &ignore, NULL); /* KILL, STOP, libc's own: refused */
	}
	(void)sigemptyset(&mask);
	(void)sigaddset(&mask, SIGCHLD);
	(void)sigaddset(&mask, SIGCONT);
	(void)sigaddset(&mask, SIGTERM); /* what is blocked arrives although it is ignored */
	(void)sigprocmask(SIG_SETMASK, &mask, NULL);
	n->sigfd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return n->sigfd < 0 ? ckpti_err(err, -errno, "cannot wait for signals: %s", strerror(errno))
			    : 0;
}

/* We belong to no set ourselves, and neither do the cpr that we start. */
static void leave_set(void)
{
	static const char *const names[] = {"CKPT_SET",   "CKPT_DIR",        "CKPT_RESTART",
					    "CPR_COMPAT", "CPR_FILE",        "LD_PRELOAD",
					    "LD_AUDIT",   "CKPT_STEP_HELPER"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		(void)unsetenv(names[i]);
}

static int start(struct ckpti_node *n, struct ckpti_err *err)
{
	unsigned seed = 0;
	int r;

	n->stepd = n->sigfd = -1;
	n->start_ms = ckpti_node_now_ms();
	r = read_environment(n, err);
	if (r == 0)
		r = set_signals(n, err);
	if (r == 0)
		r = ckpti_tasks_init(n, PAGE_FD, err);
	if (r < 0)
		return r;
	(void)close_range(PAGE_FD, PAGE_FD, 0);
	(void)getrandom(&seed, sizeof(seed), GRND_NONBLOCK);
	srandom(seed);
	if (getppid() > 1)
		n->stepd = (int)syscall(SYS_pidfd_open, getppid(), 0);
	leave_set();
	read_config(n);
	ckpti_uplink_init(n);
	return ckpti_watch_start(n, err);
}

/* ---- the loop ---------------------------------------------------------------------------------- */

static void reap(struct ckpti_node *n)
{
	int status, pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (pid == n->watch_pid)
			n->watch_pid = 0;
		else
			ckpti_round_reaped(n, pid, status);
	}
}

static void take_signals(struct ckpti_node *n)
{
	struct signalfd_siginfo si;
	struct ckpti_kv kv;

	while (read(n->sigfd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGCHLD) {
			reap(n);
			continue;
		}
		ckpti_kv_init(&kv);
		ckpti_kv_set_u64(&kv, "signal", si.ssi_signo);
		ckpti_uplink_send(n, CKPTI_W_NOTICE, &kv);
		ckpti_kv_free(&kv);
	}
}

/* How long nothing may be looked at. */
static int pause_ms(const struct ckpti_node *n)
{
	bool busy = !n->all_started || n->round.phase != CKPTI_ROUND_IDLE;

	for (size_t i = 0; i < n->ntasks; i++) {
		if (n->task[i].gone && n->task[i].state != CKPTI_SLOT_ENDED)
			return ENDING_MS;
		busy = busy || n->task[i].part || ckpti_task_is_coming(n, &n->task[i]);
	}
	return busy ? BUSY_MS : IDLE_MS;
}

static size_t add(struct pollfd *pfd, size_t i, int fd, short events)
{
	pfd[i] = (struct pollfd){.fd = fd, .events = events};
	return i + 1;
}

/* Wait until there is something to do; each of the ticks below then looks for its own. */
static void wait_for_work(struct ckpti_node *n, struct pollfd *pfd)
{
	struct ckpti_uplink *l = &n->uplink;
	short up = (short)(l->wire && ckpti_wire_wants_write(l->wire) ? POLLIN | POLLOUT : POLLIN);
	size_t k = 0;

	k = add(pfd, k, n->sigfd, POLLIN);
	k = add(pfd, k, l->wire ? ckpti_wire_fd(l->wire) : -1, up);
	k = add(pfd, k, n->stepd, POLLIN);
	for (size_t i = 0; i < n->ntasks; i++) {
		k = add(pfd, k, n->task[i].pidfd, POLLIN);
		k = add(pfd, k, n->task[i].part ? n->task[i].part->drive : -1, POLLIN);
	}
	if (poll(pfd, k, pause_ms(n)) <= 0)
		return;
	if (pfd[0].revents)
		take_signals(n);
	if (pfd[2].revents) {
		(void)close(n->stepd);
		n->stepd = -1;
		n->left_alone = true;
	}
	/* Numbers of descriptors may have changed hands by now: parts are asked themselves. */
	for (size_t i = 0; i < n->ntasks; i++)
		while (n->task[i].part && ckpti_part_read(&n->task[i])) {
			/* all that it has said */
		}
	if (l->wire && ckpti_wire_fd(l->wire) == pfd[1].fd)
		ckpti_uplink_event(n, (pfd[1].revents & ~POLLOUT) != 0,
				   (pfd[1].revents & POLLOUT) != 0);
}

static int loop(struct ckpti_node *n)
{
	struct pollfd *pfd = calloc(2 * n->ntasks + 3, sizeof(*pfd));
	uint64_t before = ckpti_node_now_ms(), now;

	if (!pfd)
		return -ENOMEM;
	while (!ckpti_tasks_over(n)) {
		wait_for_work(n, pfd);
		now = ckpti_node_now_ms();
		/* We were stopped, with everybody else of the step. */
		if (now - before > IDLE_MS)
			ckpti_uplink_forgive(n, now - before - IDLE_MS);
		ckpti_tasks_tick(n);
		ckpti_fence_tick(n);
		ckpti_round_advance(n);
		ckpti_eligible_tick(n);
		ckpti_restored_tick(n);
		before = ckpti_node_now_ms();
		ckpti_uplink_tick(n);
	}
	free(pfd);
	return 0;
}

static void finish(struct ckpti_node *n)
{
	/* Of tasks in their first life; of others cpr has done it. */
	for (size_t i = 0; !n->restored && i < n->ntasks; i++)
		ckpti_launch_file_remove_set(n->set_base + n->task[i].rank);
	ckpti_round_abort(n, "all tasks have ended");
	ckpti_uplink_end(n, GOODBYE_MS);
	__atomic_store_n(&n->page->agent, CKPTI_AGENT_OVER, __ATOMIC_RELEASE);
	if (n->watch_pid > 0)
		(void)kill(n->watch_pid, SIGKILL);
	/* One that hangs in the file system is left to slurmstepd. */
	for (int i = 0; n->watch_pid > 0 && i < GOODBYE_MS / 10; i++) {
		reap(n);
		(void)poll(NULL, 0, n->watch_pid > 0 ? 10 : 0);
	}
}

const char *argp_program_version = "ckpt-node-agent (posix-ckpt) " CKPT_VERSION;

int main(int argc, char **argv)
{
	static struct ckpti_node node;
	static const struct argp argp = {
		.options = options,
		.parser = parse_option,
		.doc = "Checkpoint the tasks of a job step on this node. Slurm starts it; see "
		       "ckpt-node-agent(8).",
	};
	struct ckpti_err err = {.code = 0};
	int r;

	node.bindir = CKPT_BINDIR;
	argp_err_exit_status = 2;
	(void)argp_parse(&argp, argc, argv, 0, NULL, &node);
	r = start(&node, &err);
	if (r == 0)
		r = loop(&node);
	if (r < 0) {
		(void)fprintf(stderr, "ckpt-node-agent: %s\n", err.text);
		return 1;
	}
	finish(&node);
	return 0;
}
