/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * See registry.h.  The home directory and what lies between it and ckpt/ may be links that the user
 * made; from ckpt/ on everything is a directory of his own that nobody else can write to.
 */
#include "spank/lib/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "spank/lib/fs.h"

/* A name from outside that becomes a part of a path. */
static bool is_component(const char *name)
{
	return *name && strlen(name) < 64 && !strchr(name, '/') && name[0] != '.';
}

/* $HOME, as the password database has it; fd or -errno. */
static int open_home(void)
{
	struct passwd pw, *found = NULL;
	char *buf = malloc(65536);
	int fd, r;

	if (!buf)
		return -ENOMEM;
	r = getpwuid_r(geteuid(), &pw, buf, 65536, &found);
	if (r != 0 || !found) {
		free(buf);
		return r != 0 ? -r : -ENOENT;
	}
	fd = open(found->pw_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	free(buf);
	return fd;
}

/* The next directory of the user's own making; takes over `at`. */
static int enter_loose(int at, const char *name, bool make)
{
	int fd;

	if (at < 0)
		return at;
	if (make)
		(void)mkdirat(at, name, 0700);
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		fd = -errno;
	close(at);
	return fd;
}

static int enter(int at, const char *name, bool make)
{
	int fd;

	if (at < 0)
		return at;
	fd = make ? ckpti_fs_make_dir(at, name) : ckpti_fs_open_dir(at, name);
	close(at);
	return fd;
}

static int open_registry(const char *cluster, bool make)
{
	int fd;

	if (!is_component(cluster))
		return -EINVAL;
	fd = enter_loose(open_home(), ".local", make);
	fd = enter_loose(fd, "state", make);
	fd = enter(fd, "ckpt", make);
	return enter(fd, cluster, make);
}

static int file_name(uint32_t job, const char *step, char ret[96])
{
	if (!is_component(step))
		return -EINVAL;
	(void)snprintf(ret, 96, "%" PRIu32 ".%s", job, step);
	return 0;
}

int ckpti_registry_write(const char *cluster, uint32_t job, const char *step,
			 const struct ckpti_kv *kv, struct ckpti_err *err)
{
	char name[96] = "";
	int fd, r;

	r = file_name(job, step, name);
	fd = r < 0 ? r : open_registry(cluster, true);
	r = fd < 0 ? fd : ckpti_fs_write_kv(fd, name, kv, true);
	if (fd >= 0)
		close(fd);
	if (r < 0)
		return ckpti_err(err, r, "cannot write '~/.local/state/ckpt/%s/%s': %s", cluster,
				 name, strerrordesc_np(-r));
	return 0;
}

int ckpti_registry_read(const char *cluster, uint32_t job, const char *step, struct ckpti_kv *ret,
			struct ckpti_err *err)
{
	char name[96] = "";
	int fd, r;

	ckpti_kv_init(ret);
	r = file_name(job, step, name);
	fd = r < 0 ? r : open_registry(cluster, false);
	r = fd < 0 ? fd : ckpti_fs_read_kv(fd, name, ret);
	if (fd >= 0)
		close(fd);
	if (r == -ENOENT)
		return ckpti_err(err, r, "there is no coordinator of step %" PRIu32 ".%s", job,
				 step);
	if (r < 0)
		return ckpti_err(err, r, "cannot read '~/.local/state/ckpt/%s/%s': %s", cluster,
				 name, strerrordesc_np(-r));
	return 0;
}

int ckpti_registry_remove(const char *cluster, uint32_t job, const char *step)
{
	char name[96];
	int fd, r;

	r = file_name(job, step, name);
	if (r < 0)
		return r;
	fd = open_registry(cluster, false);
	if (fd < 0)
		return fd;
	r = unlinkat(fd, name, 0) < 0 ? -errno : 0;
	close(fd);
	return r;
}

/* "<job>.<step>" into its parts. */
static bool split(const char *name, uint32_t *ret_job, const char **ret_step)
{
	const char *dot = strchr(name, '.');
	size_t digits = strspn(name, "0123456789");
	unsigned long long job;

	if (!dot || digits == 0 || name + digits != dot || digits > 10 || !is_component(dot + 1))
		return false;
	job = strtoull(name, NULL, 10);
	if (job > UINT32_MAX)
		return false;
	*ret_job = (uint32_t)job;
	*ret_step = dot + 1;
	return true;
}

int ckpti_registry_each(const char *cluster, uint32_t job,
			int (*fn)(void *arg, uint32_t job, const char *step,
				  const struct ckpti_kv *kv),
			void *arg)
{
	char **names = NULL;
	struct ckpti_kv kv;
	const char *step;
	uint32_t number;
	size_t n = 0;
	int fd, r;

	fd = open_registry(cluster, false);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd;
	r = ckpti_fs_names(fd, &names, &n);
	for (size_t i = 0; r == 0 && i < n; i++) {
		if (!split(names[i], &number, &step) || (job != 0 && number != job))
			continue;
		/* What is damaged or not the user's is no entry. */
		if (ckpti_fs_read_kv(fd, names[i], &kv) < 0)
			continue;
		r = fn(arg, number, step, &kv);
		ckpti_kv_free(&kv);
	}
	ckpti_fs_free_names(names, n);
	close(fd);
	return r;
}
