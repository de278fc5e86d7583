/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A small image with every type of record, two processes and fixed values, for tests of the format.
 */
#ifndef TESTS_UNIT_IMAGE_SAMPLE_H
#define TESTS_UNIT_IMAGE_SAMPLE_H

#include "image/image.h"

#define SAMPLE_DATA_NAME "data-00000001"
#define SAMPLE_DATA_SIZE 16384
#define SAMPLE_PIN_NAME  "pin-0123456789abcdef0123456789abcdef"

/* Add the records; with_datafile 0 leaves DATAFILE to the store, pin NULL makes no stored copy. */
void sample_fill(struct ckpti_image *img, int with_datafile, const char *pin,
		 const uint64_t pin_hash[2], uint64_t pin_size);
/* The same, sealed as generation 7. */
void sample_build(struct ckpti_image *img);

#endif
