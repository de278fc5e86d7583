/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the rows of src/state share among themselves.
 */
#ifndef CKPT_STATE_STATE_PRIVATE_H
#define CKPT_STATE_STATE_PRIVATE_H

#include "state/state.h"

/* ---- descriptions that are saved ---------------------------------------------------------- */

/* ckpti_err() with the process and "descriptor N ('/path')" in front of the text. */
int ckpti_desc_err(const struct ckpti_desc *d, struct ckpti_err *err, int code, const char *fmt,
		   ...) __attribute__((format(printf, 4, 5)));
/* The path of d without " (deleted)" into out (PATH_MAX bytes); true when that name is gone. */
bool ckpti_desc_path(const struct ckpti_desc *d, char *out);
/* Does the path lead to what the kernel says about one process?  It has no meaning in another life. */
bool ckpti_path_of_process(const char *path);
/* What a regular file of a special file system is, when it cannot be saved: NULL when it can. */
const char *ckpti_refused_fs(const struct ckpti_desc *d);
/* What to call an object that no row takes. */
const char *ckpti_refused_name(const struct ckpti_desc *d);
/* Access mode of d. */
bool ckpti_oflags_read(uint32_t oflags);
bool ckpti_oflags_write(uint32_t oflags);
/* Which of 0, 1, 2 of the restarting command can stand for d, whose other end is outside the set?
 * -1 when none. */
int ckpti_stdio_number(const struct ckpti_capture *cap, const struct ckpti_desc *d);
/* Where d stands in its file; 0 of a mere name (O_PATH). */
int ckpti_desc_pos(const struct ckpti_desc *d, uint64_t *ret, struct ckpti_err *err);
/* Id of the SHM record for an inode, 0 when there is none. */
uint32_t ckpti_shm_of(const struct ckpti_capture *cap, uint64_t dev, uint64_t ino);
/* Save bytes [0, size) of fd as extents of `owner`; fd's offset stays where it is, holes are left
 * out. */
int ckpti_extents_save(struct ckpti_capture *cap, int fd, uint64_t size, uint32_t owner_kind,
		       uint32_t owner, struct ckpti_err *err);

/* ---- descriptors -------------------------------------------------------------------------- */

/* A description of its own for the file behind fd.  New fd or -errno. */
int ckpti_fd_reopen(int fd, int flags);
/* What `make` makes of a template for mkstemp(3), without a name: on the file system of `path`, if that
 * still takes files, else in the statefile directory.  New fd or -errno. */
int ckpti_make_unnamed(const struct ckpti_store *store, const char *path, int (*make)(char *));
/* Is the file in memory?  Its content does not survive a reboot, so no limit applies. */
bool ckpti_fd_volatile(int fd);
/* Copy len bytes from in at `from` to out at `to`; neither offset moves. */
int ckpti_fd_copy(int in, uint64_t from, int out, uint64_t to, uint64_t len);
/* Keep what the open file at `path` holds beside it as .ckpt-old.GENERATION before it is overwritten. */
int ckpti_file_keep(struct ckpti_rebuild *rb, const char *path, int fd, const struct stat *st,
		    struct ckpti_err *err);
/* Make the directories above path that are missing. */
int ckpti_make_parents(const char *path);

#endif
