/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Work that needs descriptors while other threads of the program still run is done by a task of its
 * own with an empty descriptor table: what it opens is never copied by a fork() of the program's, never
 * takes a number that the program is about to use, and is never closed by closefrom().  It is a
 * thread, so that wait() does not see it, and it has ended when this returns.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/stat.h>
#include <stddef.h>

#include "agent/agent_private.h"

#define STACK_SIZE (32U << 10)
#define MANY       1000

static uint8_t stack[STACK_SIZE] __attribute__((aligned(64)));
static uint32_t runs; /* futex word: the task's number, cleared by the kernel at its end */
static int result;
static int (*work)(void);

long agent_thread_count(void)
{
	struct statx st;
	long r = sys(statx, AT_FDCWD, "/proc/self/task", 0, STATX_NLINK, &st);

	/* Two of every directory, and one for each thread. */
	return r < 0 ? r : (long)st.stx_nlink - 2;
}

static void task(long arg)
{
	(void)arg;
	(void)sys(close_range, 0, ~0U, CLOSE_RANGE_UNSHARE);
	(void)sys(prctl, PR_SET_NAME, CKPTI_TASK_NAME);
	result = work();
	for (;;)
		(void)sys(exit, 0);
}

int agent_apart(int (*fn)(void))
{
	const struct {
		int64_t sec, nsec;
	} step = {0, 20000};
	struct clone_args args = {
		.flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			 CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
		.parent_tid = (uint64_t)&runs,
		.child_tid = (uint64_t)&runs,
		.stack = (uint64_t)stack,
		.stack_size = sizeof(stack),
	};
	uint32_t now;
	long tid;

	work = fn;
	tid = arch_clone3(&args, sizeof(args), task, 0);
	if (tid < 0)
		return fn();
	while ((now = __atomic_load_n(&runs, __ATOMIC_SEQ_CST)) != 0)
		(void)ckpti_futex_wait(&runs, now, NULL);
	/* It is counted as a thread for a moment longer; by a debugger, as long as that likes. */
	for (int i = 0; i < MANY && sys(tgkill, ckpti_agent.pid, tid, 0) == 0; i++)
		(void)sys(nanosleep, &step, NULL);
	return result;
}
