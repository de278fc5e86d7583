/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loading a generation, and pinning the files it refers to.
 *
 * A writer may drop any generation but its newest at any time and then rewrite the files.  So the
 * reader holds the list lock while it chooses one, opens every file and takes its shared lock; after
 * that a writer can remove the names but not change the content.  The locks live as long as the
 * store, a descriptor from ckpti_store_open_file() or a mapping made from one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/store_private.h"

/* Open and pin `name`, which must have `size` bytes. */
static int pin_file(struct ckpti_store *st, uint32_t id, const char *name, uint64_t size,
		    struct ckpti_err *err)
{
	struct ckpti_err why = {0};
	struct stat sb;
	int fd, r;

	fd = ckpti_store_open_ours(st, name, O_RDONLY, &sb, &why);
	if (fd == -ENOENT)
		return ckpti_err(err, -EBADMSG, "'%s' in '%s' is missing", name, st->path);
	if (fd < 0)
		return ckpti_err(err, fd, "%s", why.text);
	r = ckpti_store_lock_file(fd, F_RDLCK);
	if (r < 0) {
		close(fd);
		return ckpti_store_fail(st, err, r == -EAGAIN ? -EBUSY : r, "lock", name);
	}
	if ((uint64_t)sb.st_size != size) {
		close(fd);
		return ckpti_err(err, -EBADMSG, "'%s' in '%s' has %lld bytes and should have %llu",
				 name, st->path, (long long)sb.st_size, (unsigned long long)size);
	}
	r = ckpti_store_add_file(st, id, fd, name, size);
	return r < 0 ? ckpti_err(err, r, "no memory for the image") : 0;
}

static int pin_all(struct ckpti_store *st, const struct ckpti_image *img, struct ckpti_err *err)
{
	struct ckpti_r_datafile data;
	struct ckpti_r_mapfile map;
	struct ckpti_view v;
	const char *copy;
	size_t pos = 0;
	int r = 0;

	while (r == 0 && ckpti_image_next(img, &pos, &v)) {
		if (v.type == CKPTI_R_DATAFILE) {
			CKPTI_FIXED(&v, &data);
			r = pin_file(st, data.id, ckpti_view_str(&v, 0), data.size, err);
		} else if (v.type == CKPTI_R_MAPFILE) {
			CKPTI_FIXED(&v, &map);
			copy = ckpti_view_str(&v, 1);
			if (*copy && !ckpti_store_file_by_name(st, copy))
				r = pin_file(st, 0, copy, map.size, err);
		}
	}
	return r;
}

static int load_one(struct ckpti_store *st, uint64_t gen, struct ckpti_image *img,
		    struct ckpti_err *err)
{
	int r;

	ckpti_store_drop_files(st);
	r = ckpti_store_read(st, gen, img, err);
	if (r < 0)
		return r;
	r = pin_all(st, img, err);
	if (r < 0) {
		ckpti_store_drop_files(st);
		ckpti_image_free(img);
	}
	return r;
}

/* Only what is broken is passed over.  A generation that is good but not for us (newer format, no
 * permission) must not be replaced by an older one behind the user's back. */
static bool damaged(int r)
{
	return r == -EBADMSG || r == -ENOENT;
}

int ckpti_store_load(struct ckpti_store *st, uint64_t gen, struct ckpti_image *img,
		     struct ckpti_err *err)
{
	struct ckpti_err first = {0}, again;
	size_t i;
	int r, res;

	if (st->writer)
		return ckpti_err(err, -EINVAL, "'%s' is open for writing", st->path);
	r = ckpti_store_lock_list(st, false);
	if (r < 0)
		return ckpti_store_fail(st, err, r, "lock", LOCK_FILE);
	r = ckpti_store_scan(st, err);
	if (r < 0)
		goto out;
	if (gen != 0) {
		for (i = 0; i < st->ngens && st->gens[i] != gen; i++)
			;
		if (i == st->ngens)
			r = ckpti_err(err, -ENODATA, "'%s' holds no generation %llu", st->path,
				      (unsigned long long)gen);
		else
			r = load_one(st, gen, img, err);
		goto out;
	}
	if (st->ngens == 0) {
		r = ckpti_err(err, -ENODATA, "'%s' holds no complete checkpoint", st->path);
		goto out;
	}
	/* The cause to report is that of the newest one. */
	i = st->ngens;
	r = load_one(st, st->gens[--i], img, &first);
	for (res = r; damaged(res) && i > 0;) {
		again = (struct ckpti_err){0};
		res = load_one(st, st->gens[--i], img, &again);
		if (res == 0)
			r = 0;
	}
	if (r < 0 && err && !err->code)
		*err = first;
out:
	ckpti_store_unlock_list(st);
	return r;
}

int ckpti_store_open_file(struct ckpti_store *st, const char *name, struct ckpti_err *err)
{
	struct store_file *f = ckpti_store_file_by_name(st, name);
	enum store_name kind;
	uint64_t number;
	int fd;

	if (f) {
		/* The name may be gone by now; the pinned file is not. */
		fd = fcntl(f->fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? ckpti_store_fail(st, err, -errno, "open", name) : fd;
	}
	kind = ckpti_store_name(name, &number);
	if (kind != NAME_DATA && kind != NAME_PIN)
		return ckpti_err(err, -EINVAL, "'%s' is not the name of a data file", name);
	fd = ckpti_store_open_ours(st, name, O_RDONLY, NULL, err);
	if (fd >= 0)
		(void)ckpti_store_lock_file(fd, F_RDLCK);
	return fd;
}
