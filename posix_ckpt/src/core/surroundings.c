/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What surrounds a process and is not saved: its root directory, its namespaces, what its threads
 * or another process share or do not share with it, and the other ranks of a foreign MPI.  A process whose surroundings could not be made
 * again is refused here; what may not be looked at is taken to be usual.  It is looked at before the
 * process is signalled, where its agent might be cut off from us, and again when it stands still.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/agent.h"
#include "core/mpi.h"
#include "core/set.h"
#include "core/supervisor.h"

struct ns {
	const char *name; /* in /proc/PID/ns */
	const char *what;
	bool ours; /* a restart gives a set one of its own when that is needed */
};

static const struct ns namespaces[] = {
	{"net", "network", false},   {"ipc", "IPC", false},
	{"uts", "host name", false}, {"cgroup", "cgroup", false},
	{"mnt", "mount", true},      {"user", "user", true},
	{"pid", "pid", true},        {"pid_for_children", "pid", true},
	{"time", "time", true},      {"time_for_children", "time", true},
};

static int64_t identity(const char *path)
{
	struct stat st;

	return stat(path, &st) < 0 ? -errno : (int64_t)st.st_ino;
}

static int64_t namespace_of(int pid, const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/proc/%d/ns/%s", pid, name);
	return identity(path);
}

/* Has the process the namespace that the other one has?  A pid namespace for children that has no
 * child yet cannot be opened: -ENOENT. */
static bool same_namespace(int pid, int other, const char *name)
{
	int64_t mine = namespace_of(pid, name);

	return mine == -EACCES || mine == -EPERM || mine == namespace_of(other, name);
}

static bool is_member(const struct ckpti_set *set, int pid)
{
	for (size_t i = 0; i < set->n; i++)
		if (set->member[i].info.pid == pid)
			return true;
	return false;
}

/* Who restarted the set, and stays as the parent of its root; 0 when it has never been restarted.
 * Before the muster the members stand in no order: the root may be any of them. */
static int builder_of(const struct ckpti_set *set)
{
	struct ckpti_procinfo p;

	for (size_t i = 0; i < set->n; i++)
		if (!is_member(set, set->member[i].info.ppid) &&
		    ckpti_procfs_read(set->member[i].info.ppid, &p) == 0 &&
		    ckpti_supervisor_is_name(p.comm))
			return p.pid;
	return 0;
}

static int check_namespaces(const struct ckpti_set *set, const struct ckpti_member *m,
			    struct ckpti_err *err)
{
	int pid = m->info.pid, builder = builder_of(set);

	for (size_t i = 0; i < sizeof(namespaces) / sizeof(namespaces[0]); i++) {
		const struct ns *ns = &namespaces[i];

		if (same_namespace(pid, getpid(), ns->name) ||
		    (ns->ours && builder && same_namespace(pid, builder, ns->name)))
			continue;
		/* A process that is ending has no namespaces any more. */
		if (namespace_of(pid, namespaces[0].name) < 0)
			return -EAGAIN;
		return ckpti_err_obj(err, -ENOTSUP, pid, m->info.comm,
				     "is in another %s namespace than cpr", ns->what);
	}
	return 0;
}

/* 0: the same, > 0: not, < 0: may not be compared. */
static long compare(int a, int b, int what)
{
	return syscall(SYS_kcmp, a, b, what, 0UL, 0UL);
}

static const struct {
	int type;
	const char *what;
} shareable[] = {
	{KCMP_FILES, "descriptors"},
	{KCMP_FS, "working directory and umask"},
};

/* Threads of a process share these and have the same rights; other processes share none of these. */
static int check_thread(const struct ckpti_member *m, int tid, struct ckpti_err *err)
{
	const struct ckpti_procinfo *p = &m->info;
	struct ckpti_procinfo t = {.pid = tid};

	/* The agent is at work for another coordinator, who has just gone. */
	if (ckpti_procfs_stat(tid, &t) == 0 && strcmp(t.comm, CKPTI_TASK_NAME) == 0)
		return -EAGAIN;
	for (size_t i = 0; i < sizeof(shareable) / sizeof(shareable[0]); i++)
		/* A thread that is ending has given up its memory first. */
		if (compare(p->pid, tid, shareable[i].type) > 0 &&
		    compare(p->pid, tid, KCMP_VM) == 0)
			return ckpti_err_obj(err, -ENOTSUP, p->pid, p->comm,
					     "its thread %d has %s of its own (unshare)", tid,
					     shareable[i].what);
	if (ckpti_procfs_status(&t) < 0)
		return 0;
	/* Its handler's system calls may be fatal: asked before it is signalled. */
	if (t.seccomp)
		return ckpti_err_obj(err, -ENOTSUP, p->pid, p->comm,
				     "has a seccomp filter in thread %d, which cannot be read back",
				     tid);
	if (memcmp(t.uid, p->uid, sizeof(t.uid)) != 0 ||
	    memcmp(t.gid, p->gid, sizeof(t.gid)) != 0 || t.cap_eff != p->cap_eff ||
	    t.cap_prm != p->cap_prm)
		return ckpti_err_obj(err, -ENOTSUP, p->pid, p->comm,
				     "its thread %d has user ids or capabilities of its own", tid);
	return 0;
}

static int check_threads(const struct ckpti_member *m, struct ckpti_err *err)
{
	char dir[64];
	int *tids = NULL;
	size_t n = 0;
	int r;

	(void)snprintf(dir, sizeof(dir), "/proc/%d/task", m->info.pid);
	r = ckpti_procfs_numbers(dir, &tids, &n);
	if (r == -ENOENT || r == -ESRCH) /* it has just ended */
		r = -EAGAIN;
	for (size_t i = 0; r == 0 && i < n; i++)
		if (tids[i] != m->info.pid)
			r = check_thread(m, tids[i], err);
	free(tids);
	return r;
}

static int check_sharing(struct ckpti_set *set, const struct ckpti_member *m, struct ckpti_err *err)
{
	const struct ckpti_member *parent = ckpti_set_find(set, m->info.ppid);

	if (!parent || parent->state == CKPTI_MEMBER_ZOMBIE)
		return 0;
	/* A child of vfork(), about to execute a program or to end: it has nothing of its own yet. */
	if (compare(m->info.pid, parent->info.pid, KCMP_VM) == 0)
		return -EAGAIN;
	for (size_t i = 0; i < sizeof(shareable) / sizeof(shareable[0]); i++)
		if (compare(m->info.pid, parent->info.pid, shareable[i].type) == 0)
			return ckpti_err_obj(err, -ENOTSUP, m->info.pid, m->info.comm,
					     "shares its %s with process %d", shareable[i].what,
					     parent->info.pid);
	return 0;
}

/* By identity: in a chroot, the path of a root in a mount namespace of its own is not "/". */
static int check_root(const struct ckpti_member *m, struct ckpti_err *err)
{
	struct stat ours, theirs;
	char path[64], root[PATH_MAX];

	(void)snprintf(path, sizeof(path), "/proc/%d/root/.", m->info.pid);
	if (stat("/", &ours) < 0 || stat(path, &theirs) < 0 ||
	    (ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino))
		return 0;
	if (ckpti_procfs_link(m->info.pid, "root", root) < 0)
		(void)snprintf(root, sizeof(root), "?");
	return ckpti_err_obj(err, -ENOTSUP, m->info.pid, m->info.comm,
			     "has changed its root directory to '%.200s'", root);
}

/* Ranks of a library that we do not stand in for are connected in ways that nobody sees here. */
static int check_mpi(const struct ckpti_member *m, struct ckpti_err *err)
{
	char *maps = ckpti_procfs_slurp(m->info.pid, "maps", NULL), path[64], name[96];
	bool found = maps && ckpti_mpi_in_maps(maps, name, sizeof(name));
	int fd = -1;

	free(maps);
	if (!found) {
		(void)snprintf(path, sizeof(path), "/proc/%d/exe", m->info.pid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	if (fd >= 0) {
		found = ckpti_mpi_in_program(fd, name, sizeof(name));
		(void)close(fd);
	}
	return found ? ckpti_err_obj(err, -ENOTSUP, m->info.pid, m->info.comm,
				     "%s " CKPTI_MPI_REFUSED, name)
		     : 0;
}

int ckpti_surroundings_check(struct ckpti_set *set, struct ckpti_member *m, struct ckpti_err *err)
{
	int r = check_root(m, err);

	if (r == 0)
		r = check_namespaces(set, m, err);
	if (r == 0)
		r = check_threads(m, err);
	if (r == 0)
		r = check_sharing(set, m, err);
	/* Once is enough, and not while it stands still: its libraries stay. */
	if (r == 0 && !m->looked_around)
		r = check_mpi(m, err);
	m->looked_around = r == 0;
	return r;
}
