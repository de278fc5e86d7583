/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The usual directory is /tmp/ckpt-UID: the name goes into the environment of programs and must be one
 * that can be made on the host of any later life.  A shell executes what is in the files, so they are
 * written only where nobody else can put others in their place.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/launch.h"

#define USUAL "/tmp/ckpt-"

/* Of what the launcher needs for itself, or of the process that wrote the file. */
static bool is_left_out(const char *pair)
{
	static const char *const names[] = {
		"LD_PRELOAD=",      "LD_AUDIT=",          "CKPT_SET=",      "CKPT_CPUS=",
		"CKPT_DIR=",        "CKPT_RESTART=",      "CKPT_LAUNCHER=", CKPTI_LAUNCH_FILE "=",
		"CKPT_GENERATION=", "CKPT_RESTART_COUNT="};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strncmp(pair, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* Names that a shell does not take, and those of its own. */
static bool is_for_shell(const char *pair)
{
	static const char *const own[] = {"_=",    "PWD=",  "OLDPWD=",   "SHLVL=",     "UID=",
					  "EUID=", "PPID=", "BASHOPTS=", "SHELLOPTS=", "IFS="};
	size_t len = strcspn(pair, "=");

	if (!len || pair[len] != '=' || isdigit((unsigned char)pair[0]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)pair[i]) && pair[i] != '_')
			return false;
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		if (strncmp(pair, own[i], strlen(own[i])) == 0)
			return false;
	return strncmp(pair, "BASH_", 5) != 0;
}

static void put_plain(FILE *f, const char *pair)
{
	(void)fwrite(pair, 1, strlen(pair) + 1, f);
}

static void put_shell(FILE *f, const char *pair)
{
	size_t len = strcspn(pair, "=");

	if (!is_for_shell(pair))
		return;
	(void)fprintf(f, "export %.*s='", (int)len, pair);
	for (const char *p = pair + len + 1; *p; p++) {
		if (*p == '\'')
			(void)fputs("'\\''", f);
		else
			(void)fputc(*p, f);
	}
	(void)fputs("'\n", f);
}

/* The directory of path, made if it is missing; *ret_name the rest.  Descriptor or -errno. */
static int open_parent(const char *path, const char **ret_name)
{
	char dir[sizeof(((struct ckpti_launch_file *)NULL)->path)];
	const char *slash = strrchr(path, '/');
	struct stat st;
	int fd, r = 0;

	if (path[0] != '/' || slash == path || !slash[1] || (size_t)(slash - path) >= sizeof(dir))
		return -EINVAL;
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = 0;
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		r = -errno;
	else if (st.st_uid != geteuid() || (st.st_mode & 022))
		r = -EPERM;
	if (r < 0) {
		(void)close(fd);
		return r;
	}
	*ret_name = slash + 1;
	return fd;
}

static int write_one(int dirfd, const char *name, const char *suffix, char *const env[],
		     const char *const more[], void (*put)(FILE *, const char *), struct stat *ret)
{
	char final[300], temp[340];
	FILE *f;
	int fd, r = 0;

	if (snprintf(final, sizeof(final), "%s%s", name, suffix) >= (int)sizeof(final))
		return -ENAMETOOLONG;
	(void)snprintf(temp, sizeof(temp), ".%s.%d", final, (int)getpid());
	(void)unlinkat(dirfd, temp, 0);
	fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	f = fd < 0 ? NULL : fdopen(fd, "w");
	if (!f) {
		r = -errno;
		if (fd >= 0)
			(void)close(fd);
		return r;
	}
	for (; *env; env++)
		if (!is_left_out(*env))
			put(f, *env);
	for (; *more; more++)
		put(f, *more);
	if (fflush(f) != 0 || ferror(f) || fstat(fd, ret) < 0)
		r = errno ? -errno : -EIO;
	if (fclose(f) != 0 && r == 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, temp, dirfd, final) < 0)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dirfd, temp, 0);
	return r;
}

int ckpti_launch_file_name(const char *set, char *ret, size_t size)
{
	int n;

	if (!set || strlen(set) != 16 || strspn(set, "0123456789abcdefABCDEF") != 16)
		return -EINVAL;
	n = snprintf(ret, size, USUAL "%u/%s", geteuid(), set);
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int ckpti_launch_file_write(const char *path, char *const env[], uint32_t restarts,
			    uint64_t generation, struct ckpti_launch_file *ret)
{
	char count[40], gen[48];
	const char *const more[] = {count, gen, NULL};
	const char *name;
	struct stat st;
	int fd, r;

	if (strlen(path) >= sizeof(ret->path))
		return -ENAMETOOLONG;
	(void)snprintf(count, sizeof(count), "CKPT_RESTART_COUNT=%" PRIu32, restarts);
	(void)snprintf(gen, sizeof(gen), "CKPT_GENERATION=%" PRIu64, generation);
	fd = open_parent(path, &name);
	if (fd < 0)
		return fd;
	/* The plain one last: who sees a new one finds the other one new as well. */
	r = write_one(fd, name, ".sh", env, more, put_shell, &st);
	if (r == 0)
		r = write_one(fd, name, "", env, more, put_plain, &st);
	if (r == 0 && strncmp(path, USUAL, strlen(USUAL)) == 0)
		ckpti_launch_file_sweep(fd);
	(void)close(fd);
	if (r < 0)
		return r;
	(void)snprintf(ret->path, sizeof(ret->path), "%s", path);
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	return 0;
}

static void remove_both(const char *path)
{
	char shell[4100];

	(void)unlink(path);
	(void)snprintf(shell, sizeof(shell), "%s.sh", path);
	(void)unlink(shell);
}

void ckpti_launch_file_remove(const struct ckpti_launch_file *f)
{
	struct stat st;

	/* The next life may have begun. */
	if (f->path[0] && lstat(f->path, &st) == 0 && st.st_dev == f->dev && st.st_ino == f->ino)
		remove_both(f->path);
}

void ckpti_launch_file_remove_set(uint64_t set_id)
{
	char set[17], path[64];

	(void)snprintf(set, sizeof(set), "%016" PRIx64, set_id);
	if (ckpti_launch_file_name(set, path, sizeof(path)) == 0)
		remove_both(path);
}
