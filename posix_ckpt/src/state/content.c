/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Content of files that is kept in the image: page-aligned runs of the set's content file, described by
 * extents.  Holes are left out and come back as holes.  While saving, the file is read through a
 * description of its own, because looking for holes moves the offset and the application's offset
 * must stay.  While restoring, every run is checked against its hash before it is used.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "state/state_private.h"

static uint64_t page_up(uint64_t n)
{
	return (n + CKPTI_PAGE - 1) & ~(uint64_t)(CKPTI_PAGE - 1);
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* ---- saving ------------------------------------------------------------------------------- */

struct extent_list {
	struct ckpti_e_extent *e;
	size_t n, cap;
};

/* Open fd's file for reading without a trace: no access time where that is allowed. */
static int open_source(int fd, bool *ret_own)
{
	int r = ckpti_fd_reopen(fd, O_RDONLY | O_NOATIME);

	if (r < 0)
		r = ckpti_fd_reopen(fd, O_RDONLY);
	*ret_own = r >= 0;
	if (r >= 0)
		return r;
	/* Opened before the permissions changed: what the application may read we may, too. */
	return ckpti_oflags_read((uint32_t)fcntl(fd, F_GETFL)) ? fd : r;
}

/* The next run of data at or behind *start, in whole pages; 0 when there is none. */
static int next_run(int fd, bool own, uint64_t size, uint64_t *start, uint64_t *ret_end)
{
	off_t data, hole;

	if (*start >= size)
		return 0;
	*ret_end = size;
	if (!own)
		return 1;
	data = lseek(fd, (off_t)*start, SEEK_DATA);
	if (data < 0)
		return errno != ENXIO; /* a file system that does not know: all is data */
	hole = lseek(fd, data, SEEK_HOLE);
	if ((uint64_t)data >= size)
		return 0;
	if ((uint64_t)data > *start)
		*start = (uint64_t)data & ~(uint64_t)(CKPTI_PAGE - 1);
	if (hole > 0)
		*ret_end = min_u64(page_up((uint64_t)hole), size);
	return 1;
}

static int list_add(struct extent_list *l, const struct ckpti_e_extent *e)
{
	if (l->n == l->cap) {
		size_t cap = l->cap ? 2 * l->cap : 16;
		struct ckpti_e_extent *p = realloc(l->e, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		l->e = p;
		l->cap = cap;
	}
	l->e[l->n++] = *e;
	return 0;
}

int ckpti_extents_save(struct ckpti_capture *cap, int fd, uint64_t size, uint32_t owner_kind,
		       uint32_t owner, struct ckpti_err *err)
{
	const struct ckpti_r_extents rec = {.owner_kind = owner_kind, .owner = owner};
	struct extent_list list = {0};
	uint64_t start = 0, end = 0;
	bool own = false;
	int src, r = 0;

	src = open_source(fd, &own);
	if (src < 0)
		return ckpti_err(err, src, "cannot read the content: %s", strerror(-src));
	for (; next_run(src, own, size, &start, &end); start = end) {
		const struct ckpti_e_extent e = {
			.addr = start,
			.len = end - start,
			.off = cap->content_end,
			.datafile = cap->content_file,
		};

		r = ckpti_fd_copy(src, start, cap->content_fd, e.off, e.len);
		if (r < 0) {
			(void)ckpti_err(err, r, "cannot save %" PRIu64 " bytes of content: %s",
					e.len, strerror(-r));
			goto out;
		}
		cap->content_end = page_up(e.off + e.len);
		r = list_add(&list, &e);
		if (r < 0)
			goto out;
	}
	if (list.n)
		r = ckpti_image_add(cap->img, CKPTI_R_EXTENTS, &rec, sizeof(rec), NULL, 0, list.e,
				    sizeof(list.e[0]), list.n);
out:
	if (own)
		(void)close(src);
	free(list.e);
	return r;
}

int ckpti_content_save(struct ckpti_capture *cap, int fd, uint64_t size, uint32_t *ret_id,
		       struct ckpti_err *err)
{
	struct ckpti_r_content rec = {.id = cap->next_content + 1, .size = size};
	int r;

	r = ckpti_extents_save(cap, fd, size, CKPTI_OWN_CONTENT, rec.id, err);
	if (r == 0)
		r = ckpti_image_add(cap->img, CKPTI_R_CONTENT, &rec, sizeof(rec), NULL, 0, NULL, 0,
				    0);
	if (r < 0)
		return ckpti_err(err, r, "cannot save content: %s", strerror(-r));
	cap->next_content = rec.id;
	*ret_id = rec.id;
	return 0;
}

/* ---- restoring ---------------------------------------------------------------------------- */

/* A file that saved content is written to or compared with. */
struct target {
	int fd;
	bool different;
};

/* One piece of saved content, in order; data NULL stands for zeros. */
typedef int (*piece_f)(struct target *t, uint64_t addr, const void *data, uint64_t len);

static int open_datafile(struct ckpti_rebuild *rb, uint32_t id, struct ckpti_err *err)
{
	struct ckpti_view v;

	if (!ckpti_image_find(rb->img, CKPTI_R_DATAFILE, id, &v))
		return ckpti_err(err, -EBADMSG,
				 "saved content lies in a data file that is not listed");
	return ckpti_store_open_file(rb->store, ckpti_view_str(&v, 0), err);
}

static int walk_extent(struct ckpti_rebuild *rb, const struct ckpti_e_extent *e, piece_f fn,
		       struct target *t, struct ckpti_err *err)
{
	int file, r;
	void *p;

	file = open_datafile(rb, e->datafile, err);
	if (file < 0)
		return file;
	p = mmap(NULL, e->len, PROT_READ, MAP_PRIVATE, file, (off_t)e->off);
	(void)close(file);
	if (p == MAP_FAILED)
		return ckpti_err(err, -errno, "cannot map saved content: %s", strerror(errno));
	if (ckpti_hash64(p, e->len) != e->hash)
		r = ckpti_err(err, -EBADMSG,
			      "saved content is damaged: %" PRIu64 " bytes at offset %" PRIu64
			      " of data file %u",
			      e->len, e->off, e->datafile);
	else
		r = fn(t, e->addr, p, e->len);
	(void)munmap(p, e->len);
	return r;
}

static int walk_record(struct ckpti_rebuild *rb, const struct ckpti_view *v, uint64_t size,
		       uint64_t *pos, piece_f fn, struct target *t, struct ckpti_err *err)
{
	for (uint64_t i = 0; i < v->count; i++) {
		struct ckpti_e_extent e;
		int r;

		CKPTI_ELEM(v, i, &e);
		if (e.addr < *pos || e.len > size || e.addr > size - e.len)
			return ckpti_err(err, -EBADMSG, "saved content is out of order");
		if (e.addr > *pos) {
			r = fn(t, *pos, NULL, e.addr - *pos);
			if (r)
				return r;
		}
		r = walk_extent(rb, &e, fn, t, err);
		if (r)
			return r;
		*pos = e.addr + e.len;
	}
	return 0;
}

/* All pieces of a content, from its first byte to its last. */
static int walk(struct ckpti_rebuild *rb, const struct ckpti_r_content *c, piece_f fn,
		struct target *t, struct ckpti_err *err)
{
	struct ckpti_view v;
	uint64_t done = 0;
	size_t pos = 0;
	int r;

	while (ckpti_image_next(rb->img, &pos, &v)) {
		struct ckpti_r_extents x;

		if (v.type != CKPTI_R_EXTENTS)
			continue;
		CKPTI_FIXED(&v, &x);
		if (x.owner_kind != CKPTI_OWN_CONTENT || x.owner != c->id)
			continue;
		r = walk_record(rb, &v, c->size, &done, fn, t, err);
		if (r)
			return r;
	}
	return done < c->size ? fn(t, done, NULL, c->size - done) : 0;
}

static int find_content(struct ckpti_rebuild *rb, uint32_t id, struct ckpti_r_content *ret,
			struct ckpti_err *err)
{
	struct ckpti_view v;

	if (!ckpti_image_find(rb->img, CKPTI_R_CONTENT, id, &v))
		return ckpti_err(err, -EBADMSG, "the image has no content %u", id);
	CKPTI_FIXED(&v, ret);
	return 0;
}

static int write_piece(struct target *t, uint64_t addr, const void *data, uint64_t len)
{
	return data ? ckpti_store_write_at(t->fd, data, len, addr) : 0;
}

int ckpti_content_restore(struct ckpti_rebuild *rb, uint32_t id, int fd, struct ckpti_err *err)
{
	struct target t = {.fd = fd};
	struct ckpti_r_content c;
	int r;

	r = find_content(rb, id, &c, err);
	if (r < 0)
		return r;
	/* Emptied first, so that what is not written reads as zeros. */
	if (ftruncate(fd, 0) < 0 || ftruncate(fd, (off_t)c.size) < 0)
		r = -errno;
	else
		r = walk(rb, &c, write_piece, &t, err);
	if (r < 0)
		return ckpti_err(err, r, "cannot write %" PRIu64 " bytes of content: %s", c.size,
				 strerror(-r));
	return 0;
}

/* After the first difference the walk goes on for the hashes: damage must be found here, before
 * anybody overwrites a file that differs. */
static int compare_piece(struct target *t, uint64_t addr, const void *data, uint64_t len)
{
	static const char zeros[64 * 1024];
	char buf[sizeof(zeros)];

	for (uint64_t done = 0; done < len && !t->different;) {
		const char *want = data ? (const char *)data + done : zeros;
		ssize_t n =
			pread(t->fd, buf, min_u64(len - done, sizeof(buf)), (off_t)(addr + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		t->different = n == 0 || memcmp(buf, want, (size_t)n) != 0;
		done += (uint64_t)n;
	}
	return 0;
}

int ckpti_content_equal(struct ckpti_rebuild *rb, uint32_t id, int fd, struct ckpti_err *err)
{
	struct target t = {.fd = fd};
	struct ckpti_r_content c;
	struct stat st;
	int r;

	r = find_content(rb, id, &c, err);
	if (r < 0)
		return r;
	if (fstat(fd, &st) < 0)
		return ckpti_err(err, -errno, "cannot stat a file: %s", strerror(errno));
	t.different = (uint64_t)st.st_size < c.size;
	r = walk(rb, &c, compare_piece, &t, err);
	if (r < 0)
		return ckpti_err(err, r, "cannot compare a file with its saved content: %s",
				 strerror(-r));
	return !t.different;
}
