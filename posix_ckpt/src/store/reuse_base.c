/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last generation opened for comparison.  No lock is taken on its files: they are rewritten or removed
 * by the holder of the writer's lock only, and that is we.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/reuse_private.h"

static int add_file(struct ckpti_store *st, struct base *b, const struct ckpti_view *v)
{
	struct ckpti_r_datafile rec;
	struct base_file *more, *f;
	struct stat sb;

	more = reallocarray(b->file, b->nfiles + 1, sizeof(*more));
	if (!more)
		return -ENOMEM;
	b->file = more;
	f = &more[b->nfiles];
	CKPTI_FIXED(v, &rec);
	*f = (struct base_file){.id = rec.id, .size = rec.size, .generation = rec.generation};
	if (!f->generation)
		f->generation = ckpti_store_newest(st);
	memcpy(f->name, ckpti_view_str(v, 0), strlen(ckpti_view_str(v, 0)) + 1);
	f->fd = ckpti_store_open_ours(st, f->name, O_RDONLY, &sb, NULL);
	if (f->fd < 0)
		return f->fd;
	b->nfiles++;
	return (uint64_t)sb.st_size == f->size ? 0 : -EBADMSG;
}

static int add_extents(struct base *b, const struct ckpti_view *v)
{
	struct ckpti_r_extents owner;
	struct base_extent *more;
	struct ckpti_e_extent e;
	uint32_t file = 0;

	if (!v->count)
		return 0;
	more = reallocarray(b->extent, b->nextents + v->count, sizeof(*more));
	if (!more)
		return -ENOMEM;
	b->extent = more;
	CKPTI_FIXED(v, &owner);
	for (uint64_t i = 0; i < v->count; i++) {
		CKPTI_ELEM(v, i, &e);
		if (b->file[file].id != e.datafile)
			for (file = 0; b->file[file].id != e.datafile; file++)
				; /* the image was checked: it is there */
		b->extent[b->nextents++] = (struct base_extent){
			.kind = owner.owner_kind,
			.owner = owner.owner,
			.addr = e.addr,
			.len = e.len,
			.off = e.off,
			.file = file,
		};
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	const struct base_extent *x = a, *y = b;

	if (x->kind != y->kind)
		return x->kind < y->kind ? -1 : 1;
	if (x->owner != y->owner)
		return x->owner < y->owner ? -1 : 1;
	return (x->addr > y->addr) - (x->addr < y->addr);
}

static int each(struct ckpti_store *st, const struct ckpti_image *img, struct base *b,
		uint32_t type)
{
	struct ckpti_view v;
	size_t pos = 0;
	int r = 0;

	while (r == 0 && ckpti_image_next(img, &pos, &v)) {
		if (v.type == type)
			r = type == CKPTI_R_DATAFILE ? add_file(st, b, &v) : add_extents(b, &v);
	}
	return r;
}

int ckpti_base_open(struct ckpti_store *st, struct base *ret)
{
	struct ckpti_image img;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!ckpti_store_newest(st))
		return 0;
	ckpti_image_init(&img);
	r = ckpti_store_read(st, ckpti_store_newest(st), &img, NULL);
	/* The files may stand behind the extents that lie in them. */
	if (r == 0)
		r = each(st, &img, ret, CKPTI_R_DATAFILE);
	if (r == 0)
		r = each(st, &img, ret, CKPTI_R_EXTENTS);
	ckpti_image_free(&img);
	if (r == 0 && ret->nextents)
		qsort(ret->extent, ret->nextents, sizeof(ret->extent[0]), compare);
	if (r < 0)
		ckpti_base_close(ret);
	return r == 0 && ret->nextents > 0;
}

void ckpti_base_close(struct base *b)
{
	for (size_t i = 0; i < b->nfiles; i++)
		close(b->file[i].fd);
	free(b->file);
	free(b->extent);
	memset(b, 0, sizeof(*b));
}

const struct base_extent *ckpti_base_at(const struct base *b, const struct ckpti_r_extents *owner,
					uint64_t addr)
{
	const struct base_extent key = {
		.kind = owner->owner_kind, .owner = owner->owner, .addr = addr};
	size_t low = 0, high = b->nextents;

	/* The first that starts behind addr; the one before it may reach over addr. */
	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (compare(&b->extent[mid], &key) <= 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (size_t i = low ? low - 1 : 0; i < b->nextents && i <= low; i++) {
		const struct base_extent *e = &b->extent[i];

		if (e->kind == key.kind && e->owner == key.owner && e->addr + e->len > addr)
			return e;
	}
	return NULL;
}
