/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of this folder only.
 */
#ifndef CKPT_IMAGE_IMAGE_PRIVATE_H
#define CKPT_IMAGE_IMAGE_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "image/image.h"

/* What version 1 promises about a record type.  Sizes are those of version 1 and stay when structs
 * grow: a reader zero-extends. */
struct ckpti_rec_info {
	uint32_t type;
	uint32_t fixed_min;
	uint32_t nstr_min;
	uint32_t elem_min; /* 0: no array; 1: bytes, exactly */
	int once;          /* at most one in an image */
	const char *name;
};

/* NULL when the type is unknown. */
const struct ckpti_rec_info *ckpti_rec_info(uint32_t type);

static inline uint64_t ckpti_pad8(uint64_t n)
{
	return (n + 7) & ~(uint64_t)7;
}

/* First 32 bits of the fixed part: pid or id. */
uint32_t ckpti_view_key(const struct ckpti_view *v);

#define CKPTI_HEADER_MAX 4096 /* of any version */

/* XXH3-64 of a header (at most CKPTI_HEADER_MAX bytes) with the field header_hash taken as 0. */
uint64_t ckpti_image_header_hash(const uint8_t *buf, size_t header_size);

/* Do the records agree with each other?  img has passed the check of bounds. */
int ckpti_image_check_refs(const struct ckpti_image *img, struct ckpti_err *err);

#endif
