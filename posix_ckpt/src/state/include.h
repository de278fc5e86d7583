/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files that are saved although no process has them open.
 */
#ifndef CKPT_STATE_INCLUDE_H
#define CKPT_STATE_INCLUDE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "state/state.h"
#include "util/err.h"

struct ckpti_include {
	const char *const *glob; /* glob(7); relative ones to the working directory of the root */
	size_t n;
	uint64_t copy_limit; /* a larger file is an error, as long as it does not lie in memory */
	/* What the user should know and what is no error, a line each; may be NULL. */
	void (*note)(void *arg, const char *text);
	void *note_arg;
};

/* Called once for each file, with its name free of links; fd is open for reading. */
typedef int (*ckpti_include_f)(void *arg, const char *path, int fd, const struct stat *st,
			       struct ckpti_err *err);
int ckpti_include_find(const struct ckpti_include *in, const char *cwd, ckpti_include_f fn,
		       void *arg, struct ckpti_err *err);
/* What they would take, added to *sum. */
int ckpti_include_add_sizes(const struct ckpti_include *in, const char *cwd, uint64_t *sum,
			    struct ckpti_err *err);
/* The pattern of a relative one.  Its length, or -ENAMETOOLONG; at least size when it was cut off. */
int ckpti_include_absolute(const char *cwd, const char *glob, char *ret, size_t size);
/* Into the image, when the open files are there. */
int ckpti_include_save(struct ckpti_capture *cap, const struct ckpti_include *in, const char *cwd,
		       struct ckpti_err *err);

#endif
