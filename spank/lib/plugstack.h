/* SPDX-License-Identifier: BSD-3-Clause */
/* What plugstack.conf says to a plugin. */
#ifndef CKPT_SPANK_PLUGSTACK_H
#define CKPT_SPANK_PLUGSTACK_H

#include <stddef.h>

/*
 * The value of the argument "key=VALUE" in the first line for `plugin` (the name of its file) in the file
 * `path` and those that it includes.  0; -ENOENT: there is no such line, or it has no such argument;
 * what else: a file cannot be read.
 */
int ckpti_plugstack_argument(const char *path, const char *plugin, const char *key, char *ret,
			     size_t size);

#endif
