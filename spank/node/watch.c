/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The watch: a child that looks at the step's directory, because looking may hang for as long as the file
 * system does.  When it finds that a successor of this life has begun it kills the tasks, at once and
 * whatever the agent is doing; that it has been able to look at all is what the agent goes by (fence.c).
 * It outlives an agent that was killed, until the tasks have ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spank/lib/step.h"
#include "spank/node/node.h"

/* Between two looks, at most; with a coordinator they are only to tell that the directory is there. */
#define PAUSE_MS           1000U
#define PAUSE_CONNECTED_MS 5000U
#define PAUSE_LEAST_MS     200U

static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

/* Nobody starts a successor from a directory that was removed; a file system that is not there looks
 * different: then what is above the directory is missing, too. */
static bool was_removed(const char *path)
{
	char parent[PATH_MAX];
	struct stat st;
	char *slash;

	(void)snprintf(parent, sizeof(parent), "%s", path);
	slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return false;
	*slash = 0;
	return stat(path, &st) < 0 && errno == ENOENT && stat(parent, &st) == 0;
}

/* 1 superseded, 0 not, -errno: cannot be told. */
static int look(const char *path, int *fd, uint32_t epoch)
{
	int r;

	if (*fd < 0)
		*fd = open_dir(path);
	r = *fd < 0 ? *fd : ckpti_step_superseded(*fd, epoch);
	if (r >= 0)
		return r;
	/* The descriptor may be what is stale; opened anew, it is the same directory or none. */
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
	return was_removed(path) ? 0 : r;
}

static void look_at_room(struct ckpti_watch *w, int fd)
{
	struct statfs fs;

	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return;
	__atomic_store_n(&w->in_memory, fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&w->free_bytes, (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize,
			 __ATOMIC_RELAXED);
	__atomic_store_n(&w->known, 1, __ATOMIC_RELEASE);
}

/* The descriptors and the connection are the agent's; what we know of the tasks we read ourselves. */
static void be_another(struct ckpti_node *n)
{
	(void)close_range(0, ~0U, 0);
	n->uplink.wire = NULL;
	n->stepd = -1;
	for (size_t i = 0; i < n->ntasks; i++)
		n->task[i] = (struct ckpti_task){.pidfd = -1};
}

static uint64_t pause_ms(const struct ckpti_node *n, bool alone)
{
	bool connected = !alone && __atomic_load_n(&n->watch->connected, __ATOMIC_ACQUIRE);
	uint64_t most = connected ? PAUSE_CONNECTED_MS : PAUSE_MS;
	uint64_t enough = ckpti_fence_limit_ms(n) / 4;

	if (n->fence_s && enough < most)
		most = enough > PAUSE_LEAST_MS ? enough : PAUSE_LEAST_MS;
	return most;
}

__attribute__((noreturn)) static void watch(struct ckpti_node *n, int agent)
{
	struct ckpti_watch *w = n->watch;
	uint64_t last = 0;
	int fd = -1;

	be_another(n);
	for (;;) {
		bool alone = getppid() != agent;
		uint64_t pause = pause_ms(n, alone);

		ckpti_tasks_tick(n);
		if (alone && ckpti_tasks_over(n))
			_exit(0);
		/* A connection may be lost at any time: then it is not five seconds to the next look. */
		if (ckpti_node_now_ms() - last >= pause) {
			int r = look(n->stepdir, &fd, n->epoch);

			last = ckpti_node_now_ms();
			if (r >= 0)
				__atomic_store_n(&w->last_read_ms, last, __ATOMIC_RELEASE);
			if (r == 1) {
				__atomic_store_n(&w->superseded, 1, __ATOMIC_RELEASE);
				ckpti_fence_kill(n);
			}
			look_at_room(w, fd);
		}
		pause = pause < PAUSE_MS / 2 ? pause : PAUSE_MS / 2;
		(void)nanosleep(&(struct timespec){.tv_nsec = (long)pause * 1000000}, NULL);
	}
}

int ckpti_watch_start(struct ckpti_node *n, struct ckpti_err *err)
{
	int agent = getpid();

	if (!n->watch)
		n->watch = mmap(NULL, sizeof(*n->watch), PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (n->watch == MAP_FAILED) {
		n->watch = NULL;
		return ckpti_err(err, -errno, "no memory for the watch: %s", strerror(errno));
	}
	n->watch_ms = ckpti_node_now_ms();
	if (!n->watch->last_read_ms)
		n->watch->last_read_ms = n->watch_ms;
	n->watch_pid = fork();
	if (n->watch_pid == 0)
		watch(n, agent);
	return n->watch_pid < 0
		       ? ckpti_err(err, -errno, "cannot start the watch: %s", strerror(errno))
		       : 0;
}
