/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What can and cannot be checkpointed here, and why: of this machine, or of a process that runs.
 * Looks only; nothing is signalled.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ckpt.h"
#include "core/capture.h"
#include "core/life.h"
#include "core/registry.h"
#include "core/set.h"
#include "core/supervisor.h"
#include "core/track.h"
#include "os/linux/sys.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

/* ---- a process ---------------------------------------------------------------------------- */

static int note(ckpti_finding_f fn, void *arg, int r, const char *what, struct ckpti_err *mine,
		struct ckpti_err *err)
{
	if (fn)
		fn(arg, r == 0 ? 1 : 0, what, r == 0 ? "" : mine->text);
	if (r < 0 && err && !err->code)
		*err = *mine;
	memset(mine, 0, sizeof(*mine));
	return r;
}

int ckpti_check_descriptor(const struct ckpti_member *m, int num, struct ckpti_err *err)
{
	struct ckpti_desc *d = calloc(1, sizeof(*d));
	char path[64], name[32];
	const char *flags;
	int r = 0;

	if (!d)
		return -ENOMEM;
	d->id = 1;
	d->pid = m->info.pid;
	d->image_pid = m->info.inner_pid;
	d->num = num;
	d->fd = -1;
	(void)snprintf(name, sizeof(name), "fd/%d", num);
	(void)snprintf(path, sizeof(path), "/proc/%d/fd/%d", m->info.pid, num);
	if (ckpti_procfs_link(m->info.pid, name, d->link) >= 0 && stat(path, &d->st) == 0) {
		(void)snprintf(name, sizeof(name), "fdinfo/%d", num);
		d->fdinfo = ckpti_procfs_slurp(m->info.pid, name, NULL);
		flags = d->fdinfo ? ckpti_fdinfo_field(d->fdinfo, "flags") : NULL;
		d->oflags = flags ? (int)strtol(flags, NULL, 8) : 0;
		r = ckpti_fd_probe(d, err);
	}
	free(d->fdinfo);
	free(d->priv);
	free(d);
	return r;
}

int ckpti_check_member(struct ckpti_set *set, struct ckpti_member *m, ckpti_finding_f fn, void *arg,
		       struct ckpti_err *err)
{
	struct ckpti_err mine = {0};
	struct ckpti_map *map = NULL;
	int *nums = NULL;
	size_t n = 0;
	char what[96], dir[64];
	int worst, r;

	(void)snprintf(what, sizeof(what), "process %d (%s)", m->info.pid, m->info.comm);
	m->bare_ns = 1; /* no patience for an exec in progress */
	worst = note(fn, arg, ckpti_set_eligible(set, m, &mine), what, &mine, err);
	(void)snprintf(dir, sizeof(dir), "/proc/%d/fd", m->info.pid);
	r = ckpti_procfs_numbers(dir, &nums, &n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		(void)snprintf(what, sizeof(what), "process %d descriptor %d", m->info.pid,
			       nums[i]);
		r = ckpti_check_descriptor(m, nums[i], &mine);
		if (r < 0)
			(void)note(fn, arg, r, what, &mine, err);
		worst = worst < 0 ? worst : r;
		r = 0;
	}
	free(nums);
	if (ckpti_procfs_maps(m->info.pid, &map, &n) < 0)
		return worst;
	for (size_t i = 0; i < n; i++) {
		(void)snprintf(what, sizeof(what), "process %d memory", m->info.pid);
		r = ckpti_map_refusal(m, &map[i], &mine);
		if (r < 0)
			(void)note(fn, arg, r, what, &mine, err);
		worst = worst < 0 ? worst : r;
	}
	ckpti_procfs_maps_free(map, n);
	return worst;
}

int ckpti_check_pid(int pid, ckpti_finding_f fn, void *arg, struct ckpti_err *err)
{
	struct ckpti_target target = {.type = P_HID, .id = ckpti_supervisor_root(pid)};
	struct ckpti_create_req req = {.target = &target, .ntarget = 1};
	struct ckpti_set set;
	int r;

	ckpti_set_init(&set, &req);
	r = ckpti_set_scan(&set, err);
	for (size_t i = 0; r == 0 && i < set.n; i++)
		if (set.member[i].state != CKPTI_MEMBER_ZOMBIE)
			(void)ckpti_check_member(&set, &set.member[i], fn, arg, NULL);
	ckpti_set_done(&set, 0, 0);
	return r;
}

/* ---- this machine ------------------------------------------------------------------------- */

static int have_pagemap_scan(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	struct page_region region;
	struct pm_scan_arg a = {.size = sizeof(a), .vec = (uint64_t)&region, .vec_len = 1};
	int r = fd >= 0 && ioctl(fd, PAGEMAP_SCAN, &a) >= 0;

	if (fd >= 0)
		(void)close(fd);
	return r;
}

static int yama_scope(void)
{
	FILE *f = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
	int v = 0;

	if (f) {
		if (fscanf(f, "%d", &v) != 1)
			v = 0;
		(void)fclose(f);
	}
	return v;
}

int ckpti_check_host(ckpti_finding_f fn, void *arg)
{
	struct ckpti_procinfo self;
	int admin = ckpti_procfs_read(getpid(), &self) == 0 && (self.cap_eff & (1ULL << 21));
	int userns = admin ? 0 : CLONE_NEWUSER;
	int scope = yama_scope();

	fn(arg, syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 0, 0) == 0, "compare descriptors",
	   "kcmp(2), kernel option CONFIG_KCMP: needed for every checkpoint");
	fn(arg, have_pagemap_scan() ? 1 : -1, "find changed pages quickly",
	   "PAGEMAP_SCAN, Linux 6.7: without it the page map is read, which takes longer");
	fn(arg, ckpti_track_probe() == 0 && scope < 1 ? 1 : -1, "write memory while programs run",
	   scope < 1 ? "asynchronous write protection, Linux 6.7: without it everything is "
		       "written in the stop"
		     : "kernel.yama.ptrace_scope forbids it: everything is written in the stop");
	fn(arg,
	   ckpti_ids_can_unshare(userns | CLONE_NEWPID | CLONE_NEWNS) ? 1
	   : admin                                                    ? -1
								      : 0,
	   "restart with the old process numbers",
	   admin ? "host numbers where they are free, else a private pid namespace"
		 : "private user and pid namespace (user.max_user_namespaces); inside, "
		   "supplementary groups and foreign owners show as nobody");
	fn(arg, ckpti_ids_can_unshare(userns | CLONE_NEWTIME) ? 1 : -1,
	   "clocks continue over a restart",
	   "time namespace, Linux 5.6: without it CLOCK_MONOTONIC jumps");
	fn(arg, prctl(PR_TIMER_CREATE_RESTORE_IDS, 2, 0, 0, 0) >= 0 ? 1 : -1,
	   "timers keep their numbers", "Linux 6.15: older kernels reach them by counting up");
	fn(arg, scope <= 1 ? 1 : 0, "plant the restorer",
	   scope <= 1 ? "ptrace of own descendants is allowed"
		      : "kernel.yama.ptrace_scope forbids ptrace: a restart is impossible");
	return 0;
}

/* ---- what runs ---------------------------------------------------------------------------- */

static void add_running(struct ckpti_running **list, size_t *n, uint64_t id,
			const struct ckpti_procinfo *p)
{
	struct ckpti_running *r = NULL, *bigger;

	for (size_t i = 0; i < *n; i++)
		if ((*list)[i].set_id == id)
			r = &(*list)[i];
	if (!r) {
		bigger = realloc(*list, (*n + 1) * sizeof(*bigger));
		if (!bigger)
			return;
		*list = bigger;
		r = &bigger[(*n)++];
		memset(r, 0, sizeof(*r));
		r->set_id = id;
	}
	/* The oldest process of the set is its root. */
	if (!r->root_pid || p->pid < r->root_pid) {
		r->root_pid = p->pid;
		(void)snprintf(r->comm, sizeof(r->comm), "%s", p->comm);
	}
	r->nprocs++;
	r->nthreads += (unsigned)p->nthreads;
}

int ckpti_status(ckpti_running_f fn, void *arg, struct ckpti_err *err)
{
	struct ckpti_running *list = NULL;
	int *pids = NULL;
	size_t npids = 0, n = 0;
	int r = ckpti_procfs_numbers("/proc", &pids, &npids);

	if (r < 0)
		return ckpti_err(err, r, "cannot read /proc: %s", strerror(-r));
	for (size_t i = 0; i < npids; i++) {
		struct ckpti_procinfo p;
		char text[32];
		uint64_t id;

		if (ckpti_procfs_read(pids[i], &p) < 0 || p.state == 'Z' || p.uid[0] != getuid() ||
		    ckpti_procfs_environ(pids[i], "CKPT_SET", text, sizeof(text)) != 1)
			continue;
		id = strtoull(text, NULL, 16);
		if (id) /* 0: a cpr that has left the set which started it */
			add_running(&list, &n, id, &p);
	}
	for (size_t i = 0; i < n; i++) {
		(void)ckpti_registry_find(list[i].set_id, list[i].last_dir,
					  &list[i].last_generation, &list[i].last_ctime_ns);
		fn(arg, &list[i]);
	}
	free(list);
	free(pids);
	return 0;
}
