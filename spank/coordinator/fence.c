/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two lives of a step never run at the same time.  With the new epoch in the directory, agents of the old
 * life that can read it kill their tasks within five seconds; those that cannot read it stop them after the
 * time `fence`.  So a restart waits as long, counted from the last sign of life of the old one; not at
 * all when that one wrote down that its tasks had ended.
 *
 * It is the tasks that wait, on their nodes, because what Slurm gives srun to launch them with is good for a
 * short time only.
 *
 * All times are those that the file system writes, so that clocks of two hosts are never compared.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"
#include "spank/coordinator/policy.h"
#include "spank/lib/fs.h"
#include "spank/lib/registry.h"

/* A coordinator that is about to commit when the epoch is taken has done so by then. */
#define COMMIT_MS 1000

/* A life leaves its first sign when it has waited for the one before, and then one each second. */
#define SIGNS_MS       3000
#define SIGNS_PAUSE_MS 200

static int64_t to_ms(const struct timespec *ts)
{
	return (int64_t)ts->tv_sec * 1000 + ts->tv_nsec / 1000000;
}

static int open_life(const struct ckpti_coord *c, uint32_t epoch)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "life-%u", epoch);
	return ckpti_fs_open_dir(c->step.dirfd, name);
}

/* The last sign of life of the life in lifefd; -1: its tasks have ended. */
static int64_t last_sign(int lifefd)
{
	struct stat sb;

	if (fstatat(lifefd, "over", &sb, AT_SYMLINK_NOFOLLOW) == 0)
		return -1;
	if (fstatat(lifefd, "alive", &sb, AT_SYMLINK_NOFOLLOW) == 0 || fstat(lifefd, &sb) == 0)
		return to_ms(&sb.st_mtim);
	return INT64_MAX;
}

/* The newest sign of all lives before ours.  -1: nothing to wait for. */
static int64_t signs(const struct ckpti_coord *c)
{
	int64_t newest = -1, sign;

	/* Those before the last one were waited for when that one began; but it may not have come far. */
	for (uint32_t epoch = c->epoch; epoch-- > 1;) {
		int fd = open_life(c, epoch);

		if (fd < 0)
			continue;
		sign = last_sign(fd);
		(void)close(fd);
		if (sign > newest)
			newest = sign;
	}
	return newest;
}

/* False: srun has gone, or told us to end. */
static bool sleep_ms(const struct ckpti_coord *c, int64_t ms)
{
	int64_t end = ckpti_now_ms() + ms;
	struct pollfd pfd = {.fd = c->args.life_fd, .events = POLLIN};

	for (int64_t left = ms; left > 0; left = end - ckpti_now_ms())
		if (poll(&pfd, 1, (int)left) > 0)
			return false;
	return true;
}

/* ---- does it run? ------------------------------------------------------------------------- */

/* As last_sign(), but asked of the file system's server: opening a file makes it look. */
static int64_t fresh_sign(int lifefd)
{
	int fd = openat(lifefd, "alive", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

	if (fd >= 0)
		(void)close(fd);
	return last_sign(lifefd);
}

struct user {
	const struct ckpti_coord *c;
	uint32_t job; /* 0: not known */
	char step[64];
};

static int find_user(void *arg, uint32_t job, const char *step, const struct ckpti_kv *kv)
{
	struct user *u = arg;

	if (strcmp(ckpti_kv_get(kv, "dir", ""), u->c->step.path) != 0)
		return 0;
	u->job = job;
	(void)snprintf(u->step, sizeof(u->step), " as step %" PRIu32 ".%.20s", job, step);
	return 1;
}

/* On nodes that are cut off from Slurm, or have lost slurmstepd, a life outlasts its job.  It is no
 * user whom we must not disturb: the new epoch ends it. */
static bool outlasts_its_job(uint32_t job)
{
	struct ckpti_slurm_job facts;
	char text[16];

	(void)snprintf(text, sizeof(text), "%" PRIu32, job);
	return job && ckpti_slurm_job(text, &facts, NULL) == 0 &&
	       strcmp(facts.state, "RUNNING") != 0 && strcmp(facts.state, "SUSPENDED") != 0;
}

/* How long ago that was for the file system; 0 when it cannot be told: a file that is made now has its time. */
static int64_t age_ms(const struct ckpti_coord *c, int64_t sign)
{
	char name[32];
	struct stat sb;
	int64_t now = sign;
	int fd;

	(void)snprintf(name, sizeof(name), CKPTI_FS_TEMP "now-%d", (int)getpid());
	fd = openat(c->step.dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return 0;
	if (fstat(fd, &sb) == 0)
		now = to_ms(&sb.st_mtim);
	(void)close(fd);
	(void)unlinkat(c->step.dirfd, name, 0);
	return now > sign ? now - sign : 0;
}

/*
 * Before the epoch is taken, because that would end a life that runs; so srun waits, and what Slurm has given it
 * to launch tasks with becomes old.  Hence no longer than needed: not at all when Slurm says that the job is over,
 * or when the last sign is old already.
 */
int ckpti_fence_check_idle(const struct ckpti_coord *c, struct ckpti_err *err)
{
	int fd = open_life(c, ckpti_step_epoch(&c->step));
	struct user u = {.c = c};
	int64_t first, sign, end;

	if (fd < 0)
		return 0; /* there has been none, or its directory will be found bad later */
	first = sign = fresh_sign(fd);
	if (first >= 0)
		(void)ckpti_registry_each(c->slurm.cluster, 0, find_user, &u);
	if (first >= 0 && !outlasts_its_job(u.job)) {
		end = ckpti_now_ms() + SIGNS_MS - age_ms(c, first);
		if (ckpti_now_ms() < end)
			ckpti_report_status(c, "wait %d looking whether '%s' runs", SIGNS_MS / 1000,
					    c->step.path);
		while (sign >= 0 && sign == first && ckpti_now_ms() < end) {
			if (!sleep_ms(c, SIGNS_PAUSE_MS)) {
				(void)close(fd);
				return ckpti_err(err, -ECANCELED, "srun has ended");
			}
			sign = fresh_sign(fd);
		}
	}
	(void)close(fd);
	if (sign < 0 || sign == first || outlasts_its_job(u.job))
		return 0;
	return ckpti_err(err, -EBUSY, "'%s' runs already%s: end that first", c->step.path, u.step);
}

/* ---- waiting ------------------------------------------------------------------------------ */

int ckpti_fence_wait(struct ckpti_coord *c, struct ckpti_err *err)
{
	int64_t sign = signs(c), ms, taken;
	struct stat sb;
	int fd;

	c->tasks_ms = ckpti_now_ms();
	if (sign < 0)
		return 0;
	fd = open_life(c, c->epoch);
	if (fd < 0 || fstat(fd, &sb) < 0) {
		int code = fd < 0 ? fd : -errno;

		if (fd >= 0)
			(void)close(fd);
		return ckpti_err(err, code, "cannot look at '%s': %s", c->step.path,
				 strerror(-code));
	}
	(void)close(fd);
	taken = to_ms(&sb.st_mtim);
	ms = ckpti_policy_fence_ms(sign, taken, taken, c->config.fence);
	c->tasks_ms += ms;
	ckpti_report_status(
		c, "wait %d waiting %lld s, until no task of the life before can run any more",
		COMMIT_MS / 1000 + 5, (long long)(ms + 999) / 1000);
	if (!sleep_ms(c, COMMIT_MS))
		return ckpti_err(err, -ECANCELED, "srun has ended");
	return 0;
}

void ckpti_fence_over(struct ckpti_coord *c, bool well)
{
	struct ckpti_kv kv;
	int fd = open_life(c, c->epoch);

	if (fd < 0)
		return;
	ckpti_kv_init(&kv);
	ckpti_kv_setf(&kv, "time", "%lld", (long long)time(NULL));
	ckpti_kv_set_u64(&kv, "well", well);
	(void)ckpti_fs_write_kv(fd, "over", &kv, true);
	ckpti_kv_free(&kv);
	(void)close(fd);
}

bool ckpti_fence_ended_well(const struct ckpti_coord *c)
{
	int fd = open_life(c, ckpti_step_epoch(&c->step));
	struct ckpti_kv kv;
	bool well = false;

	if (fd < 0)
		return false;
	if (ckpti_fs_read_kv(fd, "over", &kv) == 0) {
		well = ckpti_kv_get_u64(&kv, "well", 0) != 0;
		ckpti_kv_free(&kv);
	}
	(void)close(fd);
	return well;
}
