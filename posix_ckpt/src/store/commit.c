/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commit.  The order is what makes a crash harmless at any instruction:
 *
 *   data files on disk -> their names on disk -> generation file on disk under a temporary name ->
 *   rename -> the new name on disk -> only now old generations and their files go
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "store/store_private.h"

/* DATAFILE records for the files of this write, unless the caller has made one. */
static int add_records(struct ckpti_store *st, struct ckpti_image *img, struct ckpti_err *err)
{
	struct ckpti_r_datafile rec;
	const struct store_file *f;
	struct ckpti_view v;
	const char *name;
	size_t i;
	int r;

	for (i = 0; i < st->nfiles; i++) {
		f = &st->files[i];
		if (!f->done)
			return ckpti_err(err, -EINVAL, "'%s' in '%s' was not completed", f->name,
					 st->path);
		if (f->scratch)
			continue;
		if (ckpti_image_find(img, CKPTI_R_DATAFILE, f->id, &v))
			continue;
		rec = (struct ckpti_r_datafile){.id = f->id, .size = f->size};
		name = f->name;
		r = ckpti_image_add(img, CKPTI_R_DATAFILE, &rec, sizeof(rec), &name, 1, NULL, 0, 0);
		if (r < 0)
			return ckpti_err(err, r, "no memory for the image");
	}
	return 0;
}

/* A faulty image must fail here, where the program still runs, and not at the restart. */
static int check_own(struct ckpti_image *img, struct ckpti_err *err)
{
	struct ckpti_image same;

	return ckpti_image_parse(&same, img->buf, img->len, err);
}

static int sync_data(struct ckpti_store *st, struct ckpti_err *err)
{
	size_t i;

	for (i = 0; i < st->nfiles; i++) {
		if (!st->files[i].scratch && fsync(st->files[i].fd) < 0)
			return ckpti_store_fail(st, err, -errno, "write", st->files[i].name);
	}
	if (fsync(st->dirfd) < 0)
		return ckpti_store_fail(st, err, -errno, "write", ".");
	/* Readers may lock them as soon as the generation has its name. */
	for (i = 0; i < st->nfiles; i++)
		(void)ckpti_store_lock_file(st->files[i].fd, F_UNLCK);
	return 0;
}

static int write_image(struct ckpti_store *st, const struct ckpti_image *img, const char *name,
		       struct ckpti_err *err)
{
	int fd, r;

	fd = openat(st->dirfd, GEN_TEMP, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return ckpti_store_fail(st, err, -errno, "create", GEN_TEMP);
	r = ckpti_store_write_all(fd, img->buf, img->len);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (close(fd) < 0 && r == 0)
		r = -errno;
	if (r < 0)
		return ckpti_store_fail(st, err, r, "write", name);
	if (renameat(st->dirfd, GEN_TEMP, st->dirfd, name) < 0)
		return ckpti_store_fail(st, err, -errno, "rename", name);
	if (fsync(st->dirfd) < 0) {
		r = ckpti_store_fail(st, err, -errno, "write", name);
		/* Reported as failed, so it must not be there. */
		if (unlinkat(st->dirfd, name, 0) == 0)
			return r;
		st->committed = true; /* it is there after all: keep its files */
		return r;
	}
	return 0;
}

int ckpti_store_commit(struct ckpti_store *st, struct ckpti_image *img,
		       const struct ckpti_header *hdr, unsigned keep, struct ckpti_err *err)
{
	struct ckpti_header h = *hdr;
	char name[NAME_SIZE];
	struct timespec now;
	uint64_t *gens;
	int r;

	if (!st->writer || st->committed)
		return ckpti_err(err, -EINVAL, "'%s' is not open for writing", st->path);
	/* Room first: nothing may fail between the rename and the bookkeeping. */
	gens = reallocarray(st->gens, st->ngens + 1, sizeof(*gens));
	if (!gens)
		return ckpti_err(err, -ENOMEM, "no memory for the image");
	st->gens = gens;

	r = add_records(st, img, err);
	if (r < 0)
		return r;
	if (h.ctime_ns == 0) {
		(void)clock_gettime(CLOCK_REALTIME, &now);
		h.ctime_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	}
	h.generation = st->generation;
	ckpti_image_seal(img, &h);
	r = check_own(img, err);
	if (r < 0)
		return r;
	r = sync_data(st, err);
	if (r < 0)
		return r;
	ckpti_store_gen_name(st->generation, name);
	r = write_image(st, img, name, err);
	if (r < 0)
		return r;
	st->committed = true;
	gens[st->ngens++] = st->generation;
	ckpti_store_cache_save(st);
	ckpti_store_prune(st, keep);
	return 0;
}
