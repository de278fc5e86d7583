/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_pages.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "image_sample.h"

#define PAGE    4096U
#define FILE_ID 2 /* of the content and of its data file; 1 is the sample's */

static uint32_t next_value = 1;

void pages_init(struct pages *p, uint64_t size)
{
	memset(p, 0, sizeof(*p));
	p->size = size;
	for (unsigned i = 0; i < PAGES_MAX; i++)
		pages_change(p, i);
}

void pages_change(struct pages *p, unsigned i)
{
	p->value[i] = next_value++;
}

/* Most of a page is the same in all of them: only whole comparisons tell.  Pages of one value are equal. */
static void fill(const struct pages *p, uint8_t *buf)
{
	for (uint64_t at = 0; at < p->size; at++)
		buf[at] = (uint8_t)(at % PAGE % 253);
	for (unsigned i = 0; (uint64_t)i * PAGE < p->size; i++) {
		uint64_t at = (uint64_t)i * PAGE + p->value[i] % 1021 * 4;

		for (unsigned k = 0; k < 4 && at + k < p->size; k++)
			buf[at + k] = (uint8_t)(p->value[i] >> 8 * k);
	}
}

static int write_file(struct ckpti_store *st, uint32_t want_id, const void *buf, uint64_t size,
		      struct ckpti_err *err)
{
	uint32_t id = 0;
	ssize_t n;
	int fd, r = ckpti_store_datafile(st, size, &id, &fd, err);

	if (r < 0)
		return r;
	assert_int_equal(id, want_id);
	n = pwrite(fd, buf, size, 0);
	if (n < 0)
		return ckpti_err(err, -errno, "pwrite");
	if ((uint64_t)n < size)
		return ckpti_err(err, -ENOSPC, "short pwrite");
	return ckpti_store_datafile_done(st, id, size, err);
}

/* One extent behind the other, as they are in memory with a hole here and there. */
static void add_extents(struct ckpti_image *img, const struct pages *p)
{
	struct ckpti_r_extents x = {.owner_kind = CKPTI_OWN_CONTENT, .owner = FILE_ID};
	struct ckpti_r_content c = {.id = FILE_ID, .size = p->size};
	struct ckpti_e_extent e[3] = {0};
	uint64_t third = p->size / 3 / PAGE * PAGE;

	for (unsigned i = 0; i < 3; i++) {
		e[i].addr = e[i].off = i * third;
		e[i].len = i < 2 ? third : p->size - 2 * third;
		e[i].datafile = FILE_ID;
	}
	assert_int_equal(ckpti_image_add(img, CKPTI_R_CONTENT, &c, sizeof(c), NULL, 0, NULL, 0, 0),
			 0);
	assert_int_equal(ckpti_image_add(img, CKPTI_R_EXTENTS, &x, sizeof(x), NULL, 0, e,
					 sizeof(e[0]), 3),
			 0);
}

int pages_write(const char *dir, const struct pages *p, unsigned keep, struct ckpti_reused *ret,
		struct ckpti_err *err)
{
	struct ckpti_header h = {.page_size = PAGE, .uid = (uint32_t)geteuid()};
	const uint64_t hash[2] = {0, 0};
	struct ckpti_store *st = NULL;
	struct ckpti_image img;
	uint8_t *buf = calloc(1, p->size + SAMPLE_DATA_SIZE);
	int r;

	assert_non_null(buf);
	memset(err, 0, sizeof(*err));
	ckpti_image_init(&img);
	r = ckpti_store_open_write(dir, CKPTI_STORE_CREATE | CKPTI_STORE_FORCE, &st, err);
	if (r == 0)
		r = write_file(st, 1, buf, SAMPLE_DATA_SIZE, err);
	fill(p, buf);
	if (r == 0)
		r = write_file(st, FILE_ID, buf, p->size, err);
	if (r == 0) {
		sample_fill(&img, 0, "", hash, 0);
		add_extents(&img, p);
		r = ckpti_store_reuse(st, &img, NULL, NULL, ret, err);
	}
	if (r == 0)
		r = ckpti_store_commit(st, &img, &h, keep, err);
	ckpti_image_free(&img);
	ckpti_store_close(st);
	free(buf);
	return r;
}

/* Read the content as a restart does: extent by extent. */
static int read_back(struct ckpti_store *st, const struct ckpti_image *img, uint8_t *buf,
		     uint64_t size, struct ckpti_err *err)
{
	struct ckpti_r_extents x;
	struct ckpti_e_extent e;
	struct ckpti_view v, d;
	size_t pos = 0;
	int fd;

	while (ckpti_image_next(img, &pos, &v)) {
		if (v.type != CKPTI_R_EXTENTS)
			continue;
		CKPTI_FIXED(&v, &x);
		for (uint64_t i = 0;
		     x.owner_kind == CKPTI_OWN_CONTENT && x.owner == FILE_ID && i < v.count; i++) {
			CKPTI_ELEM(&v, i, &e);
			if (e.addr + e.len > size)
				return ckpti_err(err, -EILSEQ, "extent behind the end");
			assert_int_equal(ckpti_image_find(img, CKPTI_R_DATAFILE, e.datafile, &d),
					 1);
			fd = ckpti_store_open_file(st, ckpti_view_str(&d, 0), err);
			if (fd < 0)
				return fd;
			assert_int_equal(pread(fd, buf + e.addr, e.len, (off_t)e.off), e.len);
			(void)close(fd);
		}
	}
	return 0;
}

int pages_check(const char *dir, uint64_t gen, const struct pages *p, struct ckpti_err *err)
{
	uint8_t *want = calloc(1, p->size), *have = calloc(1, p->size);
	struct ckpti_store *st = NULL;
	struct ckpti_image img;
	struct ckpti_view v;
	int r;

	assert_true(want && have);
	memset(err, 0, sizeof(*err));
	ckpti_image_init(&img);
	r = ckpti_store_open_read(dir, &st, err);
	if (r == 0)
		r = ckpti_store_load(st, gen, &img, err);
	if (r == 0)
		r = ckpti_store_verify(st, &img, NULL, NULL, NULL, NULL, err);
	if (r == 0) {
		struct ckpti_r_content c;

		assert_int_equal(ckpti_image_find(&img, CKPTI_R_CONTENT, FILE_ID, &v), 1);
		CKPTI_FIXED(&v, &c);
		r = c.size == p->size ? read_back(st, &img, have, p->size, err)
				      : ckpti_err(err, -EILSEQ, "another size");
	}
	fill(p, want);
	if (r == 0 && memcmp(want, have, p->size) != 0)
		r = ckpti_err(err, -EILSEQ, "other content");
	ckpti_image_free(&img);
	ckpti_store_close(st);
	free(want);
	free(have);
	return r;
}
