/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The numbers of SIGCKPT and SIGRESTART: SIGRTMAX-2 and SIGRTMAX-3, or what CKPT_SIGNO=n[,m] says.
 * The environment is looked at once; a program that changes it later changes nothing.
 */
#ifndef CKPT_WRAP_SIGNO_H
#define CKPT_WRAP_SIGNO_H

int ckpti_signo_checkpoint(void);
int ckpti_signo_restart(void);

/* Take the numbers from envp.  For the constructor: it runs before libc knows its environment. */
void ckpti_signo_read(char *const envp[]);

#endif
