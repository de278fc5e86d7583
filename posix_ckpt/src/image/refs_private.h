/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What check_refs.c and check_procs.c share: an index of everything in an image that has a number.
 */
#ifndef CKPT_IMAGE_REFS_PRIVATE_H
#define CKPT_IMAGE_REFS_PRIVATE_H

#include <stddef.h>
#include <stdint.h>

#include "image/image_private.h"

/* Kinds of numbers; ids are unique within one. */
enum ref_space {
	REF_DATAFILE,
	REF_MAPFILE,
	REF_SHM,
	REF_CONTENT,
	REF_OBJ,
	REF_PROC,   /* pid; size: index into procs[] */
	REF_THREAD, /* tid; type: pid */
	REF_SPACES,
};

struct ref {
	uint32_t space; /* enum ref_space */
	uint32_t id;
	uint32_t type; /* record type of an OBJ, pid of a thread */
	uint64_t size; /* of the file or object */
};

struct ref_proc {
	int32_t pid;
	uint32_t have; /* bit per record type below 32 */
	struct ckpti_view proc, vmas, threads;
};

struct refs {
	const struct ckpti_image *img;
	struct ckpti_err *err;
	uint64_t page;
	struct ref *ref; /* sorted by space and id once all are in */
	size_t nref, cap;
	struct ref_proc *procs; /* in the order of the image */
	size_t nprocs, procs_cap;
	uint64_t rec;  /* record being checked, for messages */
	uint32_t type; /* its type */
};

const struct ref *ckpti_refs_find(const struct refs *r, enum ref_space space, uint64_t id);
struct ref_proc *ckpti_refs_proc(const struct refs *r, int32_t pid);

/* -EBADMSG with "record N (type): …". */
int ckpti_refs_bad(const struct refs *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Address spaces, threads and descriptors of the processes. */
int ckpti_refs_check_proc_record(struct refs *r, const struct ckpti_view *v);
int ckpti_refs_check_procs(struct refs *r);
/* Is [addr, addr + len) mapped in the process? */
int ckpti_refs_mapped(const struct ref_proc *p, uint64_t addr, uint64_t len);

#endif
