/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared among the agent's own files.  Everything here is static memory of the process: it is saved
 * with it and simply there again after a restart.
 */
#ifndef CKPT_AGENT_AGENT_PRIVATE_H
#define CKPT_AGENT_AGENT_PRIVATE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <ucontext.h>

#include "agent/agent.h"
#include "agent/protocol.h"
#include "agent/resume.h"
#include "image/format.h"
#include "os/linux/sys.h"

#define AGENT_MAX_THREADS 4096
#define AGENT_MAX_PENDING 4096
#define AGENT_STACK_SIZE  (128U << 10)
#define AGENT_DEADLINE_MS 600000 /* longest silence of a coordinator that is still alive */

enum agent_phase {
	AGENT_IDLE = 0,
	AGENT_STARTING,
	AGENT_MUSTER,
	AGENT_STOPPED,
	AGENT_ENDING /* all are let go: who comes now is late, and no other round may begin */
};

enum agent_order {
	AGENT_GO = 0,
	AGENT_DRAIN /* take out the signals that wait for you */
};

/* What was done to hide an interruption, so that it can be undone. */
struct agent_hide {
	uint64_t uc;        /* frame concerned */
	volatile int *flag; /* the wrapped call's, or NULL */
	int32_t rewound;    /* the frame repeats its call: our doing */
	int32_t restarted;  /* the kernel's, because our handler has SA_RESTART */
};

#define AGENT_NODE_WORDS 4   /* NUMA nodes: 256 */
#define AGENT_MAX_AREAS  256 /* of memory with NUMA policies of their own */
#define AGENT_NSPEC      3   /* kinds of speculation that prctl(2) knows */

struct agent_policy {
	int32_t mode, pad; /* MPOL_* */
	uint64_t nodes[AGENT_NODE_WORDS];
};

struct agent_area {
	uint64_t start, end;
	struct agent_policy policy;
};

/* Of a thread. */
struct agent_attr {
	struct agent_policy policy;
	int32_t ioprio;
	uint32_t speculation[AGENT_NSPEC]; /* PR_SPEC_* */
	int32_t keepcaps, tsc, mce_kill;
	uint32_t pad;
};

struct agent_state {
	uint32_t phase;   /* enum agent_phase */
	uint32_t nin;     /* slots of thread[] taken */
	uint32_t arrived; /* threads that wait in the barrier; futex word */
	uint32_t turn;    /* counts what the leader has told the waiting threads; futex word */
	uint32_t order;   /* enum agent_order: what it has told them last */
	uint32_t drained; /* threads that have carried out AGENT_DRAIN; futex word */
	uint32_t inside;  /* threads that have not left the barrier yet */
	uint32_t npending;
	int32_t pending_error; /* some were left in the kernel: -E2BIG, there was no room, or why else */
	uint32_t nforeign;     /* tasks that plug-ins left out */
	uint32_t hidden, lost; /* interrupted system calls: hidden from the program, not hidden */
	uint32_t resumed;      /* restarted threads that have come back; futex word */
	uint32_t membarrier;   /* uses of membarrier(2) that the process has registered for */
	int32_t leader;        /* tid; its slot is 0 */
	uint64_t nonce;
	uint8_t *wipe; /* a page that fork() clears: tells a child from its parent */
	int sock;
	uint8_t *mailbox;
	uint64_t mailbox_size;
	uint32_t mdwe; /* PR_SET_MDWE */
	uint32_t nareas;
	char dump_filter[16]; /* text of /proc/self/coredump_filter */
	struct agent_area area[AGENT_MAX_AREAS];
	struct agent_attr attr[AGENT_MAX_THREADS]; /* by slot */
	struct ckpti_e_thread thread[AGENT_MAX_THREADS];
	struct agent_hide hide[AGENT_MAX_THREADS]; /* by slot */
	struct ckpti_state_pending pending[AGENT_MAX_PENDING];
};

extern struct agent_state agent_state;

/* apart.c: run fn() where its descriptors are not the program's; its result. */
int agent_apart(int (*fn)(void));
/* Threads that the kernel counts, or -errno. */
long agent_thread_count(void);

/* muster.c */
/* The caller becomes the leader: waits until the last round's threads have left, takes slot 0. */
void agent_muster_begin(ucontext_t *uc, const struct agent_hide *hide);
/* After fork: nothing of the parent's round holds here. */
void agent_muster_reset(void);
/* Wait until every thread of the process stands in the barrier.  0 or -errno. */
int agent_muster(void);
/* Let all go; the caller is the leader. */
void agent_release(void);
/* A thread other than the leader: count in, wait for the release. */
void agent_join(ucontext_t *uc, const struct agent_hide *hide);
/* All have stopped: each takes out the signals that wait for it. */
void agent_muster_drain(void);
/* Do as the leader says after `turn`, until it lets go; uc (may be NULL) is a restarted thread's frame. */
void agent_wait_release(uint32_t turn, ucontext_t *uc);

/* thread.c: what only the thread itself can tell. */
void agent_thread_save(struct ckpti_e_thread *t, uint64_t uc);

/* pending.c: signals that wait for delivery. */
void agent_pending_save_own(void);     /* of the calling thread */
void agent_pending_save_process(void); /* of the process; the leader, when all stand still */
void agent_pending_requeue_own(void);
void agent_pending_requeue_process(void);

/* eintr.c: system calls that our signal interrupted are repeated. */
void agent_eintr_hide(ucontext_t *uc, const struct ckpti_siginfo *si, struct agent_hide *ret);
/* About to leave: a signal of the program's that came meanwhile interrupts the call after all. */
void agent_eintr_settle(ucontext_t *uc, const struct agent_hide *h);
/* The same for a restarted thread, which knows only its frame. */
void agent_eintr_settle_frame(ucontext_t *uc);

/* link.c: the conversation with the coordinator.  Returns 0 when the process is to go on. */
int agent_link_open(uint64_t nonce);
void agent_link_close(void);
/* Does the coordinator of this round still listen? */
int agent_link_wanted(uint64_t nonce);
int agent_link_send(const struct ckpti_msg *msg);
void agent_serve(void);

/* limit.c */
void agent_limit_lift(int resource, struct rlimit *ret_old);
void agent_limit_restore(int resource, const struct rlimit *old);

/* membarrier.c: what the kernel keeps of it is gone after an exec. */
void agent_membarrier_save(void);
void agent_membarrier_restore(void);

/* One message on a connection of its own, with a descriptor when fd >= 0. */
int agent_link_tell(uint64_t nonce, const struct ckpti_msg *msg, int fd);

/* track.c: send the coordinator a userfaultfd of this process. */
void agent_track(uint64_t wanted_by);

/* attr.c: settings that the kernel tells nobody but their owner. */
void agent_attr_save(char *scratch, size_t size); /* of the process */
void agent_attr_restore(void);
void agent_attr_save_thread(struct agent_attr *a); /* of the calling thread */
void agent_attr_restore_thread(uint64_t uc);

/* state.c, memory.c, fds.c: the commands. */
int agent_cmd_state(void);
int agent_cmd_write(int fd, uint64_t off, struct ckpti_msg *answer);
int agent_cmd_sendfds(void);

/* hooks.c: plug-ins' predicates, asked in order. */
int agent_foreign_task(int tid);
int agent_foreign_fd(int fd);
int agent_foreign_map(uintptr_t start, uintptr_t end);
int agent_foreign_timer(int id);
int agent_hooks_quiesce(void);
int agent_hooks_before_image(void);
void agent_hooks_after_continue(void);
void agent_hooks_after_restart(void);

#endif
