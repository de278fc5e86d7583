/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Threads follow the processors of their launch: one that might use all of them may do so at the next
 * launch, and one that was bound to its second processor is bound to the second one there.
 */
#ifndef CKPT_CORE_CPUS_H
#define CKPT_CORE_CPUS_H

#include <stdint.h>

#include "util/launch.h"

/* Those that the launch of process `pid`'s set had; all zeros when nobody has told. */
void ckpti_cpus_of_launch(int pid, uint64_t ret[CKPTI_LAUNCH_WORDS]);
/* Those that the calling process, a launch, has. */
void ckpti_cpus_now(uint64_t ret[CKPTI_LAUNCH_WORDS]);
/* The mask of a thread, saved under the launch `then`, for the launch `now`. */
void ckpti_cpus_follow(const uint64_t then[CKPTI_LAUNCH_WORDS],
		       const uint64_t now[CKPTI_LAUNCH_WORDS], uint64_t mask[CKPTI_LAUNCH_WORDS]);

#endif
