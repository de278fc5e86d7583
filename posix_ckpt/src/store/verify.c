/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Hashes of extents: filled in before the commit, checked by `cpr verify` and before a restart.  One
 * pass over the image serves both; large extents are read piece by piece.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/store_private.h"

struct pass {
	struct ckpti_store *st;
	const struct ckpti_image *img;
	const char *phase;
	ckpti_progress_f progress;
	void *arg;
	struct ckpti_err *err;
	char *buf; /* IO_CHUNK */
	ckpti_store_skip_f skip;
	const void *skip_arg;
	uint64_t done, told, total;
	/* What to do with an extent whose hash is `hash`; at: the extent in the image. */
	int (*extent)(struct pass *p, const struct store_file *f, const struct ckpti_e_extent *e,
		      const uint8_t *at, uint64_t hash);
};

static int advance(struct pass *p, uint64_t bytes)
{
	p->done += bytes;
	if (p->progress && (p->done - p->told >= IO_CHUNK || p->done == p->total)) {
		p->told = p->done;
		if (p->progress(p->arg, p->phase, p->done, p->total) != 0)
			return ckpti_err(p->err, -ECANCELED, "cancelled");
	}
	return 0;
}

static int read_failed(struct pass *p, const struct store_file *f, int r)
{
	if (r == -EBADMSG)
		return ckpti_err(p->err, r, "'%s' in '%s' ends too early", f->name, p->st->path);
	return ckpti_store_fail(p->st, p->err, r, "read", f->name);
}

static int hash_extent(struct pass *p, const struct store_file *f, const struct ckpti_e_extent *e,
		       uint64_t *ret_hash)
{
	struct ckpti_hasher *h = NULL;
	uint64_t off = 0;
	size_t n;
	int r;

	if (e->len > IO_CHUNK) {
		h = ckpti_hasher_new();
		if (!h)
			return ckpti_err(p->err, -ENOMEM, "no memory");
	}
	do {
		n = e->len - off < IO_CHUNK ? (size_t)(e->len - off) : IO_CHUNK;
		r = ckpti_store_read_at(f->fd, p->buf, n, e->off + off);
		if (r < 0) {
			(void)read_failed(p, f, r);
			break;
		}
		if (h)
			ckpti_hasher_update(h, p->buf, n);
		else
			*ret_hash = ckpti_hash64(p->buf, n);
		off += n;
		r = advance(p, n);
	} while (r == 0 && off < e->len);
	if (h && r == 0)
		*ret_hash = ckpti_hasher_free64(h);
	else
		ckpti_hasher_free(h, NULL);
	return r;
}

/* Extents whose data file is open here; others belong to an earlier generation and have hashes. */
static int pass_extents(struct pass *p, bool count_only)
{
	const struct store_file *f = NULL;
	struct ckpti_r_extents head;
	struct ckpti_e_extent e;
	struct ckpti_view v;
	const uint8_t *at;
	uint64_t i, hash;
	size_t pos = 0;
	int r;

	while (ckpti_image_next(p->img, &pos, &v)) {
		if (v.type != CKPTI_R_EXTENTS)
			continue;
		CKPTI_FIXED(&v, &head);
		for (i = 0; i < v.count; i++) {
			CKPTI_ELEM(&v, i, &e);
			if (p->skip && p->skip(p->skip_arg, head.owner_kind, head.owner, &e))
				continue;
			if (!f || f->id != e.datafile)
				f = ckpti_store_file_by_id(p->st, e.datafile);
			if (!f)
				continue;
			if (count_only) {
				p->total += e.len;
				continue;
			}
			hash = 0;
			r = hash_extent(p, f, &e, &hash);
			if (r < 0)
				return r;
			at = (const uint8_t *)v.array + i * v.elem_size;
			r = p->extent(p, f, &e, at, hash);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

static int fill_in(struct pass *p, const struct store_file *f, const struct ckpti_e_extent *e,
		   const uint8_t *at, uint64_t hash)
{
	uint8_t *field = p->img->buf + (at - p->img->buf) + offsetof(struct ckpti_e_extent, hash);

	(void)f;
	(void)e;
	memcpy(field, &hash, sizeof(hash));
	return 0;
}

int ckpti_store_hash(struct ckpti_store *st, struct ckpti_image *img, ckpti_progress_f progress,
		     void *arg, struct ckpti_err *err)
{
	struct pass p = {.st = st,
			 .img = img,
			 .phase = "hash",
			 .progress = progress,
			 .arg = arg,
			 .err = err,
			 .extent = fill_in};
	int r;

	p.buf = malloc(IO_CHUNK);
	if (!p.buf)
		return ckpti_err(err, -ENOMEM, "no memory");
	(void)pass_extents(&p, true);
	r = pass_extents(&p, false);
	free(p.buf);
	return r;
}

static int compare(struct pass *p, const struct store_file *f, const struct ckpti_e_extent *e,
		   const uint8_t *at, uint64_t hash)
{
	(void)at;
	if (hash == e->hash)
		return 0;
	return ckpti_err(p->err, -EBADMSG,
			 "'%s' in '%s' is damaged: wrong hash of %llu bytes at offset %#llx",
			 f->name, p->st->path, (unsigned long long)e->len,
			 (unsigned long long)e->off);
}

/* Copies of mapped files. */
static int pass_pins(struct pass *p, bool count_only)
{
	const struct store_file *f;
	struct ckpti_r_mapfile m;
	struct ckpti_view v;
	uint64_t hash[2], size;
	size_t pos = 0;
	int r;

	while (ckpti_image_next(p->img, &pos, &v)) {
		if (v.type != CKPTI_R_MAPFILE || !*ckpti_view_str(&v, 1))
			continue;
		CKPTI_FIXED(&v, &m);
		if (count_only) {
			p->total += m.size;
			continue;
		}
		f = ckpti_store_file_by_name(p->st, ckpti_view_str(&v, 1));
		if (!f)
			return ckpti_err(p->err, -EINVAL, "the image was not loaded from '%s'",
					 p->st->path);
		r = ckpti_store_hash_fd(f->fd, hash, &size);
		if (r < 0)
			return read_failed(p, f, r);
		if (size != m.size || hash[0] != m.hash[0] || hash[1] != m.hash[1])
			return ckpti_err(p->err, -EBADMSG,
					 "'%s' in '%s' is damaged: wrong hash of its content",
					 f->name, p->st->path);
		r = advance(p, m.size);
		if (r < 0)
			return r;
	}
	return 0;
}

int ckpti_store_verify(struct ckpti_store *st, const struct ckpti_image *img,
		       ckpti_store_skip_f skip, const void *skip_arg, ckpti_progress_f progress,
		       void *arg, struct ckpti_err *err)
{
	struct pass p = {.st = st,
			 .img = img,
			 .phase = "verify",
			 .progress = progress,
			 .arg = arg,
			 .err = err,
			 .skip = skip,
			 .skip_arg = skip_arg,
			 .extent = compare};
	int r;

	p.buf = malloc(IO_CHUNK);
	if (!p.buf)
		return ckpti_err(err, -ENOMEM, "no memory");
	(void)pass_extents(&p, true);
	(void)pass_pins(&p, true);
	r = pass_extents(&p, false);
	if (r == 0)
		r = pass_pins(&p, false);
	free(p.buf);
	return r;
}
