/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Any bytes as an image.  Each input is tried as it is, and once more with both hashes made right,
 * because no mutation would ever pass them.  What is accepted must be safe to walk through to the
 * last byte of the last element.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok)
{
	if (!ok)
		abort();
}

static void correct_hashes(uint8_t *buf, size_t size)
{
	struct ckpti_header h;

	if (size < sizeof(h))
		return;
	memcpy(&h, buf, sizeof(h));
	if (h.header_size != sizeof(h))
		return;
	h.total_size = size;
	h.body_hash = ckpti_hash64(buf + sizeof(h), size - sizeof(h));
	h.header_hash = 0;
	h.header_hash = ckpti_hash64(&h, sizeof(h));
	memcpy(buf, &h, sizeof(h));
}

static void walk(const struct ckpti_image *img)
{
	struct ckpti_view v;
	uint64_t sum = 0, i;
	uint8_t elem[512];
	uint32_t nrec = 0;
	size_t pos = 0;

	while (ckpti_image_next(img, &pos, &v)) {
		nrec++;
		ckpti_view_fixed(&v, elem, sizeof(elem));
		for (i = 0; i < v.nstr; i++)
			sum += strlen(ckpti_view_str(&v, (unsigned)i));
		for (i = 0; i < v.count; i++)
			ckpti_view_elem(&v, i, elem, sizeof(elem));
		require(strcmp(ckpti_rec_name(v.type), "unknown") != 0);
	}
	require(nrec <= img->nrecords && pos == img->len && sum <= img->len);
}

static void try(const uint8_t *data, size_t size, int correct)
{
	uint8_t *copy = malloc(size ? size : 1); /* its own block: a read past the end is seen */
	struct ckpti_err err = {0};
	struct ckpti_image img;
	int r;

	require(copy != NULL);
	if (size)
		memcpy(copy, data, size);
	if (correct)
		correct_hashes(copy, size);
	r = ckpti_image_parse(&img, copy, size, &err);
	if (r == 0) {
		walk(&img);
		ckpti_image_free(&img);
		return;
	}
	require(r == -EBADMSG || r == -EPROTONOSUPPORT);
	require(err.code == r && err.text[0] && !strchr(err.text, '\n'));
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	try(data, size, 0);
	try(data, size, 1);
	return 0;
}
