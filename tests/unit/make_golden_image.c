/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * usage: make_golden_image FILE
 *
 * Writes the sample image.  tests/data/image-v1.ckpt was made by it once; a file of a published
 * version is never made again.
 */
#include <stdio.h>

#include "image_sample.h"

int main(int argc, char **argv)
{
	struct ckpti_image img;
	int ok = 0;
	FILE *f;

	if (argc != 2)
		return 2;
	sample_build(&img);
	f = fopen(argv[1], "wxe");
	if (f) {
		ok = fwrite(img.buf, 1, img.len, f) == img.len;
		ok &= fclose(f) == 0;
	}
	ckpti_image_free(&img);
	return ok ? 0 : 1;
}
