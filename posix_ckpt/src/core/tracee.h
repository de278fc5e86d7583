/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The threads of a process, held by ptrace at the border of the kernel.  Who is held can be read and
 * written, and cannot begin a system call: nobody creates a thread, executes a program, or ends.
 */
#ifndef CKPT_CORE_TRACEE_H
#define CKPT_CORE_TRACEE_H

#include "core/procfs.h"

struct ckpti_tracees {
	int pid;
	int *tid; /* of those that are held, 0: let go */
	size_t n;
	size_t standing; /* the first ones, whose stop has been seen */
};

/* Calls fn for each live thread until it returns non-zero; that value. */
int ckpti_each_thread(int pid, int (*fn)(void *arg, const struct ckpti_procinfo *t), void *arg);

/* Does p run in its parent's memory (vfork)? */
int ckpti_shares_memory(const struct ckpti_procinfo *p);
/* Is thread t of process p in exec or, as a vfork child, on its way there? */
int ckpti_near_exec(const struct ckpti_procinfo *t, const struct ckpti_procinfo *p);

/* Wait until a thread stands that runs for a moment; -ESRCH: it has ended. */
int ckpti_tracee_wait(int tid, int *ret_status);

/* Hold one thread, which is seized.  What it returns is a signal that the thread was about to take, and
 * that has to be given back to it, 0: none; -ETIMEDOUT: it does not reach the border now; -errno. */
int ckpti_tracee_stop(int tid);

/* Hold all threads of p.  -EAGAIN: not possible at this moment; -EPERM: not allowed; -errno.  On failure
 * none is held. */
int ckpti_tracees_hold(const struct ckpti_procinfo *p, struct ckpti_tracees *ret);
/* Let thread i go on.  repeat: nobody sends it a signal, so a call that it was in must not end. */
void ckpti_tracees_let_go(struct ckpti_tracees *t, size_t i, int repeat);
/* Let all go that are still held. */
void ckpti_tracees_release(struct ckpti_tracees *t);

#endif
