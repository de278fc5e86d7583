/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inotify: what is watched, under which number, for what.
 *
 * Numbers of watches count up: to get one, watches are added and removed until its turn comes.  Events
 * that had not been read cannot be put back; where there were any, the program gets what the kernel
 * says when it had to drop some, IN_Q_OVERFLOW.  What is not there any more has been deleted as far as
 * the program can tell, and that is what it reads: in its place something else is watched and deleted.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "state/inotify.h"
#include "state/kinds.h"

/* fs.inotify.max_queued_events is 16384 unless somebody has changed it. */
#define FLOOD_LIMIT (1 << 20)

/* To get the number N takes N watches: some seconds. */
#define NUMBER_LIMIT (1 << 20)

static int inotify_probe(const struct ckpti_desc *d, struct ckpti_err *err)
{
	(void)err;
	return strcmp(d->link, "anon_inode:inotify") == 0;
}

/* ---- saving ------------------------------------------------------------------------------- */

static int parse_line(const char *line, struct ckpti_watch *ret)
{
	unsigned long long dev;
	const char *hex;
	int at = 0;

	memset(ret, 0, sizeof(*ret));
	if (sscanf(line, "inotify wd:%x ino:%" SCNx64 " sdev:%llx mask:%x ignored_mask:%*x %n",
		   (unsigned *)&ret->wd, &ret->ino, &dev, &ret->mask, &at) != 4 ||
	    !at)
		return -EINVAL;
	/* The kernel's own dev_t: 20 bits of minor number. */
	ret->dev = makedev((unsigned)(dev >> 20), (unsigned)(dev & 0xfffff));
	if (sscanf(line + at, "fhandle-bytes:%x fhandle-type:%x", &ret->handle_len,
		   (unsigned *)&ret->handle_type) != 2 ||
	    ret->handle_len > CKPTI_HANDLE_SIZE)
		ret->handle_len = 0;
	hex = strstr(line + at, "f_handle:");
	for (unsigned i = 0; i < ret->handle_len; i++)
		if (!hex || sscanf(hex + strlen("f_handle:") + 2 * (size_t)i, "%2hhx",
				   &ret->handle[i]) != 1)
			ret->handle_len = 0;
	return 0;
}

static int by_number(const void *a, const void *b)
{
	int x = ((const struct ckpti_watch *)a)->wd, y = ((const struct ckpti_watch *)b)->wd;

	return (x > y) - (x < y);
}

/* One line at a time: sscanf() measures all that it is given, and there may be 50000 lines. */
static int parse(const char *fdinfo, struct ckpti_watch **ret, size_t *ret_n)
{
	struct ckpti_watch *list = NULL, *bigger;
	const char *at = fdinfo;
	size_t n = 0, len;
	char line[512];
	int r = 0;

	while (r == 0 && (at = strstr(at, "inotify wd:")) != NULL) {
		len = strcspn(at, "\n");
		bigger = realloc(list, (n + 1) * sizeof(*list));
		if (!bigger) {
			r = -ENOMEM;
			break;
		}
		list = bigger;
		(void)snprintf(line, sizeof(line), "%.*s", (int)len, at);
		r = parse_line(line, &list[n++]);
		at += len;
	}
	if (r < 0) {
		free(list);
		return r;
	}
	if (n)
		qsort(list, n, sizeof(*list), by_number);
	*ret = list;
	*ret_n = n;
	return 0;
}

static int add_record(struct ckpti_capture *cap, const struct ckpti_desc *d,
		      const struct ckpti_watch *watch, size_t n, struct ckpti_err *err)
{
	struct ckpti_e_watch *elem = calloc(n + 1, sizeof(*elem));
	const char **path = calloc(n + 1, sizeof(*path));
	struct ckpti_r_obj_inotify rec = {0};
	int unread = 0, r = -ENOMEM;

	if (!elem || !path)
		goto out;
	for (size_t i = 0; i < n; i++) {
		if (!watch[i].path) {
			r = ckpti_desc_err(d, err, -ENOTSUP,
					   "is an inotify instance that watches inode %" PRIu64
					   " of device %u:%u, whose path is not to be found",
					   watch[i].ino, major(watch[i].dev), minor(watch[i].dev));
			goto out;
		}
		if (watch[i].wd > NUMBER_LIMIT) {
			r = ckpti_desc_err(d, err, -ENOTSUP,
					   "is an inotify instance that has had more than %d "
					   "watches",
					   NUMBER_LIMIT);
			goto out;
		}
		elem[i].wd = watch[i].wd;
		elem[i].mask = watch[i].mask;
		path[i] = watch[i].path;
	}
	ckpti_obj_head(d, &rec.o);
	if (ioctl(d->fd, FIONREAD, &unread) == 0)
		rec.unread = (uint32_t)unread;
	r = ckpti_image_add(cap->img, CKPTI_R_OBJ_INOTIFY, &rec, sizeof(rec), path, n, elem,
			    sizeof(*elem), n);
out:
	free(path);
	free(elem);
	return r;
}

static int inotify_save(struct ckpti_capture *cap, struct ckpti_desc *d, struct ckpti_err *err)
{
	struct ckpti_watch *watch = NULL;
	size_t n = 0;
	int r;

	r = parse(d->fdinfo, &watch, &n);
	if (r == 0)
		r = ckpti_watch_paths(cap, d, watch, n);
	if (r == 0)
		r = add_record(cap, d, watch, n, err);
	for (size_t i = 0; i < n; i++)
		free(watch[i].path);
	free(watch);
	return r < 0 && !(err && err->code)
		       ? ckpti_desc_err(d, err, r, "cannot be saved: %s", strerror(-r))
		       : r;
}

/* ---- restoring ---------------------------------------------------------------------------- */

static int inotify_check(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_e_watch e;

	(void)rb;
	if (!d->rec.count)
		return 0;
	CKPTI_ELEM(&d->rec, d->rec.count - 1, &e);
	return e.wd > NUMBER_LIMIT
		       ? ckpti_err(err, -ENOTSUP,
				   "an inotify instance has the watch %d: %d is the highest "
				   "number that is restored",
				   e.wd, NUMBER_LIMIT)
		       : 0;
}

/* A directory to watch that is ours alone. */
static int make_own(const struct ckpti_rebuild *rb, char *path, size_t size)
{
	if (snprintf(path, size, "%s/.ckpt-XXXXXX", ckpti_store_path(rb->store)) >= (int)size)
		return -ENAMETOOLONG;
	return mkdtemp(path) ? 0 : -errno;
}

/* Watch path under the number wd, by trying as often as it takes. */
static int add_numbered(int fd, const char *path, uint32_t mask, int wd)
{
	for (;;) {
		/* IN_MASK_CREATE: what another number stands for already must keep that. */
		int got = inotify_add_watch(fd, path, mask | IN_DONT_FOLLOW | IN_MASK_CREATE);

		if (got < 0)
			return -errno;
		if (got == wd)
			return 0;
		(void)inotify_rm_watch(fd, got);
		if (got > wd)
			return -ERANGE;
	}
}

static int inotify_restore(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	struct ckpti_r_obj_inotify rec;
	int fd;

	(void)rb;
	if (d->fd >= 0)
		return 0;
	CKPTI_FIXED(&d->rec, &rec);
	fd = inotify_init1(IN_CLOEXEC);
	if (fd < 0)
		return ckpti_err(err, -errno, "cannot create an inotify instance: %s%s",
				 strerror(errno),
				 errno == EMFILE ? " (fs.inotify.max_user_instances)" : "");
	return ckpti_obj_take(d, fd, &rec.o, "an inotify instance", err);
}

/* The stand-ins of what is missing: their names, one behind the other, each with a NUL. */
struct stand_ins {
	size_t len;
	char name[];
};

static int watch_stand_in(struct ckpti_rebuild *rb, struct ckpti_redesc *d,
			  const struct ckpti_e_watch *e)
{
	struct stand_ins *s = d->priv, *bigger;
	char path[PATH_MAX];
	size_t len = s ? s->len : 0;
	int r = make_own(rb, path, sizeof(path));

	if (r < 0)
		return r;
	bigger = realloc(s, sizeof(*s) + len + strlen(path) + 1);
	if (!bigger) {
		(void)rmdir(path);
		return -ENOMEM;
	}
	memcpy(bigger->name + len, path, strlen(path) + 1);
	bigger->len = len + strlen(path) + 1;
	d->priv = bigger;
	return add_numbered(d->fd, path, e->mask, e->wd);
}

static int inotify_finish(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	for (uint64_t i = 0; i < d->rec.count; i++) {
		struct ckpti_e_watch e;
		char buf[PATH_MAX];
		const char *path;
		int r;

		CKPTI_ELEM(&d->rec, i, &e);
		path = ckpti_relocate(rb, ckpti_view_str(&d->rec, (unsigned)i), buf);
		r = add_numbered(d->fd, path, e.mask, e.wd);
		if (r == -ENOENT || r == -ENOTDIR || r == -EACCES || r == -EEXIST)
			r = watch_stand_in(rb, d, &e);
		if (r < 0)
			return ckpti_err_obj(err, r, 0, path, "cannot watch '%.200s': %s%s", path,
					     strerror(-r),
					     r == -ENOSPC ? " (fs.inotify.max_user_watches)" : "");
	}
	return 0;
}

static int unread(int fd)
{
	int n = 0;

	return ioctl(fd, FIONREAD, &n) < 0 ? 0 : n;
}

static void read_away(int fd, int bytes)
{
	char buf[65536];

	while (bytes > 0) {
		ssize_t n =
			read(fd, buf, (size_t)bytes < sizeof(buf) ? (size_t)bytes : sizeof(buf));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		bytes -= (int)n;
	}
}

/* Make the kernel drop an event, and take away all that it did not drop. */
static int overflow(struct ckpti_rebuild *rb, int fd)
{
	char path[2][PATH_MAX];
	int wd[2] = {-1, -1}, made = 0, r = 0, before = -1;

	for (; made < 2 && r == 0; made++) {
		r = make_own(rb, path[made], sizeof(path[made]));
		if (r < 0)
			break;
		wd[made] = inotify_add_watch(fd, path[made], IN_ATTRIB);
		r = wd[made] < 0 ? -errno : 0;
	}
	/* Two equal events in a row would be one. */
	for (int i = 0; r == 0 && i < FLOOD_LIMIT && before != unread(fd); i++) {
		before = unread(fd);
		(void)utimensat(AT_FDCWD, path[0], NULL, 0);
		(void)utimensat(AT_FDCWD, path[1], NULL, 0);
	}
	for (int i = 0; i < made; i++) {
		if (wd[i] >= 0)
			(void)inotify_rm_watch(fd, wd[i]);
		(void)rmdir(path[i]);
	}
	/* The notice is the last event. */
	read_away(fd, unread(fd) - (int)sizeof(struct inotify_event));
	return r;
}

/* What the restart itself has caused so far is not the program's. */
static int inotify_settle(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err)
{
	const struct stand_ins *s = d->priv;
	struct ckpti_r_obj_inotify rec;
	int r = 0;

	CKPTI_FIXED(&d->rec, &rec);
	read_away(d->fd, unread(d->fd));
	if (rec.unread)
		r = overflow(rb, d->fd);
	for (size_t at = 0; s && at < s->len; at += strlen(s->name + at) + 1)
		(void)rmdir(s->name + at);
	return r < 0 ? ckpti_err(err, r,
				 "cannot tell a program that its inotify events are lost: %s",
				 strerror(-r))
		     : 0;
}

const struct ckpti_fd_kind ckpti_kind_inotify = {
	.name = "inotify",
	.rec_type = CKPTI_R_OBJ_INOTIFY,
	.probe = inotify_probe,
	.save = inotify_save,
	.check = inotify_check,
	.restore = inotify_restore,
	.finish = inotify_finish,
	.attach = ckpti_obj_attach,
	.settle = inotify_settle,
};
