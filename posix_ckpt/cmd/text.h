/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Text that people type (ids, sizes, times, rules) and read (sizes, names).  Pure functions; the
 * parsers return 0 or -EINVAL.
 */
#ifndef CKPT_CMD_TEXT_H
#define CKPT_CMD_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "core/core.h"

/* Decimal digits only, from min to max. */
int ckpti_text_u64(const char *s, uint64_t min, uint64_t max, uint64_t *ret);
/* "4096", "64K", "1.5G", "2GiB": powers of 1024. */
int ckpti_text_size(const char *s, uint64_t *ret);
/* "10", "0.5": seconds, to milliseconds; at least one. */
int ckpti_text_seconds(const char *s, unsigned *ret_ms);

/* "PID", "gid", …: P_PID … of ckpt.h. */
int ckpti_text_type(const char *s, size_t len, unsigned long *ret);
/* "PID" …; "?" for a type that is not known. */
const char *ckpti_text_type_name(unsigned long type);
/* "ID[:TYPE]"; without a type: the process and its descendants.  ASH takes "JOB.STEP". */
int ckpti_text_target(const char *s, size_t len, struct ckpti_target *ret);
/* "MERGE", "ignore", …: enum ckpt_file_action of ckpt.h. */
int ckpti_text_action(const char *s, size_t len, int *ret);

/* "81.2 MiB"; buf has at least 16 bytes and is returned. */
const char *ckpti_text_bytes(uint64_t n, char *buf);
/* "3.1 ms", "0.18 s", "2 min"; buf has at least 16 bytes and is returned. */
const char *ckpti_text_time(uint64_t ns, char *buf);
/* Bytes that a terminal would obey become '?': s itself is changed and returned. */
char *ckpti_text_clean(char *s);

#endif
