/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Regular files at a restart: file_plan.c decides, file.c opens, file_settle.c puts back.
 */
#ifndef CKPT_STATE_FILE_PRIVATE_H
#define CKPT_STATE_FILE_PRIVATE_H

#include "state/state_private.h"

enum ckpti_file_plan {
	CKPTI_FILE_OPEN = 1, /* as it is */
	CKPTI_FILE_FIT,      /* open it, and bring it back to its recorded state at the settle */
	CKPTI_FILE_MAKE,     /* its name is missing: make it anew from its saved content */
	CKPTI_FILE_UNNAMED,  /* a private file without a name: deleted files and substitutes */
};

/* priv of a file's ckpti_redesc */
struct ckpti_file {
	struct ckpti_r_obj_file rec;
	enum ckpti_file_plan plan;
	bool relocated;
	char path[PATH_MAX]; /* after relocations */
};

/* Decide what to do about a file, once; changes nothing.  *ret stays valid as long as d. */
int ckpti_file_get(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_file **ret,
		   struct ckpti_err *err);
/* The point of no return: see file_settle.c. */
int ckpti_file_settle(struct ckpti_rebuild *rb, struct ckpti_redesc *d, struct ckpti_err *err);

/* The same for a file that no process has open: file_included.c. */
int ckpti_file_settle_included(struct ckpti_rebuild *rb, const struct ckpti_file *f,
			       struct ckpti_err *err);

/* What the user wants to become of the file. */
int ckpti_file_policy(const struct ckpti_capture *cap, const char *path);
/* An empty file with a name of its own, for MAKE.  fd or -errno. */
int ckpti_file_make_named(const struct ckpti_file *f);
/* Owner, mode and time of a file that was made. */
int ckpti_file_set_attributes(const struct ckpti_file *f, int fd, struct ckpti_err *err);
/* Bring the open file back to its recorded state and time, and keep what it holds now; does nothing when it
 * is there already, as the second description of a file finds it. */
int ckpti_file_fit(struct ckpti_rebuild *rb, const struct ckpti_file *f, int fd,
		   struct ckpti_err *err);

/* Files the kernel makes up as they are read: no content to save, nothing to put back. */
bool ckpti_file_pseudo(const char *path);

#endif
