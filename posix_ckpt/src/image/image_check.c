/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Everything that must hold before an image may be used, checked once: the header and both hashes,
 * the bounds of every record against the buffer and against the table of types, and then (in
 * check_refs.c) that records agree with each other.
 *
 * The hashes find damage.  They do not find malice or a faulty writer, so nothing after them relies
 * on the content being what our writer would have made.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "image/image_private.h"

static int check_header(const uint8_t *buf, size_t len, struct ckpti_err *err)
{
	struct ckpti_header h;

	if (len < sizeof(h))
		return ckpti_err(err, -EBADMSG, "the image is cut off in its header (%zu bytes)",
				 len);
	memcpy(&h, buf, sizeof(h));
	if (memcmp(h.magic, CKPTI_MAGIC, sizeof(h.magic)) != 0)
		return ckpti_err(err, -EBADMSG, "not a checkpoint image: wrong magic number");
	if (h.header_size < sizeof(h) || h.header_size > CKPTI_HEADER_MAX || h.header_size % 8 ||
	    h.header_size > len)
		return ckpti_err(err, -EBADMSG, "the image header is damaged: size %" PRIu32,
				 h.header_size);
	/* Before the version is believed: a flipped bit must not pass for a newer release. */
	if (ckpti_image_header_hash(buf, h.header_size) != h.header_hash)
		return ckpti_err(err, -EBADMSG, "the image header is damaged: wrong hash");
	if (h.version == 0)
		return ckpti_err(err, -EBADMSG, "the image header is damaged: version 0");
	if (h.version > CKPTI_VERSION)
		return ckpti_err(err, -EPROTONOSUPPORT,
				 "the image has format version %" PRIu32
				 ", this release reads up to %d",
				 h.version, CKPTI_VERSION);
	if (h.total_size != len)
		return ckpti_err(err, -EBADMSG, "the image has %zu bytes and should have %" PRIu64,
				 len, h.total_size);
	if (h.encryption != 0)
		return ckpti_err(err, -EPROTONOSUPPORT,
				 "the image is encrypted (method %" PRIu32
				 "), which is not supported",
				 h.encryption);
	if (h.flags != 0)
		return ckpti_err(err, -EPROTONOSUPPORT,
				 "the image needs unknown features (%#" PRIx32 ")", h.flags);
	if (h.page_size < CKPTI_PAGE || h.page_size > 1U << 16 ||
	    (h.page_size & (h.page_size - 1)) != 0)
		return ckpti_err(err, -EBADMSG, "the image header names a page size of %" PRIu32,
				 h.page_size);
	if (ckpti_hash64(buf + h.header_size, len - h.header_size) != h.body_hash)
		return ckpti_err(err, -EBADMSG, "the image is damaged: wrong hash of the records");
	return 0;
}

/* One record head against the bytes that are left and against the table; what is wrong, or NULL. */
static const char *check_record(const struct ckpti_rec *rec, const uint8_t *payload, uint64_t avail)
{
	const struct ckpti_rec_info *info = ckpti_rec_info(rec->type);
	uint64_t array, front, nstr = 0, i;
	const uint8_t *str;

	if (rec->total > avail)
		return "it is longer than the image";
	if (__builtin_mul_overflow((uint64_t)rec->elem_size, rec->count, &array) ||
	    array > rec->total)
		return "its array is longer than the record";
	front = ckpti_pad8(rec->fixed_size) + ckpti_pad8(rec->str_size);
	if (front > rec->total || rec->total - front != ckpti_pad8(array))
		return "the sizes of its parts do not add up";
	if (rec->count > 0 && rec->elem_size == 0)
		return "its array has elements without a size";
	str = payload + ckpti_pad8(rec->fixed_size);
	if (rec->str_size > 0 && str[rec->str_size - 1] != '\0')
		return "a string has no end";

	if (!info)
		return rec->type & CKPTI_R_OPTIONAL ? NULL : "its type is unknown";
	for (i = 0; i < rec->str_size; i++)
		nstr += str[i] == '\0';
	if (rec->fixed_size < info->fixed_min)
		return "its fixed part is too short";
	if (nstr < info->nstr_min)
		return "a string is missing";
	if (rec->count > 0 && rec->elem_size < info->elem_min)
		return "its elements are too short";
	if (rec->count > 0 && info->elem_min == 0)
		return "it has an array where none belongs";
	if (rec->count > 0 && info->elem_min == 1 && rec->elem_size != 1)
		return "its array does not consist of bytes";
	return NULL;
}

static int check_bounds(const uint8_t *buf, size_t len, struct ckpti_err *err)
{
	const struct ckpti_header *h = (const struct ckpti_header *)buf;
	uint64_t n = 0, at = h->header_size;
	const char *what;
	struct ckpti_rec rec;

	while (at < len) {
		if (len - at < sizeof(rec))
			return ckpti_err(err, -EBADMSG,
					 "record %" PRIu64 " of the image is cut off", n);
		memcpy(&rec, buf + at, sizeof(rec));
		at += sizeof(rec);
		what = check_record(&rec, buf + at, len - at);
		if (what)
			return ckpti_err(err, -EBADMSG,
					 "record %" PRIu64 " of the image (%s, type %#" PRIx32
					 ") is invalid: %s",
					 n, ckpti_rec_name(rec.type), rec.type, what);
		at += rec.total;
		n++;
	}
	if (n != h->nrecords)
		return ckpti_err(err, -EBADMSG,
				 "the image has %" PRIu64 " records and should have %" PRIu64, n,
				 h->nrecords);
	return 0;
}

int ckpti_image_parse(struct ckpti_image *img, uint8_t *buf, size_t len, struct ckpti_err *err)
{
	struct ckpti_image tmp = {.buf = buf, .len = len, .cap = len};
	int r;

	r = check_header(buf, len, err);
	if (r < 0)
		return r;
	r = check_bounds(buf, len, err);
	if (r < 0)
		return r;
	tmp.nrecords = ((const struct ckpti_header *)buf)->nrecords;
	r = ckpti_image_check_refs(&tmp, err);
	if (r < 0)
		return r;
	*img = tmp;
	return 0;
}
