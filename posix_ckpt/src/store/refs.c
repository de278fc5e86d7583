/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who needs which file?  Data files and pins are shared between generations, so before one is
 * rewritten or removed all generations are asked.  A damaged generation needs nothing; one that we
 * merely cannot read (of a newer release, an I/O error) may need anything: then nothing is touched.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/store_private.h"

#define MAX_IMAGE (INT64_C(4) << 30) /* a generation file is headers only */

int ckpti_store_read(struct ckpti_store *st, uint64_t gen, struct ckpti_image *img,
		     struct ckpti_err *err)
{
	uint8_t *buf = NULL;
	char name[NAME_SIZE];
	struct stat sb;
	int fd, r;

	ckpti_store_gen_name(gen, name);
	fd = ckpti_store_open_ours(st, name, O_RDONLY, &sb, err);
	if (fd < 0)
		return fd;
	if (sb.st_size > MAX_IMAGE) {
		r = ckpti_err(err, -EBADMSG, "'%s' in '%s' is too large for an image", name,
			      st->path);
		goto out;
	}
	buf = malloc((size_t)sb.st_size + 1);
	r = buf ? ckpti_store_read_at(fd, buf, (size_t)sb.st_size, 0) : -ENOMEM;
	if (r < 0) {
		(void)ckpti_store_fail(st, err, r, "read", name);
		goto out;
	}
	r = ckpti_image_parse(img, buf, (size_t)sb.st_size, err);
	if (r < 0) {
		if (err && !err->object[0])
			(void)snprintf(err->object, sizeof(err->object), "%s/%s", st->path, name);
		goto out;
	}
	buf = NULL;
	if (ckpti_image_header(img)->generation != gen) {
		r = ckpti_err(err, -EBADMSG, "'%s' in '%s' holds another generation", name,
			      st->path);
		ckpti_image_free(img);
	}
out:
	free(buf);
	close(fd);
	return r;
}

/* Add the names that img refers to. */
static int add_names(const struct ckpti_image *img, struct names *refs)
{
	struct ckpti_view v;
	const char *name;
	size_t pos = 0;
	int r = 0;

	while (r == 0 && ckpti_image_next(img, &pos, &v)) {
		name = "";
		if (v.type == CKPTI_R_DATAFILE)
			name = ckpti_view_str(&v, 0);
		else if (v.type == CKPTI_R_MAPFILE)
			name = ckpti_view_str(&v, 1);
		if (*name && !ckpti_names_has(refs, name))
			r = ckpti_names_add(refs, name);
	}
	return r;
}

/* Names needed by generation gen.  -EBADMSG: by its damage it needs none. */
static int refs_of(struct ckpti_store *st, uint64_t gen, struct names *refs)
{
	struct ckpti_image img;
	int r;

	ckpti_image_init(&img);
	r = ckpti_store_read(st, gen, &img, NULL);
	if (r == 0)
		r = add_names(&img, refs);
	ckpti_image_free(&img);
	return r;
}

static int add_spare(struct store_spare **list, size_t *n, const char *name, off_t size)
{
	struct store_spare *more = reallocarray(*list, *n + 1, sizeof(*more));

	if (!more)
		return -ENOMEM;
	*list = more;
	more[*n].size = size;
	memcpy(more[*n].name, name, strlen(name) + 1);
	(*n)++;
	return 0;
}

static int larger_first(const void *a, const void *b)
{
	const struct store_spare *x = a, *y = b;

	return (x->size < y->size) - (x->size > y->size);
}

/* ---- before a write ----------------------------------------------------------------------- */

static int tidy_entry(struct ckpti_store *st, const char *name, void *arg)
{
	const struct names *refs = arg; /* NULL: unknown */
	uint64_t number;
	struct stat sb;

	switch (ckpti_store_name(name, &number)) {
	case NAME_TEMP:
		(void)unlinkat(st->dirfd, name, 0);
		break;
	case NAME_DATA:
		if (refs && !ckpti_names_has(refs, name) &&
		    fstatat(st->dirfd, name, &sb, AT_SYMLINK_NOFOLLOW) == 0)
			return add_spare(&st->spare, &st->nspare, name, sb.st_size);
		break;
	case NAME_PIN:
		if (refs && !ckpti_names_has(refs, name))
			(void)unlinkat(st->dirfd, name, 0);
		break;
	case NAME_FOREIGN:
	case NAME_LOCK:
	case NAME_GEN:
	case NAME_HASHES:
		break;
	}
	return 0;
}

int ckpti_store_tidy(struct ckpti_store *st, struct ckpti_err *err)
{
	struct names refs = {0};
	bool known = true;
	size_t i;
	int r;

	for (i = 0; i < st->ngens; i++) {
		r = refs_of(st, st->gens[i], &refs);
		if (r < 0 && r != -EBADMSG)
			known = false;
	}
	r = ckpti_store_each(st, tidy_entry, known ? &refs : NULL, err);
	if (st->nspare > 0)
		qsort(st->spare, st->nspare, sizeof(st->spare[0]), larger_first);
	ckpti_names_free(&refs);
	return r;
}

/* ---- after a commit ----------------------------------------------------------------------- */

struct prune {
	const struct names *refs;
	struct store_spare *spare;
	size_t nspare;
};

/* Size of an unreferenced file that the next write can use, -1 when it cannot. */
static off_t usable(struct ckpti_store *st, const char *name)
{
	off_t size = -1;
	struct stat sb;
	int fd;

	fd = ckpti_store_open_ours(st, name, O_RDWR, &sb, NULL);
	if (fd < 0)
		return -1;
	if (sb.st_nlink == 1 && ckpti_store_lock_file(fd, F_WRLCK) == 0)
		size = sb.st_size;
	close(fd);
	return size;
}

static int prune_entry(struct ckpti_store *st, const char *name, void *arg)
{
	struct prune *p = arg;
	uint64_t number;
	off_t size;

	switch (ckpti_store_name(name, &number)) {
	case NAME_DATA:
		if (ckpti_names_has(p->refs, name))
			break;
		size = usable(st, name);
		if (size < 0 || add_spare(&p->spare, &p->nspare, name, size) < 0)
			(void)unlinkat(st->dirfd, name, 0);
		break;
	case NAME_PIN:
		if (!ckpti_names_has(p->refs, name))
			(void)unlinkat(st->dirfd, name, 0);
		break;
	case NAME_FOREIGN:
	case NAME_LOCK:
	case NAME_GEN:
	case NAME_HASHES:
	case NAME_TEMP:
		break;
	}
	return 0;
}

void ckpti_store_hold(struct ckpti_store *st, const uint64_t *gens, size_t n)
{
	st->hold = gens;
	st->nhold = n;
}

static bool held(const struct ckpti_store *st, uint64_t gen)
{
	for (size_t i = 0; i < st->nhold; i++)
		if (st->hold[i] == gen)
			return true;
	return false;
}

/* Remove generations that are neither held nor among the newest `keep` good ones; fills *refs with what
 * the others need.  False when that cannot be told. */
static bool drop_generations(struct ckpti_store *st, unsigned keep, struct names *refs)
{
	char name[NAME_SIZE];
	size_t i, n = st->ngens;
	bool known = true, drop, hold;
	unsigned kept = 0;
	int r;

	/* What was committed a moment ago does not read back?  Then this is no time to remove. */
	if (refs_of(st, st->generation, refs) < 0)
		return false;
	st->ngens = 0;
	for (i = n; i-- > 0;) {
		hold = held(st, st->gens[i]);
		drop = kept >= keep && !hold;
		if (!drop) {
			r = refs_of(st, st->gens[i], refs);
			drop = r == -EBADMSG && !hold;
			kept += r == 0;
			known = known && (r == 0 || r == -EBADMSG);
		}
		if (drop) {
			ckpti_store_gen_name(st->gens[i], name);
			drop = unlinkat(st->dirfd, name, 0) == 0 || errno == ENOENT;
			known = known && drop;
		}
		if (!drop)
			st->gens[n - ++st->ngens] = st->gens[i];
	}
	memmove(st->gens, st->gens + n - st->ngens, st->ngens * sizeof(st->gens[0]));
	return known;
}

void ckpti_store_prune(struct ckpti_store *st, unsigned keep)
{
	struct names refs = {0};
	struct prune p = {.refs = &refs};
	size_t i;

	/* A reader that takes too long keeps the old generations alive until the next commit. */
	if (ckpti_store_lock_list(st, true) < 0)
		return;
	/* On disk the generation must be gone before a file of it is. */
	if (drop_generations(st, keep ? keep : 1, &refs) && fsync(st->dirfd) == 0) {
		(void)ckpti_store_each(st, prune_entry, &p, NULL);
		if (p.nspare > 0)
			qsort(p.spare, p.nspare, sizeof(p.spare[0]), larger_first);
		/* The next generation will need about as many as this one. */
		for (i = st->nfiles; i < p.nspare; i++)
			(void)unlinkat(st->dirfd, p.spare[i].name, 0);
	}
	ckpti_store_unlock_list(st);
	ckpti_store_sweep_shared(st);
	free(p.spare);
	ckpti_names_free(&refs);
}
