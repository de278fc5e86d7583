/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The image format: what is written comes back, and whatever is wrong is refused.  The hashes are
 * made right again after each change, so that it is the check in question that must find it.
 */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "image_sample.h"

#define AT(type, field) offsetof(struct type, field)

/* ---- tools -------------------------------------------------------------------------------- */

/* Start of the payload of the nth record of a type, NULL when there is none. */
static uint8_t *payload(uint8_t *buf, size_t len, uint32_t type, unsigned nth,
			struct ckpti_rec *ret)
{
	size_t at = sizeof(struct ckpti_header);

	while (at < len) {
		memcpy(ret, buf + at, sizeof(*ret));
		at += sizeof(*ret);
		if (ret->type == type && nth-- == 0)
			return buf + at;
		at += ret->total;
	}
	return NULL;
}

static void rehash(uint8_t *buf, size_t len)
{
	struct ckpti_header *h = (struct ckpti_header *)buf;

	h->body_hash = ckpti_hash64(buf + sizeof(*h), len - sizeof(*h));
	h->header_hash = 0;
	h->header_hash = ckpti_hash64(buf, sizeof(*h));
}

/* Parse a heap copy of exactly len bytes, so that a sanitizer sees any read behind the end. */
static int parse_copy(const uint8_t *buf, size_t len, struct ckpti_err *err)
{
	uint8_t *copy = malloc(len ? len : 1);
	struct ckpti_image img;
	int r;

	assert_non_null(copy);
	memcpy(copy, buf, len);
	ckpti_image_init(&img);
	memset(err, 0, sizeof(*err));
	r = ckpti_image_parse(&img, copy, len, err);
	if (r == 0)
		ckpti_image_free(&img);
	else
		free(copy);
	return r;
}

/* Each refusal carries one line. */
static void expect(const uint8_t *buf, size_t len, int want)
{
	struct ckpti_err err;
	int r = parse_copy(buf, len, &err);

	if (r != want)
		print_error("got %d (%s), want %d\n", r, err.text, want);
	assert_int_equal(r, want);
	if (want < 0) {
		assert_int_equal(err.code, want);
		assert_true(err.text[0] != '\0');
		assert_null(strchr(err.text, '\n'));
	}
}

/* ---- round trip --------------------------------------------------------------------------- */

static void test_image_built_is_accepted(void **state)
{
	struct ckpti_image img;

	(void)state;
	sample_build(&img);
	expect(img.buf, img.len, 0);
	ckpti_image_free(&img);
}

static void check_contents(const struct ckpti_image *img)
{
	struct ckpti_r_proc p;
	struct ckpti_e_extent e;
	struct ckpti_view v;
	size_t pos = 0, n = 0;

	assert_int_equal(ckpti_image_header(img)->generation, 7);
	assert_int_equal(ckpti_image_header(img)->uid, 1000);
	while (ckpti_image_next(img, &pos, &v))
		n++;
	assert_int_equal(n, ckpti_image_header(img)->nrecords);

	assert_int_equal(ckpti_image_find(img, CKPTI_R_PROC, 42, &v), 1);
	CKPTI_FIXED(&v, &p);
	assert_int_equal(p.pid, 42);
	assert_int_equal(p.ppid, 41);
	assert_int_equal(p.umask, 022);
	assert_int_equal(p.agent_block, 0x5000);
	assert_string_equal(ckpti_view_str(&v, 0), "worker");
	assert_string_equal(ckpti_view_str(&v, 4), "worker -v in.dat");
	assert_string_equal(ckpti_view_str(&v, 5), "");

	assert_int_equal(ckpti_image_find(img, CKPTI_R_GROUPS, 41, &v), 1);
	assert_int_equal(v.count, 3);
	assert_int_equal(((const uint32_t *)v.array)[2], 102);
	assert_int_equal(ckpti_image_find(img, CKPTI_R_OBJ_PIPE, 5, &v), 1);
	assert_memory_equal(v.array, "abc", 3);
	assert_int_equal(ckpti_image_first(img, CKPTI_R_EXTENTS, &v), 1);
	CKPTI_ELEM(&v, 0, &e);
	assert_int_equal(e.off, 8192);
	assert_int_equal(ckpti_image_find(img, CKPTI_R_PROC, 43, &v), 0);
	assert_int_equal(ckpti_image_first(img, 0x7777, &v), 0);
}

static void test_image_contents_come_back(void **state)
{
	struct ckpti_image img;

	(void)state;
	sample_build(&img);
	check_contents(&img);
	ckpti_image_free(&img);
	ckpti_image_free(&img);
}

/* A file of the first release: readable for ever. */
static void test_image_golden_v1_is_readable(void **state)
{
	struct ckpti_err err = {0};
	struct ckpti_image img;
	uint8_t *buf;
	long len;
	FILE *f;

	(void)state;
	f = fopen(CKPT_TEST_DATA "/image-v1.ckpt", "rbe");
	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	len = ftell(f);
	assert_true(len > 0);
	rewind(f);
	buf = malloc((size_t)len);
	assert_non_null(buf);
	assert_int_equal(fread(buf, 1, (size_t)len, f), (size_t)len);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(ckpti_image_parse(&img, buf, (size_t)len, &err), 0);
	check_contents(&img);
	/* By hand from docs/format: the start of SET and of the first thread. */
	assert_memory_equal(buf, "CKPTIMG\0\1\0\0\0\x70\0\0\0", 16);
	assert_memory_equal(buf + 112, "\1\0\0\0\x70\0\0\0", 8);
	assert_memory_equal(buf + 144, "\x88\x77\x66\x55\x44\x33\x22\x11\7", 9);
	ckpti_image_free(&img);
}

/* Test vectors of the XXH3 specification (seed 0), not values that this code printed. */
static void test_image_hash_known_values(void **state)
{
	struct ckpti_hasher *h;
	uint64_t d[2];
	static const char text[] = "The quick brown fox jumps over the lazy dog";

	(void)state;
	assert_int_equal(ckpti_hash64("", 0), 0x2d06800538d394c2);
	h = ckpti_hasher_new();
	ckpti_hasher_free(h, d);
	assert_int_equal(d[0], 0x6001c324468d497f);
	assert_int_equal(d[1], 0x99aa06d3014798d8);
	assert_int_equal(ckpti_hash64(text, strlen(text)), 0xce7d19a5418fb365);
	h = ckpti_hasher_new();
	ckpti_hasher_update(h, text, 10);
	ckpti_hasher_update(h, text + 10, strlen(text) - 10);
	assert_int_equal(ckpti_hasher_free64(h), 0xce7d19a5418fb365);
	h = ckpti_hasher_new();
	ckpti_hasher_update(h, text, strlen(text));
	ckpti_hasher_free(h, d);
	assert_int_equal(d[1], 0xddd650205ca3e7fa);
	assert_int_equal(d[0], 0x24a1cc2e3a8a7651);
}

static void test_image_short_parts_are_zero_extended(void **state)
{
	struct {
		uint32_t id;
		uint32_t old;
		uint64_t added_later;
	} now;
	uint32_t fixed[2] = {5, 6}, elems[4] = {1, 2, 3, 4};
	struct ckpti_image img;
	struct ckpti_view v;

	(void)state;
	ckpti_image_init(&img);
	assert_int_equal(ckpti_image_add(&img, CKPTI_R_CONTENT, fixed, sizeof(fixed), NULL, 0,
					 elems, 8, 2),
			 0);
	assert_int_equal(ckpti_image_first(&img, CKPTI_R_CONTENT, &v), 1);
	memset(&now, 0xff, sizeof(now));
	CKPTI_FIXED(&v, &now);
	assert_int_equal(now.old, 6);
	assert_int_equal(now.added_later, 0);
	memset(&now, 0xff, sizeof(now));
	CKPTI_ELEM(&v, 1, &now);
	assert_int_equal(now.id, 3);
	assert_int_equal(now.added_later, 0);
	CKPTI_ELEM(&v, 2, &now); /* behind the end */
	assert_int_equal(now.id, 0);
	ckpti_image_free(&img);
}

static void test_image_longer_parts_are_accepted(void **state)
{
	uint8_t fixed[64] = {9, 0, 0, 0, 0, 0, 0, 0, 16};
	struct ckpti_header h = {.generation = 1, .page_size = 4096};
	struct ckpti_r_content c;
	struct ckpti_image img;
	struct ckpti_view v;

	(void)state;
	ckpti_image_init(&img);
	sample_fill(&img, 1, NULL, NULL, 1);
	assert_int_equal(ckpti_image_add(&img, CKPTI_R_CONTENT, fixed, sizeof(fixed), NULL, 0, NULL,
					 0, 0),
			 0);
	ckpti_image_seal(&img, &h);
	expect(img.buf, img.len, 0);
	assert_int_equal(ckpti_image_find(&img, CKPTI_R_CONTENT, 9, &v), 1);
	CKPTI_FIXED(&v, &c);
	assert_int_equal(c.size, 16);
	ckpti_image_free(&img);
}

static void test_image_unknown_records(void **state)
{
	struct ckpti_header h = {.generation = 1, .page_size = 4096};
	struct ckpti_image img;
	struct ckpti_view v;
	size_t pos = 0;
	uint32_t x = 1;

	(void)state;
	ckpti_image_init(&img);
	sample_fill(&img, 1, NULL, NULL, 1);
	assert_int_equal(ckpti_image_add(&img, CKPTI_R_OPTIONAL | 77, &x, 4, NULL, 0, NULL, 0, 0),
			 0);
	ckpti_image_seal(&img, &h);
	expect(img.buf, img.len, 0);
	while (ckpti_image_next(&img, &pos, &v))
		assert_false(v.type & CKPTI_R_OPTIONAL);
	assert_int_equal(ckpti_image_add(&img, 77, &x, 4, NULL, 0, NULL, 0, 0), 0);
	ckpti_image_seal(&img, &h);
	expect(img.buf, img.len, -EBADMSG);
	ckpti_image_free(&img);
}

/* ---- damage ------------------------------------------------------------------------------- */

static void test_image_every_truncation_is_refused(void **state)
{
	struct ckpti_image img;
	size_t len;

	(void)state;
	sample_build(&img);
	for (len = 0; len < img.len; len++)
		expect(img.buf, len, -EBADMSG);
	/* The same with a header that agrees: only the records can tell. */
	for (len = sizeof(struct ckpti_header); len < img.len; len += 8) {
		((struct ckpti_header *)img.buf)->total_size = len;
		rehash(img.buf, len);
		expect(img.buf, len, -EBADMSG);
	}
	ckpti_image_free(&img);
}

static void test_image_every_flipped_bit_is_refused(void **state)
{
	struct ckpti_image img;
	size_t bit;

	(void)state;
	sample_build(&img);
	for (bit = 0; bit < img.len * 8; bit += bit < 112 * 8 ? 1 : 13) {
		img.buf[bit / 8] ^= (uint8_t)(1U << (bit % 8));
		expect(img.buf, img.len, -EBADMSG);
		img.buf[bit / 8] ^= (uint8_t)(1U << (bit % 8));
	}
	ckpti_image_free(&img);
}

/* Changes that carry right hashes: whatever the parser says, it must not read or write astray, and
 * an accepted image must be safe to walk through. */
static void test_image_mutations_with_right_hashes(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15;
	unsigned i, k, refused = 0;
	struct ckpti_image img, mut;
	struct ckpti_err err;
	struct ckpti_view v;
	uint8_t *copy;
	size_t pos, at;

	(void)state;
	sample_build(&img);
	for (i = 0; i < 2000; i++) {
		copy = malloc(img.len);
		assert_non_null(copy);
		memcpy(copy, img.buf, img.len);
		for (k = 0; k <= i % 3; k++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			at = sizeof(struct ckpti_header) +
			     (size_t)(seed >> 33) % (img.len - sizeof(struct ckpti_header));
			copy[at] = (uint8_t)(i % 2 ? seed >> 25 : 0xff);
		}
		rehash(copy, img.len);
		memset(&err, 0, sizeof(err));
		ckpti_image_init(&mut);
		if (ckpti_image_parse(&mut, copy, img.len, &err) < 0) {
			refused++;
			assert_int_equal(err.code, -EBADMSG);
			free(copy);
			continue;
		}
		for (pos = 0; ckpti_image_next(&mut, &pos, &v);)
			(void)ckpti_view_str(&v, 100);
		ckpti_image_free(&mut);
	}
	assert_true(refused > 200);
	ckpti_image_free(&img);
}

static void test_image_header_faults(void **state)
{
	struct ckpti_header *h;
	struct ckpti_image img;

	(void)state;
	sample_build(&img);
	h = (struct ckpti_header *)img.buf;
#define FAULT(field, value, want)                      \
	do {                                           \
		struct ckpti_header saved = *h;        \
		h->field = (value);                    \
		h->header_hash = 0;                    \
		h->header_hash = ckpti_hash64(h, 112); \
		expect(img.buf, img.len, (want));      \
		*h = saved;                            \
	} while (0)
	FAULT(version, 2, -EPROTONOSUPPORT);
	FAULT(version, 0, -EBADMSG);
	FAULT(encryption, 1, -EPROTONOSUPPORT);
	FAULT(flags, 1, -EPROTONOSUPPORT);
	FAULT(nrecords, 1, -EBADMSG);
	FAULT(total_size, img.len - 8, -EBADMSG);
	FAULT(page_size, 1000, -EBADMSG);
	FAULT(header_size, 8, -EBADMSG);
	FAULT(header_size, UINT32_MAX, -EBADMSG);
	expect(img.buf, img.len, 0);
	ckpti_image_free(&img);
}

/* One field of one record, set to a value that must be refused. */
struct fault {
	uint32_t type;
	unsigned nth;
	size_t at; /* in the payload */
	size_t size;
	uint64_t value;
	const char *text; /* part of the message */
};

/* Offsets of element i behind a pid_head. */
#define ELEM(type, i, field) (8 + (i) * sizeof(struct type) + AT(type, field))

/* Behind the fixed part and two paths. */
#define WATCHES (sizeof(struct ckpti_r_obj_inotify) + 16)

static const struct fault faults[] = {
	{CKPTI_R_SET, 0, AT(ckpti_r_set, nprocs), 4, 1000000000, "counts more"},
	{CKPTI_R_SET, 0, AT(ckpti_r_set, root_pid), 4, 43, "root process"},
	{CKPTI_R_MACHINE, 0, AT(ckpti_r_machine, page_size), 4, 65536, "page size"},
	{CKPTI_R_MACHINE, 0, AT(ckpti_r_machine, cpu_words), 4, 17, "features"},
	{CKPTI_R_DATAFILE, 0, AT(ckpti_r_datafile, id), 4, 2, "data file 1"},
	{CKPTI_R_DATAFILE, 0, AT(ckpti_r_datafile, size), 8, 8192, "outside data file"},
	{CKPTI_R_DATAFILE, 0, AT(ckpti_r_datafile, flags), 4, 1, "flags"},
	{CKPTI_R_DATAFILE, 0, sizeof(struct ckpti_r_datafile), 1, '/', "name"},
	{CKPTI_R_MAPFILE, 0, AT(ckpti_r_mapfile, id), 4, 9, "missing"},
	{CKPTI_R_MAPFILE, 0, 64 + 12, 1, '.', "copy"},
	{CKPTI_R_SHM, 0, AT(ckpti_r_shm, id), 4, 9, "missing"},
	{CKPTI_R_SHM, 0, AT(ckpti_r_shm, kind), 4, 9, "kind"},
	{CKPTI_R_SHM, 0, AT(ckpti_r_shm, size), 8, UINT64_MAX, "size"},
	{CKPTI_R_SHM, 0, AT(ckpti_r_shm, size), 8, 0, "outside its owner"},
	{CKPTI_R_EXTENTS, 0, AT(ckpti_r_extents, owner_kind), 4, 4, "kind of owner"},
	{CKPTI_R_EXTENTS, 0, AT(ckpti_r_extents, owner), 4, 2, "owner 2"},
	{CKPTI_R_EXTENTS, 0, ELEM(ckpti_e_extent, 0, off), 8, 8191, "outside data file"},
	{CKPTI_R_EXTENTS, 0, ELEM(ckpti_e_extent, 0, off), 8, UINT64_MAX - 4095, "outside data"},
	{CKPTI_R_EXTENTS, 0, ELEM(ckpti_e_extent, 0, len), 8, UINT64_MAX, "outside data file"},
	{CKPTI_R_EXTENTS, 0, ELEM(ckpti_e_extent, 0, len), 8, 0, "outside data file"},
	{CKPTI_R_EXTENTS, 0, ELEM(ckpti_e_extent, 0, addr), 8, 4096, "outside its owner"},
	{CKPTI_R_EXTENTS, 0, ELEM(ckpti_e_extent, 0, addr), 8, UINT64_MAX - 4095, "odd address"},
	{CKPTI_R_EXTENTS, 0, ELEM(ckpti_e_extent, 0, datafile), 4, 0, "data file 0"},
	{CKPTI_R_EXTENTS, 0, ELEM(ckpti_e_extent, 0, flags), 4, 1, "flags"},
	{CKPTI_R_EXTENTS, 1, AT(ckpti_r_extents, owner), 4, 9, "owner 9"},
	{CKPTI_R_EXTENTS, 2, AT(ckpti_r_extents, owner), 4, 43, "owner 43"},
	{CKPTI_R_EXTENTS, 2, ELEM(ckpti_e_extent, 0, addr), 8, 0x403000, "outside its owner"},
	{CKPTI_R_EXTENTS, 2, ELEM(ckpti_e_extent, 0, len), 8, 100, "outside its owner"},
	{CKPTI_R_PROC, 0, AT(ckpti_r_proc, pid), 4, 42, "two processes"},
	{CKPTI_R_PROC, 0, AT(ckpti_r_proc, pid), 4, 0, "process id"},
	{CKPTI_R_PROC, 0, AT(ckpti_r_proc, ppid), 4, 42, "parent"},
	{CKPTI_R_PROC, 1, AT(ckpti_r_proc, ppid), 4, 40, "parent"},
	{CKPTI_R_PROC, 1, AT(ckpti_r_proc, state), 4, 2, "state"},
	{CKPTI_R_PROC, 1, AT(ckpti_r_proc, leader_tid), 4, 41, "leading thread"},
	{CKPTI_R_PROC, 1, AT(ckpti_r_proc, exe_mapfile), 4, 2, "executable"},
	{CKPTI_R_MM, 1, AT(ckpti_r_mm, pid), 4, 41, "second one"},
	{CKPTI_R_MM, 1, AT(ckpti_r_mm, pid), 4, 99, "process 99"},
	{CKPTI_R_VMAS, 0, ELEM(ckpti_e_vma, 1, start), 8, 0x401000, "out of order"},
	{CKPTI_R_VMAS, 0, ELEM(ckpti_e_vma, 1, end), 8, 0x402000, "out of order"},
	{CKPTI_R_VMAS, 0, ELEM(ckpti_e_vma, 1, end), 8, 0x402010, "out of order"},
	{CKPTI_R_VMAS, 0, ELEM(ckpti_e_vma, 2, end), 8, UINT64_MAX - 4095, "out of order"},
	{CKPTI_R_VMAS, 0, ELEM(ckpti_e_vma, 0, kind), 4, 7, "kind"},
	{CKPTI_R_VMAS, 0, ELEM(ckpti_e_vma, 0, obj), 4, 7, "object 7"},
	{CKPTI_R_VMAS, 0, ELEM(ckpti_e_vma, 2, obj), 4, 7, "object 7"},
	{CKPTI_R_GUARDS, 0, ELEM(ckpti_e_range, 0, end), 8, 0x402000, "range"},
	{CKPTI_R_THREADS, 1, ELEM(ckpti_e_thread, 0, tid), 4, 41, "two threads"},
	{CKPTI_R_THREADS, 1, ELEM(ckpti_e_thread, 0, tid), 4, 0, "thread id"},
	{CKPTI_R_PENDING, 0, AT(ckpti_pid_head, tid), 4, 42, "thread 42"},
	{CKPTI_R_FDS, 0, ELEM(ckpti_e_fd, 1, fd), 4, 0, "twice"},
	{CKPTI_R_FDS, 0, ELEM(ckpti_e_fd, 1, fd), 4, 1 << 20, "descriptor"},
	{CKPTI_R_FDS, 0, ELEM(ckpti_e_fd, 1, fd), 4, UINT32_MAX, "descriptor -1"},
	{CKPTI_R_FDS, 0, ELEM(ckpti_e_fd, 1, obj), 4, 16, "open file 16"},
	{CKPTI_R_LOCKS, 0, AT(ckpti_e_lock, kind), 4, 4, "kind of lock"},
	{CKPTI_R_LOCKS, 0, AT(ckpti_e_lock, obj), 4, 0, "open file 0"},
	{CKPTI_R_LOCKS, 0, AT(ckpti_e_lock, pid), 4, 1, "process 1"},
	{CKPTI_R_OBJ_FILE, 0, AT(ckpti_r_obj_file, content), 8, 1ULL << 32 | 1, "content"},
	{CKPTI_R_OBJ_FILE, 0, AT(ckpti_obj, id), 4, 2, "two open files"},
	{CKPTI_R_OBJ_DIR, 0, AT(ckpti_obj, id), 4, 0, "number 0"},
	{CKPTI_R_OBJ_STDIO, 0, AT(ckpti_r_obj_stdio, fd), 4, 3, "descriptor 3"},
	{CKPTI_R_OBJ_PIPE, 0, AT(ckpti_r_obj_pipe, nbytes), 8, 4, "queued"},
	{CKPTI_R_OBJ_EPOLL, 0, 40 + AT(ckpti_e_epoll, obj), 4, 16, "open file 16"},
	{CKPTI_R_OBJ_EPOLL, 0, 40 + AT(ckpti_e_epoll, pid), 4, 1, "process 1"},
	{CKPTI_R_OBJ_INOTIFY, 0, WATCHES + AT(ckpti_e_watch, wd), 4, 0, "watch 0 behind"},
	{CKPTI_R_OBJ_INOTIFY, 0, WATCHES + AT(ckpti_e_watch, wd), 4, 7, "watch 7 behind watch 7"},
	{CKPTI_R_OBJ_MEMFD, 0, AT(ckpti_r_obj_memfd, shm), 4, 2, "shared memory 2"},
	{CKPTI_R_OBJ_UNIX, 0, AT(ckpti_r_obj_unix, peer), 4, 14, "peer 14"},
	{CKPTI_R_OBJ_UNIX, 0, AT(ckpti_r_obj_unix, nbytes), 8, UINT64_MAX, "queued"},
	{CKPTI_R_OBJ_UNIX, 0, AT(ckpti_r_obj_unix, nmsgs), 4, 1, "queued"},
	{CKPTI_R_OBJ_TCP, 0, AT(ckpti_r_obj_tcp, peer), 4, 13, "peer 13"},
	{CKPTI_R_OBJ_TCP, 1, AT(ckpti_r_obj_tcp, nbytes), 8, 2, "queued"},
	{CKPTI_R_OBJ_UDP, 0, AT(ckpti_r_obj_udp, nbytes), 8, 2, "queued"},
	{CKPTI_R_OBJ_UDP, 0, AT(ckpti_r_obj_udp, nmsgs), 4, 1, "queued"},
	{CKPTI_R_OBJ_UDP, 0, AT(ckpti_r_obj_udp, nopts), 4, UINT32_MAX, "queued"},
	{CKPTI_R_OBJ_UDP, 0, AT(ckpti_r_obj_udp, ngroups), 4, 1, "queued"},
	{CKPTI_R_OBJ_NETLINK, 0, AT(ckpti_r_obj_netlink, nopts), 4, 1, "queued"},
	{CKPTI_R_OBJ_NETLINK, 0, AT(ckpti_r_obj_netlink, ngroups), 4, 2, "queued"},
	{CKPTI_R_OBJ_NETLINK, 0, AT(ckpti_r_obj_netlink, nfilter), 4, UINT32_MAX, "queued"},
	{CKPTI_R_OBJ_PIDFD, 0, AT(ckpti_r_obj_pidfd, pid), 4, 1, "process 1"},
	{CKPTI_R_OBJ_PROC, 0, AT(ckpti_r_obj_proc, pid), 4, 0, "process 0"},
	{CKPTI_R_OBJ_PTM, 0, AT(ckpti_r_obj_ptm, nout), 4, 4, "queues do not add up"},
	{CKPTI_R_OBJ_PTM, 0, sizeof(struct ckpti_r_obj_ptm) + 16, 4, 1, "lines do not add up"},
	{CKPTI_R_OBJ_PTS, 0, AT(ckpti_r_obj_pts, master), 4, 14, "peer 14"},
	{CKPTI_R_PROC, 0, AT(ckpti_r_proc, tty), 4, 14, "the terminal of process"},
};

static void test_image_faulty_fields_are_refused(void **state)
{
	struct ckpti_image img;
	struct ckpti_rec rec;
	struct ckpti_err err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
		const struct fault *f = &faults[i];
		uint8_t *p;

		sample_build(&img);
		p = payload(img.buf, img.len, f->type, f->nth, &rec);
		assert_non_null(p);
		memcpy(p + f->at, &f->value, f->size);
		rehash(img.buf, img.len);
		if (parse_copy(img.buf, img.len, &err) == 0)
			print_error("fault %zu, about \"%s\", is accepted\n", i, f->text);
		expect(img.buf, img.len, -EBADMSG);
		if (!strstr(err.text, f->text))
			print_error("fault %zu: \"%s\" is not about \"%s\"\n", i, err.text,
				    f->text);
		assert_non_null(strstr(err.text, f->text));
		ckpti_image_free(&img);
	}
}

/* Fields of a record head: sizes that lie, above all those whose sum or product wraps around. */
static void test_image_faulty_heads_are_refused(void **state)
{
	static const struct {
		size_t at, size;
		uint64_t value;
	} heads[] = {
		{AT(ckpti_rec, type), 4, 0},
		{AT(ckpti_rec, fixed_size), 4, 4},
		{AT(ckpti_rec, fixed_size), 4, UINT32_MAX},
		{AT(ckpti_rec, str_size), 4, 8},
		{AT(ckpti_rec, str_size), 4, UINT32_MAX},
		{AT(ckpti_rec, elem_size), 4, 0},
		{AT(ckpti_rec, elem_size), 4, UINT32_MAX},
		{AT(ckpti_rec, count), 8, 1ULL << 60},
		{AT(ckpti_rec, count), 8, UINT64_MAX},
		{AT(ckpti_rec, count), 8, 0},
		{AT(ckpti_rec, total), 8, 0},
		{AT(ckpti_rec, total), 8, UINT64_MAX},
		{AT(ckpti_rec, total), 8, UINT64_MAX - 7},
	};
	struct ckpti_image img;
	struct ckpti_rec rec;
	uint8_t *p;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
		sample_build(&img);
		p = payload(img.buf, img.len, CKPTI_R_VMAS, 1, &rec);
		assert_non_null(p);
		memcpy(p - sizeof(rec) + heads[i].at, &heads[i].value, heads[i].size);
		rehash(img.buf, img.len);
		expect(img.buf, img.len, -EBADMSG);
		ckpti_image_free(&img);
	}
}

/* A string without an end, a missing string, a missing record. */
static void test_image_incomplete_records_are_refused(void **state)
{
	static const uint32_t needed[] = {CKPTI_R_SET,  CKPTI_R_MACHINE, CKPTI_R_MM,
					  CKPTI_R_VMAS, CKPTI_R_THREADS, CKPTI_R_SIGACTIONS};
	struct ckpti_image img;
	struct ckpti_rec rec;
	uint8_t *p;
	size_t i;

	(void)state;
	sample_build(&img);
	p = payload(img.buf, img.len, CKPTI_R_DATAFILE, 0, &rec);
	assert_non_null(p);
	p[16 + 13] = 'x';
	rehash(img.buf, img.len);
	expect(img.buf, img.len, -EBADMSG);
	ckpti_image_free(&img);

	for (i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		sample_build(&img);
		p = payload(img.buf, img.len, needed[i], 0, &rec);
		assert_non_null(p);
		/* Turned into a record that readers pass over. */
		*(uint32_t *)(void *)(p - sizeof(rec)) = CKPTI_R_OPTIONAL | 1000;
		rehash(img.buf, img.len);
		expect(img.buf, img.len, -EBADMSG);
		ckpti_image_free(&img);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_image_built_is_accepted),
		cmocka_unit_test(test_image_contents_come_back),
		cmocka_unit_test(test_image_golden_v1_is_readable),
		cmocka_unit_test(test_image_hash_known_values),
		cmocka_unit_test(test_image_short_parts_are_zero_extended),
		cmocka_unit_test(test_image_longer_parts_are_accepted),
		cmocka_unit_test(test_image_unknown_records),
		cmocka_unit_test(test_image_every_truncation_is_refused),
		cmocka_unit_test(test_image_every_flipped_bit_is_refused),
		cmocka_unit_test(test_image_mutations_with_right_hashes),
		cmocka_unit_test(test_image_header_faults),
		cmocka_unit_test(test_image_faulty_fields_are_refused),
		cmocka_unit_test(test_image_faulty_heads_are_refused),
		cmocka_unit_test(test_image_incomplete_records_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL) ? 1 : 0;
}
