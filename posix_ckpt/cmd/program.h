/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef CKPT_CMD_PROGRAM_H
#define CKPT_CMD_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Why a command, found as execvp(3) finds it, would not take a preloaded library: it is static, for
 * another processor, or has more rights than its caller.  NULL when nothing is in the way, or when it
 * cannot be told.  The text is static.
 */
const char *ckpti_program_obstacle(const char *command);

/* The file that it is in the end, links followed; false: there is none. */
bool ckpti_program_path(const char *command, char *ret, size_t size);

#endif
