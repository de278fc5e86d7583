/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Interposers of libc functions: what the rest of the library sees of them.
 *
 * They keep SIGCKPT open whatever the program does to its masks (masks.c) and handlers (action.c),
 * closed across every exec (exec.c, system.c), and hide from the program that a checkpoint
 * interrupted a call (sleep.c, poll.c, retry.c).  Until ckpti_wrap_start() they hand everything
 * through unchanged.
 */
#ifndef CKPT_WRAP_WRAP_H
#define CKPT_WRAP_WRAP_H

#include <signal.h>

/* Look the real functions up and start to look after signal signo.  Once, by the constructor. */
void ckpti_wrap_start(int signo);

/*
 * What the program believes to have set for SIGCKPT; the kernel has the agent's handler.  NULL for any
 * other signal: ask the kernel.  The result stays as it is until the program has changed the
 * disposition eight times.  Async-signal-safe.
 */
const struct sigaction *ckpti_wrap_app_action(int signo);

/*
 * Call the program's own handler for SIGCKPT, if it has one, with the mask that it asked for.  For
 * ckpti_agent_host.foreign, and for whoever tells the program that a checkpoint is due (si and uc may
 * be NULL then).  Async-signal-safe.
 */
void ckpti_wrap_foreign(int sig, void *si, void *uc);

/* For ckpti_agent_host.interrupted.  Async-signal-safe. */
volatile int *ckpti_wrap_interrupted(void);

#endif
