/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * XXH3, compiled in from the header so that the library needs no shared object at run time.
 */
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdlib.h>

#include "image/image.h"

struct ckpti_hasher {
	XXH3_state_t state; /* 64-byte aligned: the vector code relies on it */
};

uint64_t ckpti_hash64(const void *buf, size_t len)
{
	return XXH3_64bits(buf, len);
}

struct ckpti_hasher *ckpti_hasher_new(void)
{
	struct ckpti_hasher *h = aligned_alloc(64, sizeof(*h));

	if (h)
		(void)XXH3_128bits_reset(&h->state);
	return h;
}

void ckpti_hasher_update(struct ckpti_hasher *h, const void *buf, size_t len)
{
	(void)XXH3_128bits_update(&h->state, buf, len);
}

void ckpti_hasher_free(struct ckpti_hasher *h, uint64_t ret_hash[2])
{
	XXH128_hash_t d;

	if (h && ret_hash) {
		d = XXH3_128bits_digest(&h->state);
		ret_hash[0] = d.low64;
		ret_hash[1] = d.high64;
	}
	free(h);
}

/* Both widths run over the same state; only the digest differs (xxhash.h, "XXH3 128-bit"). */
uint64_t ckpti_hasher_free64(struct ckpti_hasher *h)
{
	uint64_t d = XXH3_64bits_digest(&h->state);

	free(h);
	return d;
}

uint64_t ckpti_hasher_take64(struct ckpti_hasher *h)
{
	uint64_t d = XXH3_64bits_digest(&h->state);

	(void)XXH3_128bits_reset(&h->state);
	return d;
}
