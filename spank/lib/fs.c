/* SPDX-License-Identifier: BSD-3-Clause */
/* See fs.h. */
#include "spank/lib/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_KV_FILE (64U << 20)

/* ---- directories -------------------------------------------------------------------------- */

static int check(int fd, mode_t type, struct stat *ret)
{
	if (fstat(fd, ret) < 0)
		return -errno;
	if ((ret->st_mode & S_IFMT) != type || ret->st_uid != geteuid() ||
	    (ret->st_mode & (S_IWGRP | S_IWOTH)))
		return -EPERM;
	return 0;
}

int ckpti_fs_open_dir(int at, const char *name)
{
	struct stat sb;
	int fd, r;

	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP || errno == ENOTDIR ? -EPERM : -errno;
	r = check(fd, S_IFDIR, &sb);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}

int ckpti_fs_make_dir(int at, const char *name)
{
	bool made = mkdirat(at, name, 0700) == 0;
	int fd;

	if (!made && errno != EEXIST)
		return -errno;
	fd = ckpti_fs_open_dir(at, name);
	/* The umask, or a default access list of the parent, has had its say. */
	if (fd >= 0 && made && fchmod(fd, 0700) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

/* mkdir -p; what is there already may be anything: the last open() tells. */
static void make_parents(char *path)
{
	for (char *p = strchr(path + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = '\0';
		(void)mkdir(path, 0700);
		*p = '/';
	}
	(void)mkdir(path, 0700);
}

int ckpti_fs_open_path(const char *path, bool make)
{
	char *copy;
	int fd;

	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	if (errno != ENOENT || !make)
		return -errno;
	copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	make_parents(copy);
	free(copy);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- files -------------------------------------------------------------------------------- */

int ckpti_fs_open_file(int dirfd, const char *name, off_t *ret_size)
{
	struct stat sb;
	int fd, r;

	/* O_NONBLOCK: a FIFO of that name must not make us hang. */
	fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return errno == ELOOP ? -EPERM : -errno;
	r = check(fd, S_IFREG, &sb);
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_size = sb.st_size;
	return fd;
}

int ckpti_fs_read(int dirfd, const char *name, size_t max, char **ret, size_t *ret_len)
{
	char *text = NULL;
	size_t len = 0;
	ssize_t n = 1;
	off_t size;
	int fd, r = 0;

	fd = ckpti_fs_open_file(dirfd, name, &size);
	if (fd < 0)
		return fd;
	if ((uint64_t)size > max)
		r = -EFBIG;
	else
		text = malloc((size_t)size + 1);
	if (r == 0 && !text)
		r = -ENOMEM;
	while (r == 0 && n > 0 && len < (size_t)size) {
		n = read(fd, text + len, (size_t)size - len);
		if (n > 0)
			len += (size_t)n;
		else if (n < 0 && errno == EINTR)
			n = 1;
		else if (n < 0)
			r = -errno;
	}
	close(fd);
	if (r < 0) {
		free(text);
		return r;
	}
	text[len] = '\0';
	*ret = text;
	*ret_len = len;
	return 0;
}

static int write_all(int fd, const char *text, size_t len)
{
	ssize_t n;

	while (len > 0) {
		n = write(fd, text, len);
		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			text += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* Give the finished file its name. */
static int publish(int dirfd, const char *temp, const char *name, bool replace)
{
	struct stat sb;

	if (!replace) {
		if (renameat2(dirfd, temp, dirfd, name, RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EINVAL && errno != ENOSYS)
			return -errno;
		/* NFS cannot do it in one step. */
		if (fstatat(dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0)
			return -EEXIST;
	}
	return renameat(dirfd, temp, dirfd, name) < 0 ? -errno : 0;
}

int ckpti_fs_write_if(int dirfd, const char *name, const char *text, size_t len, bool replace,
		      int (*may)(const void *arg), const void *arg)
{
	char temp[NAME_MAX + 1];
	uint32_t random = (uint32_t)getpid();
	int fd, r;

	/* Two writers must not meet in one temporary file. */
	(void)getrandom(&random, sizeof(random), GRND_NONBLOCK);
	r = snprintf(temp, sizeof(temp), CKPTI_FS_TEMP "%s-%08" PRIx32, name, random);
	if (r >= (int)sizeof(temp))
		return -ENAMETOOLONG;
	fd = openat(dirfd, temp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	r = write_all(fd, text, len);
	if (r == 0 && (fchmod(fd, 0600) < 0 || fsync(fd) < 0))
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r == 0 && may)
		r = may(arg);
	if (r == 0)
		r = publish(dirfd, temp, name, replace);
	if (r < 0)
		(void)unlinkat(dirfd, temp, 0);
	else if (fsync(dirfd) < 0)
		r = -errno;
	return r;
}

int ckpti_fs_write(int dirfd, const char *name, const char *text, size_t len, bool replace)
{
	return ckpti_fs_write_if(dirfd, name, text, len, replace, NULL, NULL);
}

int ckpti_fs_read_kv(int dirfd, const char *name, struct ckpti_kv *ret)
{
	char *text;
	size_t len;
	int r;

	ckpti_kv_init(ret);
	r = ckpti_fs_read(dirfd, name, MAX_KV_FILE, &text, &len);
	if (r < 0)
		return r;
	r = ckpti_kv_parse(ret, text, len);
	if (r < 0)
		ckpti_kv_free(ret);
	free(text);
	return r;
}

int ckpti_fs_write_kv(int dirfd, const char *name, const struct ckpti_kv *kv, bool replace)
{
	char *text;
	size_t len;
	int r;

	r = ckpti_kv_write(kv, &text, &len);
	if (r < 0)
		return r;
	r = ckpti_fs_write(dirfd, name, text, len, replace);
	free(text);
	return r;
}

/* ---- names -------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void ckpti_fs_free_names(char **names, size_t n)
{
	while (n > 0)
		free(names[--n]);
	free(names);
}

static int add_name(char ***names, size_t *n, const char *name)
{
	char **more = *names;

	/* Room for powers of two. */
	if ((*n & (*n - 1)) == 0) {
		more = reallocarray(*names, *n ? 2 * *n : 1, sizeof(*more));
		if (!more)
			return -ENOMEM;
		*names = more;
	}
	more[*n] = strdup(name);
	if (!more[*n])
		return -ENOMEM;
	(*n)++;
	return 0;
}

int ckpti_fs_names(int dirfd, char ***ret, size_t *ret_n)
{
	char **names = NULL;
	struct dirent *de;
	size_t n = 0;
	DIR *dir;
	int fd, r = 0;

	/* A description of its own: that of dirfd has one position for all. */
	fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		r = -errno;
		close(fd);
		return r;
	}
	while (r == 0) {
		errno = 0;
		de = readdir(dir);
		if (!de) {
			r = -errno;
			break;
		}
		if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
			r = add_name(&names, &n, de->d_name);
	}
	closedir(dir);
	if (r < 0) {
		ckpti_fs_free_names(names, n);
		return r;
	}
	if (n > 0)
		qsort(names, n, sizeof(names[0]), by_text);
	*ret = names;
	*ret_n = n;
	return 0;
}

bool ckpti_fs_number(const char *name, const char *prefix, uint64_t *ret)
{
	size_t len = strlen(prefix), digits;

	if (strncmp(name, prefix, len) != 0)
		return false;
	name += len;
	digits = strspn(name, "0123456789");
	if (digits == 0 || digits > 18 || name[digits] != '\0' || (name[0] == '0' && digits > 1))
		return false;
	*ret = strtoull(name, NULL, 10);
	return true;
}
