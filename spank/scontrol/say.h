/* SPDX-License-Identifier: BSD-3-Clause */
/* What the user reads: the old texts of Slurm, and nothing that could upset a terminal. */
#ifndef CKPT_SCONTROL_SAY_H
#define CKPT_SCONTROL_SAY_H

#include <stdbool.h>
#include <stdio.h>

#include "util/err.h"

extern bool ckpti_say_quiet; /* -Q: no messages, results only */

/* Text of an error name ("ESLURM_DISABLED", "EALREADY"); the name itself when it is none. */
const char *ckpti_say_text(const char *name);

/* Control characters become '?', newlines stay. */
void ckpti_say_clean(char *text);
/* A line on `to`, cleaned. */
void ckpti_say_line(FILE *to, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* A line on stderr unless quiet. */
void ckpti_say_plain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "scontrol_checkpoint error: <text of name>: <detail>", unless quiet; name or fmt may be NULL.
 * Returns EXIT_FAILURE. */
int ckpti_say_error(const char *name, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same with what a failing function has left. */
int ckpti_say_err(const struct ckpti_err *err);

#endif
