/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CKPT_CMD_PROGRAM_H
#define CKPT_CMD_PROGRAM_H

/*
 * Why a command, found as execvp(3) finds it, would not take a preloaded library: it is static, for
 * another processor, or has more rights than its caller.  NULL when nothing is in the way, or when it
 * cannot be told.  The text is static.
 */
const char *ckpti_program_obstacle(const char *command);

#endif
