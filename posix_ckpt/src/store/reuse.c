/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What has not changed is not kept twice.
 *
 * During the stop everything was written to data files as fast as that goes.  Now, with the processes
 * running again, these are compared with the last generation, page by page: what is equal becomes an
 * extent in the old data file, the rest is moved to a small data file of its own.  The large ones are
 * then scratch: the generation does not name them, they need not reach the disk, and the next checkpoint
 * writes over their blocks.
 *
 * Equal is told by the bytes, never by a hash.  So damage of an old file, as far as it is seen when
 * reading, is not handed on: what does not compare is stored.
 *
 * A chain of generations must not grow for ever.  The scratch files are complete, so a generation that
 * stands alone is always at hand, at no cost but the time that its data takes to the disk; it is made
 * when not much would be saved, or when a third of what the files hold is dead.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "store/reuse_private.h"

#define PIECE     (256U << 10) /* two of them stay in the processor's cache */
#define PAGE      ((uint64_t)CKPTI_PAGE)
#define OLD       (1U << 31) /* extents in the making: datafile is the index of a struct base_file */
#define LEAST     (1U << 20) /* saving less is not worth a file */
#define MOST_OLD  64U        /* files of earlier generations */
#define MEAN_RUN  4U    /* pages of an extent: shorter ones cost more at a restart than they save */
#define DEAR_LESS 1024U /* extents: as long as there are so few, their length does not matter */

struct reuse {
	struct ckpti_store *st;
	struct base base;
	struct ckpti_image out;
	ckpti_progress_f progress;
	void *arg;
	struct ckpti_err *err;
	struct ckpti_hasher *hasher; /* over the last extent of list */
	uint8_t *new, *old;          /* PIECE each */
	struct ckpti_e_extent *list; /* of the record at hand */
	size_t n, cap;
	uint64_t nextents, stored, reused, total;
	bool vain; /* too much has changed */
};

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t page_up(uint64_t n)
{
	return (n + PAGE - 1) & ~(PAGE - 1);
}

static int oom(const struct reuse *u)
{
	return ckpti_err(u->err, -ENOMEM, "no memory for the image");
}

/* ---- extents of the new generation --------------------------------------------------------- */

/* Add `len` bytes, which are at `data`, to the list. */
static int emit(struct reuse *u, const struct ckpti_e_extent *e, const void *data)
{
	struct ckpti_e_extent *last = u->n ? &u->list[u->n - 1] : NULL, *more;

	*(e->datafile & OLD ? &u->reused : &u->stored) += e->len;
	if (e->datafile & OLD)
		u->base.file[e->datafile & ~OLD].used += e->len;
	if (last && last->datafile == e->datafile && last->addr + last->len == e->addr &&
	    last->off + last->len == e->off) {
		last->len += e->len;
	} else {
		if (last)
			last->hash = ckpti_hasher_take64(u->hasher);
		if (u->n == u->cap) {
			size_t cap = u->cap ? 2 * u->cap : 256;

			more = reallocarray(u->list, cap, sizeof(*more));
			if (!more)
				return oom(u);
			u->list = more;
			u->cap = cap;
		}
		u->list[u->n++] = *e;
	}
	ckpti_hasher_update(u->hasher, data, (size_t)e->len);
	return 0;
}

static bool page_equal(const struct reuse *u, uint64_t at, uint64_t len)
{
	return memcmp(u->new + at, u->old + at, (size_t)min_u64(PAGE, len - at)) == 0;
}

/* u->new holds the bytes of e, u->old those of `file` at `off`. */
static int compare_piece(struct reuse *u, const struct ckpti_e_extent *e, uint32_t file,
			 uint64_t off)
{
	bool whole = memcmp(u->new, u->old, (size_t)e->len) == 0;
	uint64_t at = 0, end;
	int r = 0;

	for (; r == 0 && at < e->len; at = end) {
		bool equal = whole || page_equal(u, at, e->len);
		struct ckpti_e_extent run = {
			.addr = e->addr + at,
			.off = equal ? off + at : e->off + at,
			.datafile = equal ? OLD | file : e->datafile,
		};

		for (end = whole ? e->len : at + PAGE;
		     end < e->len && page_equal(u, end, e->len) == equal; end += PAGE)
			;
		end = min_u64(end, e->len);
		run.len = end - at;
		r = emit(u, &run, u->new + at);
	}
	return r;
}

static int read_new(struct reuse *u, const struct store_file *f, const struct ckpti_e_extent *e)
{
	int r = ckpti_store_read_at(f->fd, u->new, (size_t)e->len, e->off);

	if (r == -EBADMSG)
		return ckpti_err(u->err, r, "'%s' in '%s' ends too early", f->name, u->st->path);
	return r < 0 ? ckpti_store_fail(u->st, u->err, r, "read", f->name) : 0;
}

static int advance(struct reuse *u)
{
	uint64_t done = u->stored + u->reused;

	if (u->progress && u->progress(u->arg, "hash", done, u->total) != 0)
		return ckpti_err(u->err, -ECANCELED, "cancelled");
	u->vain = u->stored > u->total / 2 || (u->nextents + u->n > DEAR_LESS &&
					       (u->nextents + u->n) * MEAN_RUN * PAGE > u->total);
	return 0;
}

/* One extent as it was written, piece by piece. */
static int split(struct reuse *u, const struct ckpti_r_extents *owner,
		 const struct ckpti_e_extent *e)
{
	const struct store_file *f = ckpti_store_file_by_id(u->st, e->datafile);
	uint64_t done = 0;
	int r = 0;

	if (!f)
		return ckpti_err(u->err, -EINVAL, "'%s' has no data file %u", u->st->path,
				 e->datafile);
	while (r == 0 && done < e->len && !u->vain) {
		struct ckpti_e_extent p = *e;
		const struct base_extent *b = ckpti_base_at(&u->base, owner, e->addr + done);
		uint64_t skip = 0;

		p.addr += done;
		p.off += done;
		p.len = min_u64(e->len - done, PIECE);
		if (b && b->addr > p.addr) {
			p.len = min_u64(p.len, b->addr - p.addr);
			b = NULL;
		} else if (b) {
			skip = p.addr - b->addr;
			/* The page in which a file ended may hold more by now. */
			if (b->len - skip < p.len)
				p.len = (b->len - skip) & ~(PAGE - 1);
			if (p.len == 0) {
				p.len = min_u64(e->len - done, PAGE);
				b = NULL;
			}
		}
		r = read_new(u, f, &p);
		if (r < 0)
			break;
		if (b && ckpti_store_read_at(u->base.file[b->file].fd, u->old, (size_t)p.len,
					     b->off + skip) < 0)
			b = NULL; /* damaged: stored anew */
		r = b ? compare_piece(u, &p, b->file, b->off + skip) : emit(u, &p, u->new);
		done += p.len;
		if (r == 0)
			r = advance(u);
	}
	return r;
}

static int split_record(struct reuse *u, const struct ckpti_view *v)
{
	struct ckpti_r_extents owner;
	struct ckpti_e_extent e;
	int r = 0;

	CKPTI_FIXED(v, &owner);
	u->n = 0;
	for (uint64_t i = 0; r == 0 && i < v->count && !u->vain; i++) {
		CKPTI_ELEM(v, i, &e);
		r = split(u, &owner, &e);
	}
	if (u->n)
		u->list[u->n - 1].hash = ckpti_hasher_take64(u->hasher);
	u->nextents += u->n;
	if (r == 0 && ckpti_image_add(&u->out, v->type, &owner, sizeof(owner), NULL, 0, u->list,
				      sizeof(u->list[0]), u->n) < 0)
		r = oom(u);
	return r;
}

static int split_all(struct reuse *u, const struct ckpti_image *img)
{
	struct ckpti_e_extent e;
	struct ckpti_view v;
	size_t pos = 0;
	int r = 0;

	while (ckpti_image_next(img, &pos, &v)) {
		for (uint64_t i = 0; v.type == CKPTI_R_EXTENTS && i < v.count; i++) {
			CKPTI_ELEM(&v, i, &e);
			u->total += e.len;
		}
	}
	pos = 0;
	while (r == 0 && !u->vain && ckpti_image_next(img, &pos, &v)) {
		if (v.type == CKPTI_R_EXTENTS)
			r = split_record(u, &v);
		else if (ckpti_image_append(&u->out, &v) < 0)
			r = oom(u);
	}
	return r;
}

/* ---- the decision, and the new file -------------------------------------------------------- */

static bool worthwhile(const struct reuse *u)
{
	uint64_t held = u->stored, files = 0;

	for (size_t i = 0; i < u->base.nfiles; i++) {
		if (!u->base.file[i].used)
			continue;
		held += u->base.file[i].size;
		files++;
	}
	return !u->vain && u->reused >= LEAST && held / 3 <= u->total / 2 && files <= MOST_OLD;
}

/* Bytes on their way to the new file. */
struct mover {
	uint8_t *buf; /* PIECE */
	size_t fill;
	uint64_t off; /* where they go */
	int fd;
};

static int flush(struct mover *m)
{
	int r = ckpti_store_write_at(m->fd, m->buf, m->fill, m->off);

	m->off += m->fill;
	m->fill = 0;
	return r;
}

/* Move the bytes of e, and let it point to where they are then. */
static int move(struct reuse *u, struct mover *m, struct ckpti_e_extent *e, uint32_t id)
{
	const struct store_file *f = ckpti_store_file_by_id(u->st, e->datafile);
	uint64_t to = m->off + m->fill, padded = page_up(e->len);
	int r = 0;

	for (uint64_t done = 0; done < padded;) {
		size_t room = PIECE - m->fill;
		size_t n = (size_t)min_u64(padded - done, room);
		size_t data = done < e->len ? (size_t)min_u64(e->len - done, n) : 0;

		memset(m->buf + m->fill + data, 0, n - data);
		r = ckpti_store_read_at(f->fd, m->buf + m->fill, data, e->off + done);
		if (r < 0)
			return ckpti_store_fail(u->st, u->err, r, "read", f->name);
		m->fill += n;
		done += n;
		if (m->fill == PIECE)
			r = flush(m);
		if (r < 0)
			return ckpti_store_fail(u->st, u->err, r, "write",
						ckpti_store_file_by_id(u->st, id)->name);
	}
	e->off = to;
	e->datafile = id;
	return 0;
}

/* Every extent gets its place: in an old file, or in the new one. */
static int place(struct reuse *u, struct mover *m, uint32_t id)
{
	struct ckpti_e_extent e;
	struct ckpti_view v;
	size_t pos = 0;
	int r = 0;

	while (r == 0 && ckpti_image_next(&u->out, &pos, &v)) {
		for (uint64_t i = 0; r == 0 && v.type == CKPTI_R_EXTENTS && i < v.count; i++) {
			const uint8_t *at = (const uint8_t *)v.array + i * v.elem_size;

			CKPTI_ELEM(&v, i, &e);
			if (e.datafile & OLD)
				e.datafile = u->base.file[e.datafile & ~OLD].new_id;
			else
				r = move(u, m, &e, id);
			memcpy(u->out.buf + (at - u->out.buf), &e, sizeof(e));
		}
	}
	if (r < 0)
		return r;
	r = flush(m);
	return r < 0 ? ckpti_store_fail(u->st, u->err, r, "write",
					ckpti_store_file_by_id(u->st, id)->name)
		     : 0;
}

static int name_old_files(struct reuse *u, uint32_t next)
{
	for (size_t i = 0; i < u->base.nfiles; i++) {
		struct base_file *b = &u->base.file[i];
		struct ckpti_r_datafile rec = {
			.id = next,
			.size = b->size,
			.generation = b->generation,
		};
		const char *name = b->name;

		if (!b->used)
			continue;
		b->new_id = next++;
		if (ckpti_image_add(&u->out, CKPTI_R_DATAFILE, &rec, sizeof(rec), &name, 1, NULL, 0,
				    0) < 0)
			return oom(u);
	}
	return 0;
}

static int apply(struct reuse *u)
{
	struct mover m = {.buf = u->new, .fd = -1};
	size_t nfiles = u->st->nfiles;
	uint32_t id;
	int r;

	r = ckpti_store_datafile(u->st, u->stored, &id, &m.fd, u->err);
	if (r == 0)
		r = name_old_files(u, id + 1);
	if (r == 0)
		r = place(u, &m, id);
	if (r == 0)
		r = ckpti_store_datafile_done(u->st, id, m.off, u->err);
	for (size_t i = 0; r == 0 && i < nfiles; i++)
		u->st->files[i].scratch = true;
	return r;
}

/* 1: done, *img is the new one; 0: it would not pay, or not fit, img is as before. */
static int reuse(struct reuse *u, struct ckpti_image *img)
{
	size_t nfiles = u->st->nfiles;
	int r;

	u->hasher = ckpti_hasher_new();
	u->new = malloc(PIECE);
	u->old = malloc(PIECE);
	if (!u->hasher || !u->new || !u->old)
		return oom(u);
	r = split_all(u, img);
	if (r < 0 || !worthwhile(u))
		return r;
	r = apply(u);
	if (r == -ENOSPC || r == -EDQUOT) {
		/* What stands alone is there already: that is no failure. */
		if (u->err)
			*u->err = (struct ckpti_err){0};
		r = 0;
		for (size_t i = nfiles; r == 0 && i < u->st->nfiles; i++) {
			u->st->files[i].scratch = true;
			r = ckpti_store_datafile_done(u->st, u->st->files[i].id, 0, u->err);
		}
		return r;
	}
	if (r < 0)
		return r;
	ckpti_image_free(img);
	*img = u->out;
	ckpti_image_init(&u->out);
	return 1;
}

int ckpti_store_reuse(struct ckpti_store *st, struct ckpti_image *img, ckpti_progress_f progress,
		      void *arg, struct ckpti_reused *ret, struct ckpti_err *err)
{
	struct reuse u = {.st = st, .progress = progress, .arg = arg, .err = err};
	int r;

	*ret = (struct ckpti_reused){0};
	r = ckpti_base_open(st, &u.base);
	if (r == 1)
		r = reuse(&u, img);
	if (r == 1)
		*ret = (struct ckpti_reused){.stored = u.stored, .reused = u.reused};
	ckpti_base_close(&u.base);
	ckpti_image_free(&u.out);
	ckpti_hasher_free(u.hasher, NULL);
	free(u.new);
	free(u.old);
	free(u.list);
	return r == 0 ? ckpti_store_hash(st, img, progress, arg, err) : r < 0 ? r : 0;
}
