/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which path is it that a watch of inotify is on?  The kernel tells device, inode and file handle.  Who
 * has the right to (CAP_DAC_READ_SEARCH) asks it to open the handle.  For everybody else the paths that
 * the set has to do with are tried: what it has open and the directories above, working directories,
 * arguments; then the trees below them and below what has been found, up to a limit, and without
 * waiting for other file systems: those are entered only where one of their files is watched.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "state/inotify.h"

/* The set stands still meanwhile: directory entries that are looked at, some 50 ms of them on a local
 * file system; and how long to go on when nothing is found. */
#define WALK_LIMIT 100000
#define WALK_MS    200

struct search {
	struct ckpti_watch *watch;
	struct ckpti_watch **by_ino; /* the same, sorted by inode */
	size_t n, left;
	char **dir; /* directories to look into */
	size_t ndir, next;
	size_t seen; /* entries looked at */
	int64_t deadline;
	dev_t dev; /* that was looked at last, and is it an automounter's? */
	bool automounts;
	int failed;
};

union handle {
	struct file_handle h;
	unsigned char room[sizeof(struct file_handle) + CKPTI_HANDLE_SIZE];
};

/* ---- is it this one? ---------------------------------------------------------------------- */

/* File systems of several layers or volumes show other device numbers to stat(). */
static bool same_handle(const struct ckpti_watch *w, const char *path)
{
	union handle u;
	int mount_id;

	u.h.handle_bytes = CKPTI_HANDLE_SIZE;
	return w->handle_len && name_to_handle_at(AT_FDCWD, path, &u.h, &mount_id, 0) == 0 &&
	       u.h.handle_type == w->handle_type && u.h.handle_bytes == w->handle_len &&
	       memcmp(u.h.f_handle, w->handle, w->handle_len) == 0;
}

static void add_dir(struct search *s, const char *path)
{
	char **bigger;

	for (size_t i = 0; i < s->ndir && s->ndir < 64; i++)
		if (strcmp(s->dir[i], path) == 0)
			return;
	bigger = realloc(s->dir, (s->ndir + 1) * sizeof(*bigger));
	if (!bigger) {
		s->failed = -ENOMEM;
		return;
	}
	s->dir = bigger;
	s->dir[s->ndir] = strdup(path);
	if (s->dir[s->ndir])
		s->ndir++;
	else
		s->failed = -ENOMEM;
}

static int by_inode(const void *a, const void *b)
{
	uint64_t x = (*(struct ckpti_watch *const *)a)->ino;
	uint64_t y = (*(struct ckpti_watch *const *)b)->ino;

	return (x > y) - (x < y);
}

/* The first watch of this inode number in by_ino[], or where it would be. */
static size_t first_of(const struct search *s, uint64_t ino)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->by_ino[mid]->ino < ino)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool wanted(const struct search *s, uint64_t ino)
{
	for (size_t i = first_of(s, ino); i < s->n && s->by_ino[i]->ino == ino; i++)
		if (!s->by_ino[i]->path)
			return true;
	return false;
}

static void try_path(struct search *s, const char *path)
{
	struct stat st;

	if (path[0] != '/' || lstat(path, &st) < 0)
		return;
	for (size_t i = first_of(s, st.st_ino); i < s->n && s->by_ino[i]->ino == st.st_ino; i++) {
		struct ckpti_watch *w = s->by_ino[i];

		if (w->path || (w->dev != st.st_dev && !same_handle(w, path)))
			continue;
		w->path = strdup(path);
		if (!w->path)
			s->failed = -ENOMEM;
		s->left--;
		/* Who watches trees has a watch on each directory. */
		if (S_ISDIR(st.st_mode))
			add_dir(s, path);
	}
}

/* ---- by handle ---------------------------------------------------------------------------- */

/* An open directory of the file system `dev`; -1: none. */
static int open_mount(dev_t dev)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char line[2 * PATH_MAX], path[PATH_MAX];
	unsigned major, minor;
	int fd = -1;

	while (f && fd < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &major, &minor, path) == 3 &&
		    makedev(major, minor) == dev)
			fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (f)
		(void)fclose(f);
	return fd;
}

static void try_handles(struct search *s)
{
	bool asked = false;
	dev_t dev = 0;
	int mount = -1;

	for (size_t i = 0; i < s->n; i++) {
		const struct ckpti_watch *w = &s->watch[i];
		char link[64], path[PATH_MAX];
		union handle u;
		ssize_t len;
		int fd;

		if (w->path || !w->handle_len)
			continue;
		if (!asked || w->dev != dev) {
			if (mount >= 0)
				(void)close(mount);
			asked = true;
			dev = w->dev;
			mount = open_mount(dev);
		}
		u.h.handle_type = w->handle_type;
		u.h.handle_bytes = w->handle_len;
		memcpy(u.h.f_handle, w->handle, w->handle_len);
		fd = open_by_handle_at(mount, &u.h, O_PATH | O_CLOEXEC);
		if (fd < 0 && errno == EPERM)
			break;
		if (fd < 0)
			continue;
		(void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		len = readlink(link, path, sizeof(path) - 1);
		(void)close(fd);
		if (len > 0) {
			path[len] = '\0';
			try_path(s, path);
		}
	}
	if (mount >= 0)
		(void)close(mount);
}

/* ---- by what the set has to do with ------------------------------------------------------- */

/* The path and every directory above it. */
static void try_upwards(struct search *s, const char *path)
{
	char buf[PATH_MAX], *slash;
	size_t n = strlen(path);

	if (path[0] != '/' || n >= sizeof(buf))
		return;
	memcpy(buf, path, n + 1);
	while (s->left && *buf) {
		try_path(s, buf);
		slash = strrchr(buf, '/');
		*slash = '\0';
	}
	try_path(s, "/");
}

static void try_arguments(struct search *s, int pid, const char *cwd)
{
	char name[64], path[PATH_MAX], full[PATH_MAX];
	char *arg = NULL;
	size_t size = 0;
	FILE *f;

	(void)snprintf(name, sizeof(name), "/proc/%d/cmdline", pid);
	f = fopen(name, "re");
	while (f && s->left && getdelim(&arg, &size, '\0', f) > 0) {
		const char *value = arg[0] == '-' ? strchr(arg, '=') : NULL;
		const char *what = value ? value + 1 : arg;
		int n = snprintf(path, sizeof(path), "%s%s%s", what[0] == '/' ? "" : cwd,
				 what[0] == '/' ? "" : "/", what);

		if (n >= (int)sizeof(path) || !realpath(path, full))
			continue;
		try_path(s, path); /* the symbolic link itself */
		try_upwards(s, full);
		add_dir(s, full);
	}
	free(arg);
	if (f)
		(void)fclose(f);
}

static void try_process(struct search *s, int pid)
{
	char name[64], cwd[PATH_MAX];
	ssize_t n;

	(void)snprintf(name, sizeof(name), "/proc/%d/cwd", pid);
	n = readlink(name, cwd, sizeof(cwd) - 1);
	cwd[n > 0 ? n : 0] = '\0';
	try_upwards(s, cwd);
	if (*cwd)
		add_dir(s, cwd);
	try_arguments(s, pid, cwd);
}

static void try_set(struct search *s, const struct ckpti_capture *cap, const struct ckpti_desc *d)
{
	static const char *const usual[] = {"/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf",
					    "/etc/localtime"};
	int pid = d->pid;

	try_process(s, pid);
	for (size_t i = 0; s->left && i < cap->ndesc; i++)
		try_upwards(s, cap->desc[i].link);
	for (size_t i = 0; s->left && i < cap->ndesc; i++) {
		if (cap->desc[i].pid != pid)
			try_process(s, cap->desc[i].pid);
		pid = cap->desc[i].pid;
	}
	for (size_t i = 0; s->left && i < sizeof(usual) / sizeof(usual[0]); i++)
		try_upwards(s, usual[i]);
}

/* ---- below that --------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool device_wanted(const struct search *s, dev_t dev)
{
	for (size_t i = 0; i < s->n; i++)
		if (!s->watch[i].path && s->watch[i].dev == dev)
			return true;
	return false;
}

/* To open a directory may mean to mount it, or to wait for a server that does not answer. */
static bool may_enter(const struct search *s, int parent, dev_t dev, const char *name)
{
	struct statx st;
	dev_t its;

	if (statx(parent, name, AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW | AT_STATX_DONT_SYNC,
		  STATX_TYPE, &st) < 0 ||
	    !S_ISDIR(st.stx_mode) || (st.stx_attributes & STATX_ATTR_AUTOMOUNT))
		return false;
	its = makedev(st.stx_dev_major, st.stx_dev_minor);
	return its == dev || device_wanted(s, its);
}

static void look_into(struct search *s, const char *dir, DIR *open_dir)
{
	struct dirent *e;
	char path[PATH_MAX];
	struct statfs fs;
	struct stat st;
	size_t left;

	if (fstat(dirfd(open_dir), &st) < 0)
		return;
	/* What is below an automounter is not mounted as long as nobody looks. */
	if (st.st_dev != s->dev) {
		s->dev = st.st_dev;
		s->automounts =
			fstatfs(dirfd(open_dir), &fs) < 0 || fs.f_type == AUTOFS_SUPER_MAGIC;
	}
	if (s->automounts)
		return;
	while (s->left && s->seen < WALK_LIMIT && now_ms() < s->deadline &&
	       (e = readdir(open_dir))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		s->seen++;
		if (snprintf(path, sizeof(path), "%s/%s", strcmp(dir, "/") == 0 ? "" : dir,
			     e->d_name) >= (int)sizeof(path))
			continue;
		left = s->left;
		if (wanted(s, e->d_ino))
			try_path(s, path);
		if (s->left < left)
			s->deadline = now_ms() + WALK_MS;
		else if (e->d_type == DT_DIR && may_enter(s, dirfd(open_dir), st.st_dev, e->d_name))
			add_dir(s, path);
	}
}

/* Nearest first. */
static void walk(struct search *s)
{
	s->deadline = now_ms() + WALK_MS;
	for (; s->left && s->seen < WALK_LIMIT && now_ms() < s->deadline && s->next < s->ndir;
	     s->next++) {
		DIR *dir = opendir(s->dir[s->next]);

		if (!dir)
			continue;
		look_into(s, s->dir[s->next], dir);
		(void)closedir(dir);
	}
}

int ckpti_watch_paths(const struct ckpti_capture *cap, const struct ckpti_desc *d,
		      struct ckpti_watch *watch, size_t n)
{
	struct search s = {.watch = watch, .n = n, .left = n};

	s.by_ino = calloc(n + 1, sizeof(struct ckpti_watch *));
	if (!s.by_ino)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		s.by_ino[i] = &watch[i];
	qsort(s.by_ino, n, sizeof(struct ckpti_watch *), by_inode);
	try_handles(&s);
	if (s.left)
		try_set(&s, cap, d);
	walk(&s);
	for (size_t i = 0; i < s.ndir; i++)
		free(s.dir[i]);
	free(s.dir);
	free(s.by_ino);
	return s.failed;
}
