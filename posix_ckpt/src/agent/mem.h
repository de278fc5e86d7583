/* SPDX-License-Identifier: BSD-3-Clause */
/* The functions that a compiler may call even in freestanding code. */
#ifndef CKPT_AGENT_MEM_H
#define CKPT_AGENT_MEM_H

#include <stddef.h>

void *memset(void *dst, int c, size_t n);
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
