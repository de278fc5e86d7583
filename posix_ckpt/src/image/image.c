/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Building an image record by record, and taking one apart again.
 *
 * The buffer holds what will be on disk: a header, then records, each a head and a payload of fixed
 * part, strings and array, every part padded to 8 bytes.  Everything therefore stays 8-byte aligned in
 * a buffer from malloc.  The functions that read rely on a buffer that was either built here or has
 * passed ckpti_image_parse(); they check nothing themselves.
 */
#include "image/image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "image/image_private.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format is little endian");
_Static_assert(sizeof(struct ckpti_header) == 112, "header of version 1");
_Static_assert(sizeof(struct ckpti_rec) == 32, "record head of version 1");

void ckpti_image_init(struct ckpti_image *img)
{
	memset(img, 0, sizeof(*img));
}

void ckpti_image_free(struct ckpti_image *img)
{
	free(img->buf);
	ckpti_image_init(img);
}

/* Room for `more` bytes; the first call makes the header. */
static int reserve(struct ckpti_image *img, size_t more)
{
	size_t need, cap;
	uint8_t *buf;

	if (!img->buf)
		more += sizeof(struct ckpti_header);
	if (__builtin_add_overflow(img->len, more, &need) || need > SIZE_MAX / 2)
		return -ENOMEM;
	if (need > img->cap) {
		cap = img->cap ? img->cap : 4096;
		while (cap < need)
			cap *= 2;
		buf = realloc(img->buf, cap);
		if (!buf)
			return -ENOMEM;
		if (!img->buf) {
			struct ckpti_header *h = (struct ckpti_header *)buf;

			memset(h, 0, sizeof(*h));
			h->header_size = sizeof(*h);
			img->len = sizeof(*h);
		}
		img->buf = buf;
		img->cap = cap;
	}
	return 0;
}

/* Append without padding; room is there. */
static void put(struct ckpti_image *img, const void *data, size_t len)
{
	if (len)
		memcpy(img->buf + img->len, data, len);
	img->len += len;
}

static void pad(struct ckpti_image *img)
{
	while (img->len % 8)
		img->buf[img->len++] = 0;
}

int ckpti_image_add(struct ckpti_image *img, uint32_t type, const void *fixed, size_t fixed_size,
		    const char *const *strs, size_t nstr, const void *array, size_t elem_size,
		    size_t count)
{
	struct ckpti_rec rec = {.type = type, .count = count};
	size_t str_size = 0, array_size, total, i;
	int r;

	for (i = 0; i < nstr; i++) {
		if (__builtin_add_overflow(str_size, strlen(strs[i] ? strs[i] : "") + 1, &str_size))
			return -ENOMEM;
	}
	if (fixed_size > UINT32_MAX || str_size > UINT32_MAX || elem_size > UINT32_MAX ||
	    __builtin_mul_overflow(elem_size, count, &array_size) || array_size > SIZE_MAX / 4)
		return -ENOMEM;
	rec.fixed_size = (uint32_t)fixed_size;
	rec.str_size = (uint32_t)str_size;
	rec.elem_size = (uint32_t)elem_size;
	total = ckpti_pad8(fixed_size) + ckpti_pad8(str_size) + ckpti_pad8(array_size);
	rec.total = total;

	r = reserve(img, sizeof(rec) + total);
	if (r < 0)
		return r;
	put(img, &rec, sizeof(rec));
	put(img, fixed, fixed_size);
	pad(img);
	for (i = 0; i < nstr; i++)
		put(img, strs[i] ? strs[i] : "", strlen(strs[i] ? strs[i] : "") + 1);
	pad(img);
	put(img, array, array_size);
	pad(img);
	img->nrecords++;
	return 0;
}

int ckpti_image_append(struct ckpti_image *img, const struct ckpti_view *v)
{
	const struct ckpti_rec *rec = (const struct ckpti_rec *)v->fixed - 1;
	int r = reserve(img, sizeof(*rec) + rec->total);

	if (r < 0)
		return r;
	put(img, rec, sizeof(*rec) + rec->total);
	img->nrecords++;
	return 0;
}

uint64_t ckpti_image_header_hash(const uint8_t *buf, size_t header_size)
{
	uint8_t copy[CKPTI_HEADER_MAX];

	memcpy(copy, buf, header_size);
	memset(copy + offsetof(struct ckpti_header, header_hash), 0, sizeof(uint64_t));
	return ckpti_hash64(copy, header_size);
}

void ckpti_image_seal(struct ckpti_image *img, const struct ckpti_header *hdr)
{
	struct ckpti_header h = {.version = CKPTI_VERSION, .header_size = sizeof(h)};

	if (!img->buf)
		return;
	memcpy(h.magic, CKPTI_MAGIC, sizeof(h.magic));
	h.total_size = img->len;
	h.nrecords = img->nrecords;
	h.generation = hdr->generation;
	h.ctime_ns = hdr->ctime_ns;
	h.page_size = hdr->page_size;
	h.uid = hdr->uid;
	h.body_hash = ckpti_hash64(img->buf + sizeof(h), img->len - sizeof(h));
	memcpy(img->buf, &h, sizeof(h));
	h.header_hash = ckpti_image_header_hash(img->buf, sizeof(h));
	memcpy(img->buf, &h, sizeof(h));
}

const struct ckpti_header *ckpti_image_header(const struct ckpti_image *img)
{
	return (const struct ckpti_header *)img->buf;
}

static uint32_t count_strings(const char *str, uint32_t size)
{
	uint32_t n = 0, i;

	for (i = 0; i < size; i++)
		n += str[i] == '\0';
	return n;
}

int ckpti_image_next(const struct ckpti_image *img, size_t *pos, struct ckpti_view *ret)
{
	const struct ckpti_rec *rec;
	const uint8_t *payload;
	size_t at;

	if (!img->buf)
		return 0;
	at = *pos ? *pos : ckpti_image_header(img)->header_size;
	while (at < img->len) {
		rec = (const struct ckpti_rec *)(img->buf + at);
		payload = img->buf + at + sizeof(*rec);
		at += sizeof(*rec) + rec->total;
		/* Written by a newer minor release, which says that we may pass over it. */
		if ((rec->type & CKPTI_R_OPTIONAL) && !ckpti_rec_info(rec->type))
			continue;
		ret->type = rec->type;
		ret->fixed_size = rec->fixed_size;
		ret->elem_size = rec->elem_size;
		ret->fixed = payload;
		ret->str = (const char *)payload + ckpti_pad8(rec->fixed_size);
		ret->nstr = count_strings(ret->str, rec->str_size);
		ret->array = ret->str + ckpti_pad8(rec->str_size);
		ret->count = rec->count;
		*pos = at;
		return 1;
	}
	*pos = at;
	return 0;
}

int ckpti_image_first(const struct ckpti_image *img, uint32_t type, struct ckpti_view *ret)
{
	struct ckpti_view v;
	size_t pos = 0;

	while (ckpti_image_next(img, &pos, &v)) {
		if (v.type == type) {
			*ret = v;
			return 1;
		}
	}
	return 0;
}

int ckpti_image_find(const struct ckpti_image *img, uint32_t type, uint32_t key,
		     struct ckpti_view *ret)
{
	struct ckpti_view v;
	size_t pos = 0;

	while (ckpti_image_next(img, &pos, &v)) {
		if (v.type == type && ckpti_view_key(&v) == key) {
			*ret = v;
			return 1;
		}
	}
	return 0;
}

uint32_t ckpti_view_key(const struct ckpti_view *v)
{
	uint32_t key;

	ckpti_view_fixed(v, &key, sizeof(key));
	return key;
}

void ckpti_view_fixed(const struct ckpti_view *v, void *ret, size_t size)
{
	size_t have = v->fixed_size < size ? v->fixed_size : size;

	memset(ret, 0, size);
	memcpy(ret, v->fixed, have);
}

void ckpti_view_elem(const struct ckpti_view *v, uint64_t i, void *ret, size_t size)
{
	size_t have = v->elem_size < size ? v->elem_size : size;

	memset(ret, 0, size);
	if (i < v->count)
		memcpy(ret, (const uint8_t *)v->array + i * v->elem_size, have);
}

const char *ckpti_view_str(const struct ckpti_view *v, unsigned n)
{
	const char *s = v->str;

	if (n >= v->nstr)
		return "";
	while (n--)
		s += strlen(s) + 1;
	return s;
}
