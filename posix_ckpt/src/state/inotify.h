/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * inotify: inotify.c saves and restores, inotify_path.c finds out what is watched.
 */
#ifndef CKPT_STATE_INOTIFY_H
#define CKPT_STATE_INOTIFY_H

#include "state/state_private.h"

#define CKPTI_HANDLE_SIZE 128 /* MAX_HANDLE_SZ */

/* One watch, as fdinfo shows it. */
struct ckpti_watch {
	int wd;
	uint32_t mask;
	uint64_t ino;
	dev_t dev;
	int handle_type;
	unsigned handle_len;
	unsigned char handle[CKPTI_HANDLE_SIZE];
	char *path; /* malloc'ed; NULL as long as it is not found */
};

/* Find the paths of all watches of d; what is not found stays NULL.  0 or -ENOMEM. */
int ckpti_watch_paths(const struct ckpti_capture *cap, const struct ckpti_desc *d,
		      struct ckpti_watch *watch, size_t n);

#endif
