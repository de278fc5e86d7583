/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chkpnt.h - the two calls of Cray UNICOS, as a thin layer over ckpt.h.
 *
 * UNICOS declares them in <sys/restart.h> and <sys/category.h>; the shapes are those that batch
 * systems used.  Here `path` is a directory where UNICOS wrote one file, and numeric values are ours.
 * Errors and safety are those of ckpt_create() and ckpt_restart(); ckpt_lasterror() has the detail.
 */
#ifndef CKPT_CHKPNT_H
#define CKPT_CHKPNT_H 1

#include <ckpt.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What `id` is; 0 is the caller's own. */
#define C_PROC 1 /* a process */
#define C_PGRP 2 /* a process group */
#define C_SESS 3 /* a session */
#define C_JOB  4 /* a batch job: ENOTSUP without a batch system */

#define CHKPNT_KILL 1 /* end the targets after the commit */

/*
 * Take a checkpoint.  Returns 0, or -1 with errno: those of ckpt_create(), and EINVAL for another
 * category or flag.  A process that saved itself gets 0 in both lives.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: UNICOS.
 */
CKPT_API int chkpnt(int category, int id, const char *path, int flags);

/*
 * Restart.  flags must be 0.  Returns the id of what was restarted: the session for an image made
 * with C_SESS, the process group with C_PGRP, else the root process; -1 with errno as for
 * ckpt_restart().  The symbol has another name, because programs have functions called restart.
 * Safety: MT-Safe, AS-Unsafe.  Since: 0.1.  Source: UNICOS.
 */
CKPT_API int restart(const char *path, int flags) __asm__("chkpnt_restart");

#ifdef __cplusplus
}
#endif
#endif
