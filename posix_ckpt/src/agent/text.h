/* SPDX-License-Identifier: BSD-3-Clause */
/* Text of /proc without libc. */
#ifndef CKPT_AGENT_TEXT_H
#define CKPT_AGENT_TEXT_H

#include <stddef.h>
#include <stdint.h>

/* Read a whole small file into buf, NUL-terminated; its length or -errno (-E2BIG: does not fit). */
long agent_slurp(const char *path, char *buf, size_t size);
/* What stands behind key at the start of a line, without leading blanks, cut off at size; 0, -ENODATA
 * or -errno.  The file may have any length: this works on the small stacks that signal handlers have. */
int agent_file_field(const char *path, const char *key, char *value, size_t size);
/* Write "<a><n><b>" into buf; returns buf.  For paths such as /proc/self/task/12/stat. */
char *agent_path(char *buf, const char *a, long n, const char *b);
/* Behind the first occurrence of key at the start of a line of text, or NULL. */
const char *agent_field(const char *text, const char *key);
uint64_t agent_hex(const char **s);
int64_t agent_dec(const char **s); /* skips leading blanks, takes a sign */
size_t agent_strlen(const char *s);

/* Numbers found as names in a /proc directory: calls fn for each; stops when it returns non-zero. */
int agent_for_numbers(const char *dir, int (*fn)(void *arg, int dirfd, int n), void *arg);

#endif
