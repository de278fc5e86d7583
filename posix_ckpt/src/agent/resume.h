/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a restored thread comes back: the restorer has rebuilt the process around the agent's memory
 * and enters ckpti_agent_resume() in each thread, with the thread's own registers for the system
 * (thread pointer, robust list …) in place, all signals blocked, on the thread's own stack below its
 * signal frame.  Part of the protocol between versions: append only.
 */
#ifndef CKPT_AGENT_RESUME_H
#define CKPT_AGENT_RESUME_H

#include <stdint.h>

#define CKPTI_RESUME_VERSION 3
#define CKPTI_RESUME_LAZY    64

struct ckpti_resume {
	uint32_t version;
	uint32_t nthreads;
	uint64_t blob_start, blob_len; /* the restorer: unmapped by the leader */
	int32_t ready_fd;              /* one byte is written here when all threads are back */
	int32_t go_fd;                 /* end of file here lets the process run */
	uint64_t generation;
	/* since version 2: the environment of cpr, strings that end with a null byte, the last one is
	 * empty; in the restorer's memory */
	uint64_t env, env_len;
	/* since version 3: inode numbers of the data files that memory is mapped from */
	uint32_t nlazy, pad;
	uint64_t lazy[CKPTI_RESUME_LAZY];
};

struct ckpti_resume_thread {
	uint64_t uc;    /* signal frame to leave through */
	int32_t tid;    /* its number now */
	int32_t leader; /* 1 in exactly one thread */
};

/* Never returns. */
void ckpti_agent_resume(const struct ckpti_resume *r, const struct ckpti_resume_thread *t);

#endif
