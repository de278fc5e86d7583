/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A generation's records in memory.  The writer appends records and seals; the reader parses a
 * buffer, which checks every bound, hash and reference once, so that users of a parsed image need no
 * checks of their own.  Pure functions over buffers: no system calls.
 */
#ifndef CKPT_IMAGE_IMAGE_H
#define CKPT_IMAGE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "image/format.h"
#include "util/err.h"

struct ckpti_image {
	uint8_t *buf; /* header and records, as on disk */
	size_t len;
	size_t cap;
	uint64_t nrecords;
};

/* One record, taken apart.  Pointers lead into the image and live as long as it. */
struct ckpti_view {
	uint32_t type;
	uint32_t fixed_size;
	uint32_t elem_size;
	uint32_t nstr;
	const void *fixed;
	const char *str;
	const void *array;
	uint64_t count;
};

void ckpti_image_init(struct ckpti_image *img);
void ckpti_image_free(struct ckpti_image *img);

/* Append one record.  strs may be NULL when nstr is 0, array NULL when count is 0.  0 or -ENOMEM. */
int ckpti_image_add(struct ckpti_image *img, uint32_t type, const void *fixed, size_t fixed_size,
		    const char *const *strs, size_t nstr, const void *array, size_t elem_size,
		    size_t count);
/* Append a record of another image as it is. */
int ckpti_image_append(struct ckpti_image *img, const struct ckpti_view *v);

/* Complete the header (sizes, hashes); hdr gives generation, ctime_ns, page_size, uid. */
void ckpti_image_seal(struct ckpti_image *img, const struct ckpti_header *hdr);

/* Take over buf (malloc'ed) as an image after checking it in full; on failure buf is left alone.
 * -EBADMSG damaged, -EPROTONOSUPPORT newer version or encrypted. */
int ckpti_image_parse(struct ckpti_image *img, uint8_t *buf, size_t len, struct ckpti_err *err);

const struct ckpti_header *ckpti_image_header(const struct ckpti_image *img);

/* Iterate: *pos starts at 0; returns 1 with *ret filled, 0 at the end. */
int ckpti_image_next(const struct ckpti_image *img, size_t *pos, struct ckpti_view *ret);

/* The first record of `type` whose fixed part starts with the 32-bit key (pid or id).
 * 1 found, 0 not. */
int ckpti_image_find(const struct ckpti_image *img, uint32_t type, uint32_t key,
		     struct ckpti_view *ret);
/* The first record of `type`. */
int ckpti_image_first(const struct ckpti_image *img, uint32_t type, struct ckpti_view *ret);

/* Copy the fixed part, or element i, into a struct of the present size, zero-extended. */
void ckpti_view_fixed(const struct ckpti_view *v, void *ret, size_t size);
void ckpti_view_elem(const struct ckpti_view *v, uint64_t i, void *ret, size_t size);
#define CKPTI_FIXED(v, ptr)   ckpti_view_fixed((v), (ptr), sizeof(*(ptr)))
#define CKPTI_ELEM(v, i, ptr) ckpti_view_elem((v), (i), (ptr), sizeof(*(ptr)))

/* String n of the record, "" when it has fewer. */
const char *ckpti_view_str(const struct ckpti_view *v, unsigned n);

/* "pipe", "vmas", …: for messages and `cpr -i`. */
const char *ckpti_rec_name(uint32_t type);

/* 1 for CKPTI_R_OBJ_* */
static inline int ckpti_rec_is_obj(uint32_t type)
{
	return type >= CKPTI_R_OBJ_FILE;
}

/* XXH3-64 and XXH3-128 of a buffer. */
uint64_t ckpti_hash64(const void *buf, size_t len);
struct ckpti_hasher;                         /* streaming XXH3-128 */
struct ckpti_hasher *ckpti_hasher_new(void); /* NULL: no memory */
void ckpti_hasher_update(struct ckpti_hasher *h, const void *buf, size_t len);
void ckpti_hasher_free(struct ckpti_hasher *h, uint64_t ret_hash[2]); /* ret_hash may be NULL */
uint64_t ckpti_hasher_free64(struct ckpti_hasher *h); /* the same stream as XXH3-64 */
uint64_t ckpti_hasher_take64(struct ckpti_hasher *h); /* the same, and starts anew */

#endif
