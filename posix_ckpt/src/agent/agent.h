/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The agent: what lives in every process of a set.  It is freestanding (raw system calls, no libc, no
 * malloc, no TLS, static memory only), because it runs in a signal handler at any instant of the
 * program and because loaders other than ld.so bring it too.  This header is all that the rest of the
 * library (src/api, src/wrap, src/load) sees of it; they may use libc, the agent may not.
 */
#ifndef CKPT_AGENT_AGENT_H
#define CKPT_AGENT_AGENT_H

#include <stddef.h>
#include <stdint.h>

#include "agent/resume.h"

struct ckpt_hooks; /* ckpt_hooks.h, public */

#define CKPTI_AGENT_MAGIC 0x746e656761706b63ULL /* "ckpagent" */
#define CKPTI_AGENT_ABI   1
#define CKPTI_MAX_EXCLUDE 64
#define CKPTI_MAX_HOOKS   8
#define CKPTI_MAX_OWN_FDS 4
#define CKPTI_TASK_NAME   "ckpt-muster" /* a thread of ours that lives for a moment, see apart.c */

/* si_code values of our signals; an application's own use of the number carries others. */
#define CKPTI_SI_REQUEST (-75) /* from the coordinator, to one thread of a process */
#define CKPTI_SI_MUSTER  (-76) /* from the leading thread to the others */
#define CKPTI_SI_PREPARE (-77) /* from the coordinator: run atcheckpoint handlers, then report */
#define CKPTI_SI_TRACK   (-78) /* from the coordinator: send a userfaultfd, go on */

/* What the loader tells the agent.  Function pointers run in signal context. */
struct ckpti_agent_host {
	int signo;           /* SIGCKPT */
	int64_t rseq_offset; /* from the thread pointer; valid when rseq_size > 0 */
	uint32_t rseq_size;
	/* A SIGCKPT that is not ours, or (with NULLs) the announcement of a checkpoint: the application's
	 * own handler, if it has one. */
	void (*foreign)(int sig, void *siginfo, void *ucontext);
	/* Flag of the calling thread: set to 1 when a checkpoint interrupted the wrapped call that the
	 * thread is in.  Returns NULL outside a wrapped call. */
	volatile int *(*interrupted)(void);
	int signo_restart; /* SIGRESTART */
};

/*
 * State of the agent in this process.  It is ordinary memory of the program: after a restart it is
 * simply there again.  Fields below "shared" may be read and written by the libc side as noted.
 */
struct ckpti_agent {
	uint64_t magic;
	uint32_t abi;
	int32_t pid; /* process this state belongs to; a vfork child sees its parent's */
	/* shared */
	int32_t holds; /* ckpt_hold() depth over all threads: atomic add */
	int32_t want;  /* 1 while a checkpoint has been asked for but is held off */
	uint64_t
		generation; /* the last one captured, as told by the coordinator when it let us go */
	uint32_t restarts;  /* times this process was restarted; futex word */
	uint32_t handlers;  /* 1 when atcheckpoint/atrestart handlers exist: wants PREPARE */
	uint32_t prepare_seq; /* futex word of the service thread: counts PREPARE requests */
	uint32_t event_seq;   /* futex word: counts checkpoints that ended (went on or restarted) */
	uint64_t prepare_nonce; /* where the service thread reports */
	uint32_t nexclude;
	uint32_t nhooks;
	struct {
		uintptr_t start, end;
	} exclude[CKPTI_MAX_EXCLUDE]; /* page-aligned, content not saved; under the API's lock */
	const struct ckpt_hooks *hooks[CKPTI_MAX_HOOKS];
	int32_t own_fd[CKPTI_MAX_OWN_FDS]; /* descriptors of ours that are never saved, -1 free */
	uint64_t set_id;                   /* from CKPT_SET, 0 outside `cpr run` */
	struct ckpti_agent_host host;
	char *launch_env; /* of the launch that has restarted us, see resume.h; NULL: none */
	uint64_t launch_env_len;
	/* Inode numbers of the data files that memory is mapped from since the restart. */
	uint32_t nlazy;
	uint64_t lazy[CKPTI_RESUME_LAZY];
};

extern struct ckpti_agent ckpti_agent;

/* Install the handler and open SIGCKPT in the calling thread.  Once per process image.  0 or -errno: then
 * nothing is changed. */
int ckpti_agent_start(const struct ckpti_agent_host *host);

/* A SIGCKPT of somebody else's that the program has no handler for (uc: of the handler): the system call
 * that it interrupted is repeated, as if nothing had come. */
void ckpti_agent_overlook(void *uc);

/* Report to the coordinator that this process' atcheckpoint handlers have run (service thread);
 * veto != 0: a pre-hook refused. */
int ckpti_agent_prepared(uint64_t nonce, int veto);

#endif
