/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How cpr is started so that the program does not notice.
 *
 * A child that exec()s always announces its end with SIGCHLD, whatever clone() was told (execve(2)),
 * and any wait() may collect it.  So for a checkpoint cpr is made an orphan: a short-lived child with
 * exit signal 0 starts it and ends; we collect that one with __WALL, and nobody is told.  It shares
 * our descriptor table, so that the descriptor that stands for cpr (CLONE_PIDFD) becomes ours.
 *
 * Both run in our memory (CLONE_VM|CLONE_VFORK) while this thread is suspended: nothing is copied,
 * however large the program is, and no handler of pthread_atfork() runs.  All signals are blocked, and
 * calls that the library itself wraps are made as system calls.  When the first child has gone, this
 * thread goes on; a checkpoint cannot come in between, for this thread would have to take part.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "api/helper.h"

#define STACK_SIZE (64U << 10)
#define NSIGNALS   64
#define HIGH_FD    10 /* above 0 to 4, whose numbers are given away */

/* Functions of the children: they leave their stack without returning, which ASan would take for a
 * stack in use when the memory is used again. */
#define IN_CHILD __attribute__((no_sanitize_address))

/* The two stacks and the orders: one block of memory for the time of the start. */
struct job {
	struct ckpti_spawn *s;
	uint8_t *exec_stack; /* its end */
};

/*
 * Handlers are the program's code and must not run in cpr before its exec; ignored signals stay
 * ignored as with any exec, but for SIGCHLD, without which cpr could not wait for its children.
 */
static IN_CHILD void reset_signals(void)
{
	unsigned long old[4]; /* the kernel's struct: handler, flags, restorer, mask */
	static const unsigned long preset[4];

	for (int sig = 1; sig <= NSIGNALS; sig++) {
		if (syscall(SYS_rt_sigaction, sig, NULL, old, 8) < 0)
			continue;
		if (old[0] != (unsigned long)SIG_IGN || sig == SIGCHLD)
			(void)syscall(SYS_rt_sigaction, sig, preset, NULL, 8);
	}
}

static IN_CHILD int place_fds(const struct ckpti_spawn *s)
{
	unsigned first = CKPTI_READY_FD;
	long result = syscall(SYS_fcntl, s->result_fd, F_DUPFD, HIGH_FD);
	long ready = 0;

	if (s->ready_fd >= 0) {
		ready = syscall(SYS_fcntl, s->ready_fd, F_DUPFD, HIGH_FD);
		first++;
	}
	if (result < 0 || ready < 0 || syscall(SYS_dup2, result, CKPTI_RESULT_FD) < 0 ||
	    (s->ready_fd >= 0 && syscall(SYS_dup2, ready, CKPTI_READY_FD) < 0))
		return -1;
	/* What the program has open must not outlive it in cpr: ends of pipes, locks. */
	(void)syscall(SYS_close_range, first, ~0U, 0);
	return 0;
}

static IN_CHILD void leave_the_program(void)
{
	long null = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR, 0);

	for (int fd = 0; null >= 0 && fd < 3; fd++)
		(void)syscall(SYS_dup2, null, fd);
	if (null > 2)
		(void)syscall(SYS_close, null);
	/* Not in the process group or session that may be what is to be stopped, or killed. */
	(void)syscall(SYS_setsid);
}

/* The process that becomes cpr: its own descriptor table and signal actions, our memory. */
static IN_CHILD int become_cpr(void *arg)
{
	static const uint64_t nothing;
	struct ckpti_spawn *s = ((struct job *)arg)->s;

	reset_signals();
	if (place_fds(s) == 0) {
		if (s->detach)
			leave_the_program();
		(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &nothing, NULL, 8);
		(void)syscall(SYS_execve, s->path, s->argv, s->envp);
	}
	s->error = errno;
	syscall(SYS_exit_group, 127);
	return 0;
}

/* The short-lived one. */
static IN_CHILD int start_cpr(void *arg)
{
	struct job *job = arg;
	struct ckpti_spawn *s = job->s;

	s->pid = clone(become_cpr, job->exec_stack, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD,
		       job, &s->pid_fd);
	if (s->pid < 0)
		s->error = errno;
	syscall(SYS_exit_group, 0);
	return 0;
}

static void collect(pid_t pid)
{
	while (syscall(SYS_wait4, pid, NULL, __WALL, NULL) < 0 && errno == EINTR)
		;
}

int ckpti_spawn(struct ckpti_spawn *s)
{
	struct job job = {.s = s};
	uint8_t *stacks;
	pid_t pid;

	s->error = 0;
	s->pid = 0;
	s->pid_fd = -1;
	stacks = mmap(NULL, 2 * STACK_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stacks == MAP_FAILED)
		return -errno;
	job.exec_stack = stacks + STACK_SIZE;
	if (s->detach) {
		pid = clone(start_cpr, stacks + 2 * STACK_SIZE,
			    CLONE_VM | CLONE_VFORK | CLONE_FILES, &job);
		if (pid < 0)
			s->error = errno;
		else
			collect(pid);
	} else {
		s->pid = clone(become_cpr, job.exec_stack, CLONE_VM | CLONE_VFORK | SIGCHLD, &job);
		if (s->pid < 0)
			s->error = errno;
		else if (s->error)
			collect(s->pid);
	}
	(void)munmap(stacks, 2 * STACK_SIZE);
	if (s->error && s->pid_fd >= 0)
		(void)syscall(SYS_close, s->pid_fd);
	return -s->error;
}
