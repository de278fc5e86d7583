/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the last good generation of each running set lies: one small file per set below
 * $XDG_STATE_HOME/posix-ckpt (or ~/.local/state/posix-ckpt).  A convenience for `cpr status`: losing
 * it costs nothing else.
 */
#ifndef CKPT_CORE_REGISTRY_H
#define CKPT_CORE_REGISTRY_H

#include <stdint.h>

/* Best effort: failures are ignored.  A set without identity is not noted. */
void ckpti_registry_note(uint64_t set_id, const char *dir, uint64_t generation);
/* 1 found, 0 not; dir has PATH_MAX bytes. */
int ckpti_registry_find(uint64_t set_id, char *dir, uint64_t *ret_generation,
			int64_t *ret_ctime_ns);

#endif
