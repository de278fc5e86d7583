/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The attribute file of cpr: any bytes are either refused with a position inside the buffer or give
 * blocks whose rules are complete.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(int ok)
{
	if (!ok)
		abort();
}

static void check_refused(const struct ckpti_attr *attr, const struct ckpti_err *err, size_t size)
{
	unsigned line, col;

	require(attr->blocks == NULL && attr->nblocks == 0);
	require(sscanf(err->text, "f:%u:%u: ", &line, &col) == 2);
	require(line >= 1 && line <= size + 1 && col >= 1 && col <= size + 1);
}

static void check_accepted(const struct ckpti_attr *attr)
{
	const struct ckpti_target target[] = {{.type = 1, .id = 1}, {.type = 0x103, .id = 2}};
	struct ckpti_attr_choice choice;
	size_t nrules = 0;

	for (size_t i = 0; i < attr->nblocks; i++) {
		for (size_t k = 0; k < attr->blocks[i].nrules; k++) {
			require(strlen(attr->blocks[i].rules[k].glob) > 0);
			require(attr->blocks[i].rules[k].action > 0);
		}
		nrules += attr->blocks[i].nrules;
	}
	require(ckpti_attr_select(attr, target, 2, &choice) == 0);
	require(choice.nrules <= nrules);
	free(choice.rules);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ckpti_err err = {.code = 0};
	struct ckpti_attr attr;
	char *copy = malloc(size + 1); /* its own block: a read past the end is seen */
	int r;

	require(copy != NULL);
	memcpy(copy, data, size);
	copy = realloc(copy, size ? size : 1);
	require(copy != NULL);
	r = ckpti_attr_parse("f", copy, size, &attr, &err);
	if (r < 0)
		check_refused(&attr, &err, size);
	else
		check_accepted(&attr);
	ckpti_attr_free(&attr);
	free(copy);
	return 0;
}
