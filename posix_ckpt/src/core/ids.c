/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Process numbers and clocks of a restart.  With the right to choose numbers, and all of them free,
 * the host's own numbers are used; otherwise a private pid namespace (inside a user namespace when
 * unprivileged) gives every process its old number there.  Where neither is allowed, new numbers.  A
 * time namespace lets the monotonic clocks go on where they stood.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/life.h"
#include "core/procfs.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif
#define CAP_BIT(c) (1ULL << (c))

static uint64_t own_caps(void)
{
	struct ckpti_procinfo p;

	return ckpti_procfs_read(getpid(), &p) == 0 ? p.cap_eff : 0;
}

static bool taken(int id)
{
	return (kill(id, 0) == 0 || errno != ESRCH) || (kill(-id, 0) == 0 || errno != ESRCH);
}

/* The first number of the image that somebody else has here; 0 when all are free. */
static int first_taken(const struct ckpti_life *life)
{
	struct ckpti_view v;
	size_t pos = 0;

	for (size_t i = 0; i < life->nproc; i++) {
		const struct ckpti_r_proc *p = &life->proc[i];

		if (taken(p->pid))
			return p->pid;
		if (ckpti_tree_leaderless(life, p->pgid) && taken(p->pgid))
			return p->pgid;
		if (ckpti_tree_leaderless(life, p->sid) && taken(p->sid))
			return p->sid;
	}
	while (ckpti_image_next(&life->img, &pos, &v)) {
		if (v.type != CKPTI_R_THREADS)
			continue;
		for (uint64_t i = 0; i < v.count; i++) {
			struct ckpti_e_thread t;

			CKPTI_ELEM(&v, i, &t);
			if (taken(t.tid))
				return t.tid;
		}
	}
	return 0;
}

int ckpti_ids_can_unshare(int flags)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0)
		_exit(unshare(flags) == 0 ? 0 : 1);
	if (pid > 0)
		(void)waitpid(pid, &status, 0);
	return status == 0;
}

/* New numbers can only work where nobody keeps an old one: one process, whose threads are known to
 * libc by the word that the kernel clears. */
static int new_ids_possible(const struct ckpti_life *life, struct ckpti_err *err)
{
	if (life->nproc == 1)
		return 0;
	return ckpti_err(
		err, -EADDRINUSE,
		"%zu processes that know each other's numbers cannot get new ones%s", life->nproc,
		life->req->ids == CKPTI_IDS_NEW
			? ""
			: "; the old ones are taken here or may not be chosen, and private "
			  "namespaces are forbidden (see user.max_user_namespaces)");
}

int ckpti_ids_decide(struct ckpti_life *life, struct ckpti_err *err)
{
	uint64_t caps = own_caps();
	bool choose = caps & (CAP_BIT(CAP_SYS_ADMIN) | CAP_BIT(CAP_CHECKPOINT_RESTORE));
	bool admin = caps & CAP_BIT(CAP_SYS_ADMIN);
	int conflict = life->req->clone ? -1 : first_taken(life);
	enum ckpti_ids want = life->req->ids;

	life->ids = want;
	if (want == CKPTI_IDS_AUTO)
		life->ids = choose && !conflict ? CKPTI_IDS_HOST : CKPTI_IDS_PRIVATE;
	if (life->ids == CKPTI_IDS_HOST) {
		if (!choose)
			return ckpti_err(
				err, -EPERM,
				"choosing process numbers needs CAP_CHECKPOINT_RESTORE; use "
				"--ids private");
		if (conflict > 0)
			return ckpti_err(err, -EADDRINUSE,
					 "process number %d is taken here; use --ids private",
					 conflict);
		life->timens = admin && ckpti_ids_can_unshare(CLONE_NEWTIME);
		return 0;
	}
	if (life->ids == CKPTI_IDS_PRIVATE) {
		life->userns = !admin;
		life->timens =
			ckpti_ids_can_unshare((life->userns ? CLONE_NEWUSER : 0) | CLONE_NEWTIME);
		if (ckpti_ids_can_unshare((life->userns ? CLONE_NEWUSER : 0) | CLONE_NEWPID |
					  CLONE_NEWNS))
			return 0;
		if (want == CKPTI_IDS_PRIVATE)
			return ckpti_err(err, -EPERM,
					 "private namespaces are forbidden here (see "
					 "user.max_user_namespaces)");
		life->ids = CKPTI_IDS_NEW;
	}
	life->userns = life->timens = false;
	return new_ids_possible(life, err);
}

/* ---- clocks ------------------------------------------------------------------------------- */

static int64_t offset_of(int pid, int clock)
{
	const char *name = clock == CLOCK_MONOTONIC ? "monotonic" : "boottime";
	char *text = ckpti_procfs_slurp(pid, "timens_offsets", NULL);
	int64_t sec = 0, nsec = 0;
	const char *p = text ? strstr(text, name) : NULL;

	if (p)
		(void)sscanf(p + strlen(name), "%ld %ld", &sec, &nsec);
	free(text);
	return sec * 1000000000 + nsec;
}

int64_t ckpti_clock_of(int pid, int clock)
{
	struct timespec ts;

	(void)clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000L + ts.tv_nsec - offset_of(getpid(), clock) +
	       offset_of(pid, clock);
}

static int write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		r = -errno;
	(void)close(fd);
	return r;
}

/* The image's clocks as offsets to the host's. */
static int set_clocks(const struct ckpti_life *life, struct ckpti_err *err)
{
	static const struct {
		int clock;
		const char *name;
	} clocks[] = {{CLOCK_MONOTONIC, "monotonic"}, {CLOCK_BOOTTIME, "boottime"}};
	char text[64];
	int r;

	for (int i = 0; i < 2; i++) {
		int64_t saved = i == 0 ? life->set.monotonic_ns : life->set.boottime_ns;
		struct timespec ts;
		int64_t off;

		(void)clock_gettime(clocks[i].clock, &ts);
		off = saved -
		      (ts.tv_sec * 1000000000L + ts.tv_nsec - offset_of(getpid(), clocks[i].clock));
		/* seconds may be negative, nanoseconds may not */
		ts.tv_sec = off / 1000000000;
		ts.tv_nsec = off % 1000000000;
		if (ts.tv_nsec < 0) {
			ts.tv_nsec += 1000000000;
			ts.tv_sec--;
		}
		(void)snprintf(text, sizeof(text), "%s %ld %ld\n", clocks[i].name, ts.tv_sec,
			       ts.tv_nsec);
		r = write_text("/proc/self/timens_offsets", text);
		if (r < 0)
			return ckpti_err(err, r, "cannot set the %s clock: %s", clocks[i].name,
					 strerror(-r));
	}
	return 0;
}

/* ---- namespaces --------------------------------------------------------------------------- */

static int enter_userns(struct ckpti_err *err)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	char text[64];
	int r;

	if (unshare(CLONE_NEWUSER) < 0)
		return ckpti_err(err, -errno, "cannot make a user namespace: %s", strerror(errno));
	r = write_text("/proc/self/setgroups", "deny");
	if (r == 0 || r == -ENOENT) {
		(void)snprintf(text, sizeof(text), "%u %u 1", uid, uid);
		r = write_text("/proc/self/uid_map", text);
	}
	if (r == 0) {
		(void)snprintf(text, sizeof(text), "%u %u 1", gid, gid);
		r = write_text("/proc/self/gid_map", text);
	}
	return r < 0 ? ckpti_err(err, r, "cannot map ids into a user namespace: %s", strerror(-r))
		     : 0;
}

int ckpti_ids_enter(struct ckpti_life *life, struct ckpti_err *err)
{
	int r = 0;

	if (life->userns)
		r = enter_userns(err);
	if (r == 0 && life->ids == CKPTI_IDS_PRIVATE && unshare(CLONE_NEWPID) < 0)
		r = ckpti_err(err, -errno, "cannot make a pid namespace: %s", strerror(errno));
	if (r == 0 && life->timens) {
		if (unshare(CLONE_NEWTIME) < 0)
			r = ckpti_err(err, -errno, "cannot make a time namespace: %s",
				      strerror(errno));
		else
			r = set_clocks(life, err);
	}
	return r;
}

int ckpti_ids_inside(struct ckpti_life *life, struct ckpti_err *err)
{
	if (life->ids != CKPTI_IDS_PRIVATE)
		return 0;
	/* cpr itself keeps the host's /proc.  Mounts of the host still arrive here, ours do not leave.
	 * In a chroot / is no mount point: there the /proc that is covered keeps ours from leaving. */
	if (unshare(CLONE_NEWNS) < 0 ||
	    (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 &&
	     mount(NULL, "/proc", NULL, MS_SLAVE, NULL) < 0) ||
	    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return ckpti_err(err, -errno, "cannot mount /proc of the private pid namespace: %s",
				 strerror(errno));
	return 0;
}
