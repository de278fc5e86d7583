/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * File locks, from the "lock:" lines of fdinfo.  The kernel shows a POSIX lock only in the process
 * that owns it, under each of its descriptors for the description that took it; flock and OFD locks
 * with the description, in every process.  Doubles are dropped accordingly.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

#include "state/state_private.h"

struct ckpti_locks {
	struct ckpti_e_lock *lock;
	size_t n, cap;
};

struct ckpti_locks *ckpti_locks_new(void)
{
	return calloc(1, sizeof(struct ckpti_locks));
}

void ckpti_locks_free(struct ckpti_locks *l)
{
	if (!l)
		return;
	free(l->lock);
	free(l);
}

/* ---- saving ------------------------------------------------------------------------------- */

static bool same_lock(const struct ckpti_e_lock *a, const struct ckpti_e_lock *b)
{
	return a->kind == b->kind && a->obj == b->obj && a->start == b->start && a->len == b->len &&
	       (a->kind != CKPTI_LOCK_POSIX || a->pid == b->pid);
}

static int add_lock(struct ckpti_locks *l, const struct ckpti_e_lock *lock)
{
	for (size_t i = 0; i < l->n; i++)
		if (same_lock(&l->lock[i], lock))
			return 0;
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		struct ckpti_e_lock *p = realloc(l->lock, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->lock = p;
		l->cap = cap;
	}
	l->lock[l->n++] = *lock;
	return 0;
}

static uint32_t lock_kind(const char *word)
{
	if (strcmp(word, "POSIX") == 0)
		return CKPTI_LOCK_POSIX;
	if (strcmp(word, "OFDLCK") == 0)
		return CKPTI_LOCK_OFD;
	return strcmp(word, "FLOCK") == 0 ? CKPTI_LOCK_FLOCK : 0;
}

/* "1: POSIX  ADVISORY  WRITE 1234 fe:00:332383 0 EOF", see proc(5).  -ENOTSUP: *ret_kind is a kind
 * that cannot be restored. */
static int parse_lock(const char *line, struct ckpti_e_lock *lock, char ret_kind[16])
{
	char mandatory[16], type[8], end[24];
	uint64_t last;

	if (sscanf(line, "%*u: %15s %15s %7s %*d %*s %" SCNu64 " %23s", ret_kind, mandatory, type,
		   &lock->start, end) != 5)
		return -ENOTSUP;
	lock->kind = lock_kind(ret_kind);
	if (!lock->kind || strcmp(mandatory, "ADVISORY") != 0)
		return -ENOTSUP;
	lock->type = strcmp(type, "WRITE") == 0 ? F_WRLCK : F_RDLCK;
	if (strcmp(end, "EOF") == 0)
		return 0;
	last = strtoull(end, NULL, 10);
	if (last < lock->start)
		return -ENOTSUP;
	lock->len = last - lock->start + 1;
	return 0;
}

int ckpti_locks_save(struct ckpti_locks *l, int image_pid, int num, uint32_t obj,
		     const char *fdinfo, struct ckpti_err *err)
{
	while ((fdinfo = ckpti_fdinfo_field(fdinfo, "lock")) != NULL) {
		struct ckpti_e_lock lock = {.pid = image_pid, .fd = num, .obj = obj};
		char kind[16] = "unknown";
		int r = parse_lock(fdinfo, &lock, kind);

		if (r < 0)
			return ckpti_err_obj(
				err, r, image_pid, "",
				"descriptor %d holds a lock of type %s, which cannot be "
				"saved",
				num, kind);
		r = add_lock(l, &lock);
		if (r < 0)
			return ckpti_err(err, r, "no memory for file locks");
		fdinfo += strcspn(fdinfo, "\n");
	}
	return 0;
}

int ckpti_locks_record(const struct ckpti_locks *l, struct ckpti_image *img)
{
	if (!l->n)
		return 0;
	return ckpti_image_add(img, CKPTI_R_LOCKS, NULL, 0, NULL, 0, l->lock, sizeof(l->lock[0]),
			       l->n);
}

/* ---- restoring ---------------------------------------------------------------------------- */

static int take_lock(int fd, const struct ckpti_e_lock *lock)
{
	struct flock fl = {
		.l_type = (short)lock->type,
		.l_whence = SEEK_SET,
		.l_start = (off_t)lock->start,
		.l_len = (off_t)lock->len,
	};
	int r;

	if (lock->kind == CKPTI_LOCK_FLOCK)
		r = flock(fd, (lock->type == F_WRLCK ? LOCK_EX : LOCK_SH) | LOCK_NB);
	else
		r = fcntl(fd, F_OFD_SETLK, &fl);
	if (r == 0)
		return 0;
	return errno == EACCES || errno == EAGAIN ? -EWOULDBLOCK : -errno;
}

int ckpti_locks_restore(struct ckpti_rebuild *rb, struct ckpti_err *err)
{
	struct ckpti_view v;

	if (!ckpti_image_first(rb->img, CKPTI_R_LOCKS, &v))
		return 0;
	for (uint64_t i = 0; i < v.count; i++) {
		const struct ckpti_redesc *d;
		struct ckpti_e_lock lock;
		const char *path;
		int r;

		CKPTI_ELEM(&v, i, &lock);
		if (lock.kind == CKPTI_LOCK_POSIX)
			continue;
		d = ckpti_redesc_by_id(rb, lock.obj);
		if (!d || d->fd < 0)
			return ckpti_err(err, -EBADMSG, "object %u, which holds a lock, is missing",
					 lock.obj);
		path = ckpti_view_str(&d->rec, 0);
		r = take_lock(d->fd, &lock);
		if (r == -EWOULDBLOCK)
			return ckpti_err_obj(
				err, r, 0, path,
				"'%.200s' was locked at the checkpoint and is now locked "
				"by another process",
				path);
		if (r < 0)
			return ckpti_err_obj(err, r, 0, path, "cannot lock '%.200s' again: %s",
					     path, strerror(-r));
	}
	return 0;
}
