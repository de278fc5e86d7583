/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The builder: makes the tree, waits until every process stands restored, passes the point of no
 * return, lets them go, and stays as their init: it reaps what has no parent, hands signals to the
 * root and tells cpr how the root ended.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/hand_on.h"
#include "core/life.h"
#include "core/procfs.h"
#include "core/supervisor.h"
#include "core/trace.h"
#include "restart/plan.h"

#define RESTORE_SILENCE_MS 600000 /* reading a large image takes its time */
#define END_LIMIT_MS       2000   /* for what was killed to be gone */

static void tell(int ctl, uint32_t type, int value, const struct ckpti_err *err)
{
	struct ckpti_ctl msg = {.type = type, .value = value};

	if (err)
		msg.err = *err;
	(void)send(ctl, &msg, sizeof(msg), MSG_NOSIGNAL);
}

/* Their numbers are free again when this returns, so that another attempt may have them. */
static void kill_all(struct ckpti_life *life)
{
	struct timespec step = {.tv_nsec = 1000000};
	pid_t pid;

	ckpti_tree_kill(life);
	for (int ms = 0; ms < END_LIMIT_MS; ms++) {
		while ((pid = waitpid(-1, NULL, WNOHANG | __WALL)) > 0)
			;
		if (pid < 0)
			return;
		(void)nanosleep(&step, NULL);
	}
}

static int root_pid(const struct ckpti_life *life)
{
	for (size_t i = 0; i < life->nproc; i++)
		if (life->proc[i].pid == (int)life->set.root_pid)
			return life->build->slot[i].pid;
	return 0;
}

/* A live process that is gone before the start was killed from outside, or by the memory limit. */
static int anybody_dead(const struct ckpti_life *life, struct ckpti_err *err)
{
	int status, pid;

	while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0)
		for (size_t i = 0; i < life->nproc; i++)
			if (life->build->slot[i].pid == pid &&
			    life->proc[i].state == CKPTI_PROC_LIVE && !WIFSTOPPED(status))
				return ckpti_err(err, -ECHILD,
						 "process %d died while it was restored (%s %d)",
						 life->proc[i].pid,
						 WIFSIGNALED(status) ? "signal" : "status",
						 WIFSIGNALED(status) ? WTERMSIG(status)
								     : WEXITSTATUS(status));
	/* One that has a parent of its own is not ours to reap. */
	for (size_t i = 0; i < life->nproc; i++) {
		struct ckpti_procinfo p;

		if (life->proc[i].state == CKPTI_PROC_LIVE &&
		    (ckpti_procfs_stat(life->build->slot[i].pid, &p) < 0 || p.state == 'Z'))
			return ckpti_err(err, -ECHILD, "process %d died while it was restored",
					 life->proc[i].pid);
	}
	return 0;
}

static int restorer_failed(int fd, struct ckpti_err *err)
{
	struct ckpti_plan_error e;

	if (read(fd, &e, sizeof(e)) != (ssize_t)sizeof(e))
		return 0;
	e.what[sizeof(e.what) - 1] = 0;
	return ckpti_err(err, e.error < 0 ? e.error : -EIO, "process %d: %s (at 0x%lx): %s", e.pid,
			 e.what, (unsigned long)e.addr, strerror(-e.error));
}

/* One byte from each process. */
static int wait_ready(struct ckpti_life *life, struct ckpti_err *err)
{
	struct pollfd pfd[2] = {{.fd = life->ready[0], .events = POLLIN},
				{.fd = life->fail[0], .events = POLLIN}};
	char bytes[256];
	uint32_t n = 0;
	int waited = 0, r;

	while (n < life->nlive) {
		if (poll(pfd, 2, 100) < 0) /* interrupted: it has filled in nothing */
			pfd[0].revents = pfd[1].revents = 0;
		if (ckpti_tree_aborted(life, err))
			return err->code;
		if (pfd[1].revents & POLLIN) {
			r = restorer_failed(life->fail[0], err);
			if (r < 0)
				return r;
		} else if (pfd[1].revents & POLLHUP) {
			pfd[1].fd =
				-1; /* nobody is left who could fail, or poll() would not wait */
		}
		if (pfd[0].revents & POLLIN) {
			ssize_t k = read(life->ready[0], bytes, sizeof(bytes));

			n += k > 0 ? (uint32_t)k : 0;
			continue;
		}
		r = anybody_dead(life, err);
		if (r < 0)
			return r;
		if (pfd[0].revents & POLLHUP)
			return ckpti_err(err, -ECHILD,
					 "the processes died while they were restored");
		waited += 100;
		if (waited > RESTORE_SILENCE_MS)
			return ckpti_err(err, -ETIMEDOUT,
					 "%u of %u processes were restored within %d s", n,
					 life->nlive, RESTORE_SILENCE_MS / 1000);
	}
	return 0;
}

static int build(struct ckpti_life *life, struct ckpti_err *err)
{
	int r = ckpti_ids_inside(life, err);

	if (r == 0)
		r = ckpti_life_objects(life, err);
	ckpti_trace_phase("objects", 0);
	if (r == 0)
		r = ckpti_tree_build(life, err);
	ckpti_trace_phase("tree", 0);
	for (size_t i = 0; r == 0 && i < life->nproc; i++)
		if (life->proc[i].state == CKPTI_PROC_LIVE)
			r = ckpti_plant(life, i, err);
	ckpti_trace_phase("plant", 0);
	/* Our own ends, so that the pipes tell when the others' are gone. */
	(void)close(life->ready[1]);
	(void)close(life->fail[1]);
	(void)close(life->go[0]);
	life->ready[1] = life->fail[1] = life->go[0] = -1;
	if (r == 0)
		r = wait_ready(life, err);
	ckpti_trace_phase("restore", life->set.stored_bytes);
	if (r == 0)
		ckpti_tree_limits(life);
	if (r == 0)
		r = ckpti_life_settle(life, err);
	if (r == 0)
		r = ckpti_life_meet(life, err);
	ckpti_trace_phase("settle", 0);
	return r;
}

/* Reaps what has ended; false: nothing is left.  *root becomes 0 when it has ended. */
static bool reap(int ctl, int *root)
{
	int status, pid;

	while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
		if (pid != *root)
			continue;
		if (WIFSTOPPED(status)) {
			if (WSTOPSIG(status) == SIGTSTP)
				tell(ctl, CKPTI_CTL_STOPPED, 0, NULL);
			continue;
		}
		tell(ctl, CKPTI_CTL_ENDED, status, NULL);
		*root = 0;
	}
	return pid == 0 || errno != ECHILD;
}

/* Returns when no process is left. */
static void live_on(struct ckpti_hand_on *h, int ctl)
{
	bool attached = true;
	sigset_t mask;
	int sfd;

	ckpti_hand_on_signals(&mask);
	(void)sigaddset(&mask, SIGCHLD);
	sfd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	while (reap(ctl, &h->root)) {
		struct pollfd pfd[2] = {{.fd = sfd, .events = POLLIN},
					{.fd = attached ? ctl : -1, .events = POLLIN}};
		struct signalfd_siginfo si;
		struct ckpti_ctl_signal down;

		(void)poll(pfd, 2, ckpti_hand_on_due(h));
		while (read(sfd, &si, sizeof(si)) == (ssize_t)sizeof(si))
			if (si.ssi_signo != SIGCHLD)
				ckpti_hand_on_seen(h, (int)si.ssi_signo);
		if (!pfd[1].revents)
			continue;
		if (recv(ctl, &down, sizeof(down), 0) == (ssize_t)sizeof(down)) {
			ckpti_hand_on_wanted(h, down.signo);
			continue;
		}
		/* cpr was killed.  For whoever did that it was the program. */
		attached = false;
		if (h->root)
			(void)kill(h->root, SIGKILL);
	}
}

_Noreturn void ckpti_builder(struct ckpti_life *life, int ctl)
{
	struct ckpti_hand_on hand_on;
	struct ckpti_err err = {0};
	sigset_t all;
	int r;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_BLOCK, &all, NULL);
	(void)signal(SIGCHLD, SIG_DFL);
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (life->req->job)
		(void)setpgid(0, 0);
	r = build(life, &err);
	if (r < 0) {
		if (!err.code)
			(void)ckpti_err(&err, r, "restart failed: %s", strerror(-r));
		/* What we have seen may follow from what another one has told already. */
		ckpti_tree_abort(life, &err);
		kill_all(life);
		(void)ckpti_tree_aborted(life, &err);
		tell(ctl, CKPTI_CTL_FAILED, r, &err);
		_exit(1);
	}
	/* Nothing of ours may hold an object of theirs when they run: a pipe must know its end. */
	ckpti_life_close_objects(life);
	ckpti_hand_on_start(&hand_on, root_pid(life));
	ckpti_supervisor_take_name(root_pid(life));
	tell(ctl, CKPTI_CTL_STARTED, root_pid(life), NULL);
	(void)close(life->go[1]);
	(void)close(life->ready[0]);
	(void)close(life->fail[0]);
	ckpti_store_close(life->store);
	ckpti_trace_close();
	live_on(&hand_on, ctl);
	ckpti_launch_file_remove(&life->launch_file);
	_exit(0);
}
