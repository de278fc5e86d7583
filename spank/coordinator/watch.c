/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The watch: a child that touches the step's directory once a second, so that the coordinator itself never
 * has to wait for the file system.  It leaves a sign of life as long as there are agents, sees when a
 * successor has taken over, and measures the room that is left.  When it was killed another one is started:
 * without signs of life the step would be taken for one that does not run.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"
#include "spank/coordinator/policy.h"

#define AGAIN_MS 1000

/* The user's quota, where the kernel knows it: a network file system's server knows it alone. */
static void look_at_quota(int dirfd, uint64_t *free_bytes)
{
	struct dqblk q = {0};
	uint64_t limit;

	if (syscall(SYS_quotactl_fd, dirfd, QCMD(Q_GETQUOTA, USRQUOTA), geteuid(), &q) < 0 ||
	    !(q.dqb_valid & QIF_BLIMITS) || q.dqb_bhardlimit == 0)
		return;
	limit = q.dqb_bhardlimit * 1024;
	limit = limit > q.dqb_curspace ? limit - q.dqb_curspace : 0;
	if (limit < *free_bytes)
		*free_bytes = limit;
}

static void look_at_room(struct ckpti_cwatch *w, int dirfd)
{
	uint64_t free_bytes;
	struct statvfs fs;

	if (fstatvfs(dirfd, &fs) < 0)
		return;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	look_at_quota(dirfd, &free_bytes);
	__atomic_store_n(&w->free_bytes, free_bytes, __ATOMIC_RELAXED);
	__atomic_store_n(&w->total_bytes, (uint64_t)fs.f_blocks * fs.f_frsize, __ATOMIC_RELAXED);
	__atomic_store_n(&w->known, 1, __ATOMIC_RELEASE);
}

static void touch(int lifefd)
{
	int fd = openat(lifefd, "alive", O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return;
	(void)futimens(fd, NULL);
	(void)close(fd);
}

/* Only the descriptors of the directory stay. */
static void close_others(int dirfd, int lifefd)
{
	int low = dirfd < lifefd ? dirfd : lifefd, high = dirfd < lifefd ? lifefd : dirfd;

	(void)close_range(0, 2, 0);
	if (low > 3)
		(void)close_range(3, (unsigned)low - 1, 0);
	if (high > low + 1)
		(void)close_range((unsigned)low + 1, (unsigned)high - 1, 0);
	(void)close_range((unsigned)high + 1, ~0U, 0);
}

__attribute__((noreturn)) static void watch(struct ckpti_coord *c, int lifefd, pid_t parent)
{
	struct ckpti_cwatch *w = c->watch;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)signal(SIGTERM, SIG_DFL);
	close_others(c->step.dirfd, lifefd);
	while (getppid() == parent) {
		if (__atomic_load_n(&w->alive, __ATOMIC_ACQUIRE))
			touch(lifefd);
		if (ckpti_step_superseded(c->step.dirfd, c->epoch) == 1)
			__atomic_store_n(&w->superseded, 1, __ATOMIC_RELEASE);
		look_at_room(w, c->step.dirfd);
		(void)nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
	}
	_exit(0);
}

static int start(struct ckpti_coord *c, struct ckpti_err *err)
{
	pid_t parent = getpid();

	c->watch_ms = ckpti_now_ms();
	c->watch_pid = fork();
	if (c->watch_pid == 0)
		watch(c, c->life_dirfd, parent);
	return c->watch_pid < 0
		       ? ckpti_err(err, -errno, "cannot start the watch: %s", strerror(errno))
		       : 0;
}

void ckpti_watch_tick(struct ckpti_coord *c)
{
	if (c->watch_pid > 0 && waitpid(c->watch_pid, NULL, WNOHANG) != 0)
		c->watch_pid = 0;
	if (c->watch_pid <= 0 && ckpti_now_ms() - c->watch_ms >= AGAIN_MS)
		(void)start(c, NULL);
}

int ckpti_watch_start(struct ckpti_coord *c, struct ckpti_err *err)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "life-%u", c->epoch);
	c->life_dirfd =
		openat(c->step.dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c->life_dirfd < 0)
		return ckpti_err(err, -errno, "cannot open '%s' in '%s': %s", name, c->step.path,
				 strerror(errno));
	c->watch = mmap(NULL, sizeof(*c->watch), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (c->watch == MAP_FAILED) {
		c->watch = NULL;
		(void)close(c->life_dirfd);
		return ckpti_err(err, -ENOMEM, "no memory for the watch");
	}
	/* Agents are about to start: this life has begun. */
	c->watch->alive = 1;
	touch(c->life_dirfd);
	return start(c, err);
}

int ckpti_watch_room(const struct ckpti_coord *c, uint64_t need, struct ckpti_err *err)
{
	const struct ckpti_cwatch *w = c->watch;
	char have_text[32], need_text[32], keep_text[32];
	uint64_t have, keep;

	if (!__atomic_load_n(&w->known, __ATOMIC_ACQUIRE))
		return 0;
	have = __atomic_load_n(&w->free_bytes, __ATOMIC_RELAXED);
	keep = c->config.reserve.bytes;
	if (c->config.reserve.percent)
		keep = __atomic_load_n(&w->total_bytes, __ATOMIC_RELAXED) / 100 *
		       c->config.reserve.percent;
	if (need <= have && have - need >= keep)
		return 0;
	return ckpti_err(err, -ENOSPC,
			 "not enough room in '%s': %s are free, %s may be needed, and "
			 "%s must stay free",
			 c->step.path, ckpti_policy_size(have, have_text),
			 ckpti_policy_size(need, need_text), ckpti_policy_size(keep, keep_text));
}
