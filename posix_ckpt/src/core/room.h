/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Is there memory for an image?  For cpr, which asks for one set, and for launchers that know of several
 * that write at the same time.
 */
#ifndef CKPT_CORE_ROOM_H
#define CKPT_CORE_ROOM_H

#include <stdint.h>

#define CKPTI_ROOM_NO_LIMIT UINT64_MAX

/* Bytes that the image of the process may take at most: its own pages and its share of shared ones. */
uint64_t ckpti_room_image_size(int pid);
/* What the process' memory cgroup and those above it still allow, CKPTI_ROOM_NO_LIMIT when no limit is
 * known, and what the tightest one allows at all. */
uint64_t ckpti_room_left(int pid, uint64_t *ret_limit);

#endif
