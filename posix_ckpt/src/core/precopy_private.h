/* SPDX-License-Identifier: BSD-3-Clause */
/* precopy_io.c: from memory of processes to buffers and files. */
#ifndef CKPT_CORE_PRECOPY_PRIVATE_H
#define CKPT_CORE_PRECOPY_PRIVATE_H

#include "core/runs.h"

#define CKPTI_PRECOPY_CHUNK (1UL << 20)

/* Into buf one behind the other; ret_read gets what was read, in this order, ret_failed the pages that
 * cannot be read from outside or are gone. */
int ckpti_precopy_read(int pid, const struct ckpti_runs *pieces, uint8_t *buf,
		       struct ckpti_runs *ret_read, struct ckpti_runs *ret_failed);
/* The reverse of that, into the file. */
int ckpti_precopy_write(int fd, const struct ckpti_runs *pieces, const uint8_t *buf);
/* Copy to the file until the deadline; the buffer has CKPTI_PRECOPY_CHUNK bytes. */
int ckpti_precopy_copy(int pid, int fd, const struct ckpti_runs *pieces, uint8_t *buf,
		       uint64_t deadline, struct ckpti_runs *ret_failed);

#endif
