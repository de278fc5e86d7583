/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `cpr` tells the library call that started it.
 *
 * The library starts `cpr` with these options, and no others:
 *
 *   create   cpr --api-result 3 -c -p ID:TYPE[,ID:TYPE…] [-f] [-k] [-u] [--dry-run]
 *                [--timeout SECONDS] [--file-policy GLOB=ACTION]… -- DIR
 *   restart  cpr --api-result 3 --api-ready 4 -r [-j] [--ids new] [--relocate OLD=NEW]… -- DIR
 *
 * Descriptor 3 is an empty memfd.  cpr writes one struct ckpti_result at its offset 0 with a single
 * write: at the end of a checkpoint whether it failed or not; at a restart when the tree runs or when
 * it is known that it will not.  Descriptor 4 is the write end of a pipe: at a restart cpr writes one
 * byte there after the result, then closes it; no restored process may inherit either descriptor.
 * With --api-result cpr prints nothing.  A result without the magic means that cpr died.
 *
 * Library and program come from one package but may be of different age for a moment, so fields are
 * only ever added at the end and `size` tells how much the writer knew.
 */
#ifndef CKPT_UTIL_RESULT_H
#define CKPT_UTIL_RESULT_H

#include <stdint.h>

#define CKPTI_RESULT_MAGIC 0x72706b63U /* "ckpr" */
#define CKPTI_RESULT_FD    3
#define CKPTI_READY_FD     4

struct ckpti_result {
	uint32_t magic;      /* CKPTI_RESULT_MAGIC */
	uint32_t size;       /* sizeof(struct ckpti_result) of the writer */
	int32_t error;       /* 0 or -errno */
	int32_t pid;         /* process that the error is about, 0 when none */
	uint64_t generation; /* committed, or restarted */
	int64_t root_pid;    /* restart: root of the tree, as the caller of cpr sees it */
	uint32_t nprocs;
	uint32_t nthreads;
	uint64_t mem_bytes;
	uint64_t stored_bytes;
	uint64_t stop_ns; /* the application stood still for so long */
	char object[128]; /* as in struct ckpti_err */
	char text[384];
	uint64_t reused_bytes; /* that earlier generations have stored */
};

#endif
