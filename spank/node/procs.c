/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The processes of the tasks, from /proc: whatever descends from a task, and whatever carries the
 * identity that its tree inherits (CKPT_SET), when its parents have ended.  cpr and the watch, our own
 * children, are neither.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/procfs.h"
#include "spank/node/node.h"

#define NOBODY (-1)

static int task_of_pid(const struct ckpti_node *n, int pid)
{
	for (size_t i = 0; i < n->ntasks; i++)
		if (n->task[i].pid == pid && ckpti_task_live(&n->task[i]))
			return (int)i;
	return NOBODY;
}

/* By its identity.  Processes of others cannot be asked and need not be. */
static int task_of_set(const struct ckpti_node *n, int pid)
{
	char text[32], *end;
	uint64_t set;

	if (ckpti_procfs_environ(pid, "CKPT_SET", text, sizeof(text)) != 1)
		return NOBODY;
	set = strtoull(text, &end, 16);
	if (end == text || *end || set < n->set_base || set - n->set_base >= n->ntasks_step)
		return NOBODY;
	for (size_t i = 0; i < n->ntasks; i++)
		if (n->task[i].state != CKPTI_SLOT_EMPTY && n->task[i].rank == set - n->set_base)
			return (int)i;
	return NOBODY;
}

static bool is_mine(int pid)
{
	char path[32];
	struct stat st;

	(void)snprintf(path, sizeof(path), "/proc/%d", pid);
	/* A program that may not be dumped belongs to root here: only its parents tell. */
	return stat(path, &st) == 0 && st.st_uid == geteuid();
}

static int by_pid(const void *a, const void *b)
{
	const struct ckpti_proc *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* Parents hand their task on to their children, until nothing changes any more. */
static void inherit(struct ckpti_proc *p, size_t n)
{
	for (bool changed = true; changed;) {
		changed = false;
		for (size_t i = 0; i < n; i++) {
			struct ckpti_proc key = {.pid = p[i].ppid}, *parent;

			if (p[i].task != NOBODY)
				continue;
			parent = bsearch(&key, p, n, sizeof(*p), by_pid);
			if (!parent || parent->task == NOBODY)
				continue;
			p[i].task = parent->task;
			changed = true;
		}
	}
}

int ckpti_procs_find(const struct ckpti_node *n, struct ckpti_proc **ret, size_t *ret_n)
{
	struct ckpti_proc *p;
	size_t npids = 0, np = 0, kept = 0;
	int *pids = NULL;
	int r;

	r = ckpti_procfs_numbers("/proc", &pids, &npids);
	if (r < 0)
		return r;
	p = calloc(npids + 1, sizeof(*p));
	if (!p) {
		free(pids);
		return -ENOMEM;
	}
	for (size_t i = 0; i < npids; i++) {
		struct ckpti_procinfo info;

		if (ckpti_procfs_stat(pids[i], &info) < 0 || info.state == 'X')
			continue;
		p[np] = (struct ckpti_proc){.pid = info.pid,
					    .ppid = info.ppid,
					    .start_time = info.start_time,
					    .state = info.state,
					    .task = task_of_pid(n, info.pid)};
		memcpy(p[np].comm, info.comm, sizeof(p[np].comm));
		np++;
	}
	free(pids);
	qsort(p, np, sizeof(*p), by_pid);
	inherit(p, np);
	for (size_t i = 0; i < np; i++)
		if (p[i].task == NOBODY && p[i].state != 'Z' && is_mine(p[i].pid))
			p[i].task = task_of_set(n, p[i].pid);
	inherit(p, np);
	for (size_t i = 0; i < np; i++)
		if (p[i].task != NOBODY && p[i].state != 'Z')
			p[kept++] = p[i];
	*ret = p;
	*ret_n = kept;
	return 0;
}

int ckpti_procs_signal(const struct ckpti_proc *p, int sig)
{
	struct ckpti_procinfo now;
	int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (ckpti_procfs_stat(p->pid, &now) < 0 || now.start_time != p->start_time)
		r = -ESRCH;
	else if (syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) < 0)
		r = -errno;
	(void)close(fd);
	return r;
}
