/* SPDX-License-Identifier: BSD-3-Clause */
#include "core/tracee.h"

#include <errno.h>
#include <linux/kcmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arch/ptrace.h"
#include "core/set.h"

#define STOP_LIMIT_NS \
	500000000U /* for a thread to reach the border of the kernel, perhaps out of a vfork */
#define STOP_STEP_NS 50000

int ckpti_each_thread(int pid, int (*fn)(void *arg, const struct ckpti_procinfo *t), void *arg)
{
	struct ckpti_procinfo t;
	char dir[64];
	int *tids = NULL;
	size_t n = 0;
	int r = 0;

	(void)snprintf(dir, sizeof(dir), "/proc/%d/task", pid);
	if (ckpti_procfs_numbers(dir, &tids, &n) < 0)
		return 0;
	for (size_t i = 0; i < n && !r; i++)
		if (ckpti_procfs_read(tids[i], &t) == 0 && t.state != 'Z' && t.state != 'X')
			r = fn(arg, &t);
	free(tids);
	return r;
}

int ckpti_shares_memory(const struct ckpti_procinfo *p)
{
	return syscall(SYS_kcmp, p->pid, p->ppid, KCMP_VM, 0, 0) == 0;
}

int ckpti_near_exec(const struct ckpti_procinfo *t, const struct ckpti_procinfo *p)
{
	char *text = ckpti_procfs_slurp(t->pid, "syscall", NULL);
	int nr = -1;

	if (text)
		(void)sscanf(text, "%d", &nr);
	free(text);
	return nr == SYS_execve || nr == SYS_execveat || ckpti_shares_memory(p);
}

static int wait_stopped(int tid)
{
	const struct timespec step = {.tv_nsec = STOP_STEP_NS};
	uint64_t deadline = ckpti_now_ns() + STOP_LIMIT_NS;
	int status;

	do {
		if (waitpid(tid, &status, __WALL | WNOHANG) == tid) {
			if (!WIFSTOPPED(status))
				return -ESRCH;
			/* In a stop of job control, SIGCONT is what it waits for. */
			if (status >> 16 == PTRACE_EVENT_STOP)
				return WSTOPSIG(status) == SIGTRAP ? 0 : -EAGAIN;
			return WSTOPSIG(status);
		}
		(void)nanosleep(&step, NULL);
	} while (ckpti_now_ns() < deadline);
	return -ETIMEDOUT;
}

/* When all of a process is killed, its first thread is not reported before the others, whom somebody else
 * has to wait for: its state is looked at, too. */
int ckpti_tracee_wait(int tid, int *ret_status)
{
	const struct timespec step = {.tv_nsec = 20000};
	struct ckpti_procinfo now;
	int r;

	while ((r = waitpid(tid, ret_status, __WALL | WNOHANG)) == 0) {
		if (ckpti_procfs_stat(tid, &now) < 0 || now.state == 'Z' || now.state == 'X')
			return -ESRCH;
		(void)nanosleep(&step, NULL);
	}
	return r < 0 ? -errno : WIFSTOPPED(*ret_status) ? 0 : -ESRCH;
}

int ckpti_tracee_stop(int tid)
{
	return ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 ? -errno : wait_stopped(tid);
}

static int is_held(const struct ckpti_tracees *t, int tid)
{
	for (size_t i = 0; i < t->n; i++)
		if (t->tid[i] == tid)
			return 1;
	return 0;
}

struct holding {
	const struct ckpti_procinfo *p;
	struct ckpti_tracees *t;
	size_t room;
};

/* The kernel says EPERM of such, too. */
static int has_ended(int tid)
{
	struct ckpti_procinfo now;

	return ckpti_procfs_stat(tid, &now) < 0 || now.state == 'Z' || now.state == 'X';
}

static int seize(void *arg, const struct ckpti_procinfo *t)
{
	struct holding *h = arg;
	int r;

	if (is_held(h->t, t->pid))
		return 0;
	if (ckpti_near_exec(t, h->p))
		return -EAGAIN;
	if (h->t->n == h->room) {
		size_t more = h->room ? 2 * h->room : 16;
		int *bigger = realloc(h->t->tid, more * sizeof(*bigger));

		if (!bigger)
			return -ENOMEM;
		h->t->tid = bigger;
		h->room = more;
	}
	/* One that did not come to its stop the last time is still ours. */
	if (t->tracer != getpid() &&
	    ptrace(PTRACE_SEIZE, t->pid, NULL, PTRACE_O_TRACESYSGOOD) < 0) {
		r = -errno;
		return r == -ESRCH || has_ended(t->pid) ? 0 : r;
	}
	h->t->tid[h->t->n++] = t->pid;
	(void)ptrace(PTRACE_INTERRUPT, t->pid, NULL, NULL);
	return 0;
}

/* One that is about to take a signal takes it, and stands again before the first instruction of its
 * handler. */
static int stand(int tid)
{
	int r = wait_stopped(tid);

	while (r > 0) {
		if (ptrace(PTRACE_INTERRUPT, tid, NULL, NULL) < 0 ||
		    ptrace(PTRACE_CONT, tid, NULL, r) < 0)
			return -errno;
		r = wait_stopped(tid);
	}
	return r;
}

int ckpti_tracees_hold(const struct ckpti_procinfo *p, struct ckpti_tracees *ret)
{
	struct holding h = {.p = p, .t = ret};
	size_t before;
	int r;

	memset(ret, 0, sizeof(*ret));
	ret->pid = p->pid;
	do {
		before = ret->n;
		r = ckpti_each_thread(p->pid, seize, &h);
		for (; r == 0 && ret->standing < ret->n; ret->standing += r == 0) {
			r = stand(ret->tid[ret->standing]);
			if (r == -ESRCH) { /* it has ended */
				ret->tid[ret->standing] = 0;
				r = 0;
			}
		}
	} while (r == 0 && ret->n > before);
	if (r == 0 && ret->n == 0)
		r = -EAGAIN; /* it is gone */
	if (r < 0)
		ckpti_tracees_release(ret);
	return r == -ETIMEDOUT ? -EAGAIN : r;
}

void ckpti_tracees_let_go(struct ckpti_tracees *t, size_t i, int repeat)
{
	struct ckpti_procinfo now;

	if (!t->tid[i])
		return;
	if (repeat && ckpti_procfs_read(t->tid[i], &now) == 0 &&
	    !((now.sig_pending | now.sig_shared) & ~now.sig_blocked))
		(void)arch_repeat_call(t->tid[i]);
	(void)ptrace(PTRACE_DETACH, t->tid[i], NULL, 0);
	t->tid[i] = 0;
}

/* One whose stop has not been seen, and that may be about to take a signal. */
static void let_go_early(struct ckpti_tracees *t, size_t i)
{
	int r = t->tid[i] ? wait_stopped(t->tid[i]) : -ESRCH;

	if (r == 0)
		ckpti_tracees_let_go(t, i, 1);
	else if (r > 0 || r == -EAGAIN)
		(void)ptrace(PTRACE_DETACH, t->tid[i], NULL, r > 0 ? r : 0);
}

/* A thread that does not come to its stop cannot be let go: that is done the next time, or at our end. */
void ckpti_tracees_release(struct ckpti_tracees *t)
{
	for (size_t i = 0; i < t->n; i++)
		if (i < t->standing)
			ckpti_tracees_let_go(t, i, 1);
		else
			let_go_early(t, i);
	free(t->tid);
	memset(t, 0, sizeof(*t));
}
