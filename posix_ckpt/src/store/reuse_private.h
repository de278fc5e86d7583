/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last generation, as one that looks for bytes which are stored already sees it.
 */
#ifndef CKPT_STORE_REUSE_PRIVATE_H
#define CKPT_STORE_REUSE_PRIVATE_H

#include "store/store_private.h"

struct base_file {
	uint32_t id; /* in the last generation */
	int fd;
	uint64_t size;
	uint64_t generation; /* that wrote it */
	uint64_t used;       /* bytes that the new generation refers to */
	uint32_t new_id;     /* in the new generation */
	char name[NAME_SIZE];
};

struct base_extent {
	uint32_t kind, owner; /* of struct ckpti_r_extents */
	uint64_t addr, len, off;
	uint32_t file; /* index of its struct base_file */
};

struct base {
	struct base_file *file;
	size_t nfiles;
	struct base_extent *extent; /* ascending */
	size_t nextents;
};

/* 1: *ret is the newest generation; 0: there is none, or it cannot be relied on. */
int ckpti_base_open(struct ckpti_store *st, struct base *ret);
void ckpti_base_close(struct base *b);
/* The first extent of the owner that ends behind addr, or NULL. */
const struct base_extent *ckpti_base_at(const struct base *b, const struct ckpti_r_extents *owner,
					uint64_t addr);

#endif
