/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Before a round, so that nobody stops in vain: is there room for what the tasks of this node are going
 * to write together, and would another node find all the files that they have open?
 *
 * cpr asks the same of one task; only the agent knows of all that write at the same time.  A file system
 * that is memory is charged to the memory cgroup of the step, and the kernel would answer by killing
 * tasks.  An open file on a node-local path comes with the image as long as cpr copies it: all of it when
 * it lies in memory, else up to copy_limit; the restart makes it anew, directories and all.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "core/procfs.h"
#include "core/room.h"
#include "spank/node/node.h"

#define RESERVE (8ULL << 20) /* what cpr itself needs */

/* ---- memory ----------------------------------------------------------------------------------- */

static uint64_t reserved(const struct ckpti_config_reserve *r, uint64_t whole)
{
	return r->percent ? whole / 100 * r->percent : r->bytes;
}

static int check_room(const struct ckpti_node *n, uint64_t need, struct ckpti_err *err)
{
	uint64_t left, limit, keep;

	if (!n->watch->known)
		return 0;
	if (need > n->watch->free_bytes)
		return ckpti_err_obj(err, -ENOSPC, 0, n->stepdir,
				     "no room: up to %" PRIu64 " MiB of %s, %" PRIu64
				     " MiB free in '%.200s'",
				     need >> 20, n->host, n->watch->free_bytes >> 20, n->stepdir);
	if (!n->watch->in_memory)
		return 0;
	left = ckpti_room_left(getpid(), &limit);
	if (left == CKPTI_ROOM_NO_LIMIT)
		return 0;
	keep = reserved(&n->config.memory_reserve, limit);
	if (left >= need + keep)
		return 0;
	return ckpti_err_obj(err, -ENOSPC, 0, n->stepdir,
			     "'%.200s' is in memory, and up to %" PRIu64
			     " MiB more would exceed the memory limit on %s (%" PRIu64
			     " MiB left, %" PRIu64 " MiB of them reserved)",
			     n->stepdir, need >> 20, n->host, left >> 20, keep >> 20);
}

/* ---- files -------------------------------------------------------------------------------------- */

static bool below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len > 1 && dir[len - 1] == '/')
		len--;
	return strncmp(path, dir, len) == 0 && (path[len] == '/' || len == 1);
}

bool ckpti_node_is_local(const struct ckpti_node *n, const char *path)
{
	for (size_t i = 0; i < n->config.node_local.n; i++)
		if (below(path, n->config.node_local.item[i]))
			return true;
	return false;
}

/* Will cpr leave the content out?  As it decides itself: see file_save() there. */
static bool is_left_out(const struct ckpti_node *n, const char *link, int *ret_mib)
{
	struct statfs fs;
	struct stat st;

	if (stat(link, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink == 0 ||
	    (uint64_t)st.st_size <= n->config.copy_limit)
		return false;
	if (statfs(link, &fs) == 0 && (fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC))
		return false;
	*ret_mib = (int)(st.st_size >> 20);
	return true;
}

static int check_files(const struct ckpti_node *n, const struct ckpti_proc *p,
		       struct ckpti_err *err)
{
	char dir[32], name[32], link[64], path[PATH_MAX];
	int *nums = NULL;
	size_t nfd = 0;
	int mib = 0, r = 0;

	(void)snprintf(dir, sizeof(dir), "/proc/%d/fd", p->pid);
	if (ckpti_procfs_numbers(dir, &nums, &nfd) < 0)
		return 0; /* it has ended, or cpr will say what is wrong with it */
	for (size_t i = 0; r == 0 && i < nfd; i++) {
		(void)snprintf(name, sizeof(name), "fd/%d", nums[i]);
		(void)snprintf(link, sizeof(link), "/proc/%d/fd/%d", p->pid, nums[i]);
		/* The path first: a file that is on no node-local path may be on one that hangs. */
		if (ckpti_procfs_link(p->pid, name, path) < 0 || !ckpti_node_is_local(n, path) ||
		    !is_left_out(n, link, &mib))
			continue;
		r = ckpti_err_obj(err, -ENOTSUP, p->pid, path,
				  "process %d (%s) on %s has '%.200s' open, %d MiB that only "
				  "this node has: too large for the image (copy_limit is %" PRIu64
				  " MiB)",
				  p->pid, p->comm, n->host, path, mib, n->config.copy_limit >> 20);
	}
	free(nums);
	return r;
}

int ckpti_budget_check_node(const struct ckpti_node *n, uint64_t *ret_need, struct ckpti_err *err)
{
	struct ckpti_proc *procs = NULL;
	size_t nprocs = 0;
	uint64_t need = 0;
	int r = ckpti_procs_find(n, &procs, &nprocs);

	if (r < 0)
		return ckpti_err(err, r, "cannot read /proc on %s: %s", n->host, strerror(-r));
	for (size_t i = 0; r == 0 && i < nprocs; i++) {
		need += ckpti_room_image_size(procs[i].pid);
		r = check_files(n, &procs[i], err);
	}
	free(procs);
	for (size_t i = 0; i < n->ntasks; i++)
		need += ckpti_task_live(&n->task[i]) ? RESERVE : 0;
	if (r == 0)
		r = ckpti_include_check_node(n, &need, err);
	if (r == 0)
		r = check_room(n, need, err);
	if (r == 0)
		*ret_need = need;
	return r;
}
