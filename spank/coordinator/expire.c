/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Checkpoints that nobody came back for, as `expire` says: those of jobs that Slurm has forgotten and that
 * have not been touched for so long.  Only directories that say that they are the user's own, of this
 * cluster, below the directory of this step.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "spank/coordinator/coord.h"
#include "spank/lib/fs.h"

#define LIMIT_MS 600000
#define MOST     32U /* at a time: each costs a question to Slurm */

static void newest(int dirfd, const char *name, int64_t *ret)
{
	struct stat sb;

	if (fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0 && sb.st_mtime > *ret)
		*ret = sb.st_mtime;
}

/* When something was last done in it: every commit and every life changes the directory. */
static int64_t last_use(const struct ckpti_step *st)
{
	char name[48];
	int64_t t = 0;

	newest(st->dirfd, ".", &t);
	(void)snprintf(name, sizeof(name), "life-%" PRIu32 "/alive", ckpti_step_epoch(st));
	newest(st->dirfd, name, &t);
	return t;
}

static bool is_forgotten(uint32_t job)
{
	struct ckpti_slurm_job facts;
	char text[16];

	(void)snprintf(text, sizeof(text), "%" PRIu32, job);
	return ckpti_slurm_job(text, &facts, NULL) == -ENOENT;
}

static void remove_script(int base, uint32_t job)
{
	char name[32];
	off_t size;
	int fd;

	(void)snprintf(name, sizeof(name), "%" PRIu32 ".script", job);
	fd = ckpti_fs_open_file(base, name, &size);
	if (fd < 0)
		return; /* none, or somebody else's */
	(void)close(fd);
	(void)unlinkat(base, name, 0);
}

/* True: Slurm was asked. */
static bool look_at(const struct ckpti_coord *c, int base, const char *name)
{
	char path[PATH_MAX + NAME_MAX + 2];
	int64_t before = (int64_t)time(NULL) - (int64_t)c->config.expire;
	struct ckpti_err err = {.code = 0};
	struct ckpti_step st;
	bool asked = false;

	(void)snprintf(path, sizeof(path), "%s/%s", c->base, name);
	if (ckpti_step_open(path, &st, NULL) < 0)
		return false;
	if (st.id.uid == geteuid() && strcmp(st.id.cluster, c->slurm.cluster) == 0 &&
	    st.id.job != c->args.job && last_use(&st) < before) {
		asked = true;
		if (is_forgotten(st.id.job) && ckpti_step_remove(&st, &err) == 0) {
			remove_script(base, st.id.job);
			ckpti_report_log(c, "event=expired dir=%s", st.path);
		}
	}
	ckpti_step_close(&st);
	return asked;
}

static size_t expire(void *arg, void *unused)
{
	const struct ckpti_coord *c = arg;
	int fd = ckpti_fs_open_path(c->base, false);
	char **names = NULL;
	unsigned asked = 0;
	size_t n = 0;

	(void)unused;
	if (fd < 0 || ckpti_fs_names(fd, &names, &n) < 0)
		return 0;
	for (size_t i = 0; i < n && asked < MOST; i++)
		if (names[i][0] >= '0' && names[i][0] <= '9' && strchr(names[i], '.'))
			asked += look_at(c, fd, names[i]);
	ckpti_fs_free_names(names, n);
	(void)close(fd);
	return 0;
}

void ckpti_expire_start(struct ckpti_coord *c)
{
	if (c->config.expire != CKPTI_CONFIG_NEVER)
		(void)ckpti_child_start(c, expire, c, LIMIT_MS, NULL, NULL, NULL);
}
