/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The agent as a flat image for processes that were started without it: core/inject.c maps it, fills in
 * `host`, and runs `start` in one thread of the process.  It is the same agent as in libckpt.so, so the
 * rest of a checkpoint does not know the difference; what it lacks are the wrapped calls of the C
 * library, which is why such a process is signalled only while all its threads stand (core/inject.c).
 *
 * The header lies at the start of the mapping and is how a later checkpoint finds the agent again.  All
 * fields but the magic are offsets from there.
 */
#ifndef CKPT_INJECT_INJECT_H
#define CKPT_INJECT_INJECT_H

#include <stdint.h>

#define CKPTI_INJECT_MAGIC 0x31746e6567616b63ULL /* "ckagent1": also in inject.ld */

/* The number of a system call that does not exist: how a remote call says that it has ended.  Its first
 * argument is the result, 0 or -errno. */
#define CKPTI_INJECT_DONE 0x7fff0000

struct ckpti_inject_header {
	uint64_t magic;
	uint64_t text_len;    /* read and execute; what follows is read and write */
	uint64_t file_len;    /* what is copied, the rest is zero */
	uint64_t total_len;   /* what is mapped */
	uint64_t start, stop; /* functions without arguments that end with CKPTI_INJECT_DONE */
	uint64_t stack;       /* the upper end of one for them */
	uint64_t host;        /* struct ckpti_agent_host, read by start */
	uint64_t busy; /* uint32_t: threads in a handler of the program's that we have called */
};

#endif
