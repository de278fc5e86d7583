/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A dummy plug-in: threads that block every signal, a descriptor, a mapping and a timer that cannot be
 * checkpointed or must not be.  It leaves them out and makes them anew after a restart, in the signal
 * handler, with raw system calls only.  Its threads are made without libc, which therefore knows
 * nothing of them in either life.
 */
#include "proto_plugin.h"

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ckpt_hooks.h"

#define FD       222 /* a number of its own in both lives */
#define MAP_SIZE 65536
#define STACK    32768

struct plugin_view plugin_view;

static uint8_t stacks[PLUGIN_THREADS][STACK] __attribute__((aligned(64)));
static uint32_t gone[PLUGIN_THREADS]; /* cleared by the kernel when a thread has ended */
static int stop;
static unsigned refusals;

/* No libc: errno belongs to the thread that made this one. */
static long raw(long nr, long a, long b)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
	return ret;
}

static int beat(void *arg)
{
	const struct timespec ts = {.tv_nsec = 2000000};
	uint64_t *count = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
		__atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
		(void)raw(SYS_nanosleep, (long)&ts, 0);
	}
	(void)raw(SYS_exit, 0, 0);
	return 0;
}

static void make_threads(void)
{
	const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
			  CLONE_SYSVSEM | CLONE_CHILD_CLEARTID | CLONE_PARENT_SETTID;
	uint64_t all = ~0ULL, old;

	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &old, 8);
	for (int i = 0; i < PLUGIN_THREADS; i++) {
		gone[i] = 1;
		if (clone(beat, stacks[i] + STACK, flags, &plugin_view.beats[i],
			  &plugin_view.tids[i], NULL, &gone[i]) < 0)
			plugin_view.odd++;
	}
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, 8);
}

static void make_all(void *at)
{
	struct sigevent ev = {.sigev_notify = SIGEV_NONE};
	int fd = (int)syscall(SYS_inotify_init1, IN_CLOEXEC);

	plugin_view.fd = (int)syscall(SYS_dup3, fd, FD, 02000000 /* O_CLOEXEC */);
	(void)syscall(SYS_close, fd);
	/* Shared memory of System V, which is refused when it is the program's. */
	plugin_view.shmid = (int)syscall(SYS_shmget, IPC_PRIVATE, MAP_SIZE, 0600);
	plugin_view.map = (uintptr_t)syscall(SYS_shmat, plugin_view.shmid, at, 0);
	(void)syscall(SYS_shmctl, plugin_view.shmid, IPC_RMID, NULL);
	(void)syscall(SYS_timer_create, CLOCK_MONOTONIC, &ev, &plugin_view.timer);
	make_threads();
}

/* ---- the hooks ------------------------------------------------------------------------------ */

static int foreign_task(void *arg, int tid)
{
	(void)arg;
	for (int i = 0; i < PLUGIN_THREADS; i++)
		if (plugin_view.tids[i] == tid)
			return 1;
	return 0;
}

static int foreign_fd(void *arg, int fd)
{
	(void)arg;
	return fd == plugin_view.fd;
}

static int foreign_map(void *arg, uintptr_t start, uintptr_t end)
{
	(void)arg;
	return start >= plugin_view.map && end <= plugin_view.map + MAP_SIZE;
}

static int foreign_timer(void *arg, int id)
{
	(void)arg;
	return id == plugin_view.timer;
}

/* Each checkpoint: quiesce (perhaps several times), before_image, one of the two ends. */
static int quiesce(void *arg)
{
	(void)arg;
	plugin_view.quiesce++;
	if (refusals) {
		refusals--;
		return 1;
	}
	return 0;
}

static int before_image(void *arg)
{
	(void)arg;
	plugin_view.image++;
	if (plugin_view.image > plugin_view.quiesce ||
	    plugin_view.image != plugin_view.after_continue + plugin_view.after_restart + 1)
		plugin_view.odd++;
	return 0;
}

static void after_continue(void *arg)
{
	(void)arg;
	plugin_view.after_continue++;
}

static void after_restart(void *arg)
{
	(void)arg;
	plugin_view.after_restart++;
	memset(plugin_view.beats, 0, sizeof(plugin_view.beats));
	make_all((void *)plugin_view.map);
}

static const struct ckpt_hooks hooks = {
	.version = CKPT_HOOKS_VERSION,
	.name = "dummy",
	.foreign_task = foreign_task,
	.foreign_fd = foreign_fd,
	.foreign_map = foreign_map,
	.foreign_timer = foreign_timer,
	.quiesce = quiesce,
	.before_image = before_image,
	.after_continue = after_continue,
	.after_restart = after_restart,
};

void plugin_start(unsigned not_now)
{
	refusals = not_now;
	make_all(NULL);
	if (ckpt_hooks_register(&hooks) < 0)
		plugin_view.odd++;
}

void plugin_stop(void)
{
	__atomic_store_n(&stop, 1, __ATOMIC_SEQ_CST);
	for (int i = 0; i < PLUGIN_THREADS; i++)
		while (__atomic_load_n(&gone[i], __ATOMIC_SEQ_CST))
			(void)usleep(1000);
	(void)ckpt_hooks_remove(&hooks);
}
