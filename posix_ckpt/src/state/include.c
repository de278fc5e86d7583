/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that no process has open, but that a user wants to have saved (cpr -c --include): which ones
 * that are, and how they get into the image.  There they look like an open file description that no
 * descriptor refers to, so that all rules for open files hold; file_included.c puts them back.
 *
 * A glob is looked up as the user, and only his own regular files count.  A link is never followed out of
 * the directory that the glob names without wildcards: who may write there cannot make others' files
 * part of the image.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/file_private.h"
#include "state/include.h"
#include "state/kinds.h"

#define MAX_FILES 1024 /* what a restart can look after */
#define NSEC      1000000000LL

struct seen {
	dev_t dev;
	ino_t ino;
};

struct search {
	const struct ckpti_include *in;
	ckpti_include_f fn;
	void *arg;
	struct seen *seen;
	size_t nseen;
	char below[PATH_MAX]; /* where the present glob may lead */
};

__attribute__((format(printf, 2, 3))) static void note(const struct ckpti_include *in,
						       const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (!in->note)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	in->note(in->note_arg, text);
}

static bool lies_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	return strncmp(path, dir, len) == 0 && (path[len] == '/' || len == 1);
}

/* 1: not met before. */
static int is_new(struct search *s, const struct stat *st, struct ckpti_err *err)
{
	struct seen *bigger;

	for (size_t i = 0; i < s->nseen; i++)
		if (s->seen[i].dev == st->st_dev && s->seen[i].ino == st->st_ino)
			return 0;
	if (s->nseen == MAX_FILES)
		return ckpti_err(err, -E2BIG, "more than %d files are to be included", MAX_FILES);
	bigger = reallocarray(s->seen, s->nseen + 1, sizeof(*bigger));
	if (!bigger)
		return ckpti_err(err, -ENOMEM, "out of memory");
	s->seen = bigger;
	s->seen[s->nseen].dev = st->st_dev;
	s->seen[s->nseen++].ino = st->st_ino;
	return 1;
}

static int take(struct search *s, const char *path, int fd, struct ckpti_err *err)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return ckpti_err_obj(err, -errno, 0, path, "cannot stat '%.200s': %s", path,
				     strerror(errno));
	if (!S_ISREG(st.st_mode))
		return 0;
	if (st.st_uid != geteuid()) {
		note(s->in, "'%.200s' belongs to another user: not included", path);
		return 0;
	}
	if ((uint64_t)st.st_size > s->in->copy_limit && !ckpti_fd_volatile(fd))
		return ckpti_err_obj(err, -EFBIG, 0, path,
				     "'%.200s' is to be included and has %" PRIu64
				     " MiB: more than the copy limit (%" PRIu64 " MiB)",
				     path, (uint64_t)st.st_size >> 20, s->in->copy_limit >> 20);
	r = is_new(s, &st, err);
	return r == 1 ? s->fn(s->arg, path, fd, &st, err) : r;
}

static int match(struct search *s, const char *name, struct ckpti_err *err)
{
	char path[PATH_MAX];
	struct stat st;
	int fd, r;

	if (lstat(name, &st) < 0 || (!S_ISLNK(st.st_mode) && !realpath(name, path))) {
		note(s->in, "'%.200s' is gone: not included", name);
		return 0;
	}
	if (S_ISDIR(st.st_mode))
		return 0;
	if (!S_ISREG(st.st_mode) || ckpti_file_pseudo(path)) {
		note(s->in, "'%.200s' is %s: not included", name,
		     S_ISLNK(st.st_mode) ? "a symbolic link" : "no regular file");
		return 0;
	}
	if (!lies_below(path, s->below)) {
		note(s->in, "'%.200s' lies outside of '%.200s': not included", path, s->below);
		return 0;
	}
	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0 && (errno == ENOENT || errno == ELOOP)) {
		note(s->in, "'%.200s' is gone: not included", path);
		return 0;
	}
	if (fd < 0)
		return ckpti_err_obj(err, -errno, 0, path, "cannot include '%.200s': %s", path,
				     strerror(errno));
	r = take(s, path, fd, err);
	(void)close(fd);
	return r;
}

/* The directory in front of the first wildcard.  False: there is none of that name. */
static bool find_below(struct search *s, const char *pattern)
{
	char dir[PATH_MAX];
	size_t len = strcspn(pattern, "*?[\\");

	while (len && pattern[len - 1] != '/')
		len--;
	if (len >= sizeof(dir))
		return false;
	memcpy(dir, pattern, len);
	dir[len] = 0;
	return realpath(len ? dir : "/", s->below) != NULL;
}

static int look_up(struct search *s, const char *pattern, struct ckpti_err *err)
{
	glob_t g = {0};
	int r;

	r = find_below(s, pattern) ? glob(pattern, 0, NULL, &g) : GLOB_NOMATCH;
	if (r == GLOB_NOSPACE)
		return ckpti_err(err, -ENOMEM, "out of memory");
	if (r != 0)
		note(s->in, "no file matches '%.200s'", pattern);
	r = 0;
	for (size_t i = 0; r == 0 && i < g.gl_pathc; i++)
		r = match(s, g.gl_pathv[i], err);
	globfree(&g);
	return r;
}

int ckpti_include_find(const struct ckpti_include *in, const char *cwd, ckpti_include_f fn,
		       void *arg, struct ckpti_err *err)
{
	struct search s = {.in = in, .fn = fn, .arg = arg};
	char pattern[2 * PATH_MAX];
	int r = 0;

	for (size_t i = 0; r == 0 && i < in->n; i++) {
		const char *glob_i = in->glob[i];

		/* Wildcards in the directory's own name are none. */
		if (glob_i[0] == '/')
			r = snprintf(pattern, sizeof(pattern), "%s", glob_i);
		else
			r = ckpti_include_absolute(cwd, glob_i, pattern, sizeof(pattern));
		r = r < 0 || (size_t)r >= sizeof(pattern)
			    ? ckpti_err(err, -ENAMETOOLONG, "'%.200s' is too long", glob_i)
			    : look_up(&s, pattern, err);
	}
	free(s.seen);
	return r;
}

int ckpti_include_absolute(const char *cwd, const char *glob, char *ret, size_t size)
{
	size_t n = 0;

	for (; *cwd && n + 2 < size; cwd++) {
		if (strchr("*?[]\\", *cwd))
			ret[n++] = '\\';
		ret[n++] = *cwd;
	}
	if (*cwd)
		return -ENAMETOOLONG;
	return (int)n + snprintf(ret + n, size - n, "/%s", glob);
}

/* ---- saving ------------------------------------------------------------------------------- */

struct saving {
	struct ckpti_capture *cap;
	const struct ckpti_include *in;
	uint32_t n;
};

/* Through a descriptor or a mapping it is in the image already. */
static bool is_saved(const struct ckpti_capture *cap, const struct stat *st)
{
	for (size_t i = 0; i < cap->ndesc; i++) {
		const struct ckpti_desc *d = &cap->desc[i];

		if (d->kind == &ckpti_kind_file && d->priv && d->st.st_dev == st->st_dev &&
		    d->st.st_ino == st->st_ino)
			return true;
	}
	return ckpti_shm_of(cap, st->st_dev, st->st_ino) != 0;
}

static int save(void *arg, const char *path, int fd, const struct stat *st, struct ckpti_err *err)
{
	struct saving *s = arg;
	struct ckpti_r_obj_file rec = {
		.o = {.oflags = O_RDWR, .dev = st->st_dev, .ino = st->st_ino},
		.size = (uint64_t)st->st_size,
		.mtime_ns = (int64_t)st->st_mtim.tv_sec * NSEC + st->st_mtim.tv_nsec,
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.included = 1,
	};
	struct ckpti_err why = {0};
	uint32_t content;
	struct stat now;
	int r;

	if (is_saved(s->cap, st))
		return 0;
	r = ckpti_content_save(s->cap, fd, rec.size, &content, &why);
	if (r < 0)
		return ckpti_err_obj(err, r, 0, path, "'%.200s' cannot be included: %.200s", path,
				     why.text);
	/* All that belongs to the set stands still: somebody else is at work there. */
	if (fstat(fd, &now) < 0 || now.st_size != st->st_size ||
	    now.st_mtim.tv_sec != st->st_mtim.tv_sec || now.st_mtim.tv_nsec != st->st_mtim.tv_nsec)
		note(s->in, "'%.200s' changed while it was saved", path);
	rec.o.id = (uint32_t)s->cap->ndesc + ++s->n;
	rec.content = content;
	rec.policy = (uint32_t)ckpti_file_policy(s->cap, path);
	r = ckpti_image_add(s->cap->img, CKPTI_R_OBJ_FILE, &rec, sizeof(rec), &path, 1, NULL, 0, 0);
	return r < 0 ? ckpti_err(err, r, "out of memory") : 0;
}

static int add_size(void *arg, const char *path, int fd, const struct stat *st,
		    struct ckpti_err *err)
{
	uint64_t *sum = arg;

	(void)path;
	(void)fd;
	(void)err;
	*sum += (uint64_t)st->st_size;
	return 0;
}

int ckpti_include_add_sizes(const struct ckpti_include *in, const char *cwd, uint64_t *sum,
			    struct ckpti_err *err)
{
	return ckpti_include_find(in, cwd, add_size, sum, err);
}

int ckpti_include_save(struct ckpti_capture *cap, const struct ckpti_include *in, const char *cwd,
		       struct ckpti_err *err)
{
	struct saving s = {.cap = cap, .in = in};

	return ckpti_include_find(in, cwd, save, &s, err);
}
