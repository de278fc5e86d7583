/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Small files and directories that others may have touched.  Everything goes through the descriptor
 * of a directory, follows no link, and wants owner and mode to be ours: -EPERM otherwise.
 */
#ifndef CKPT_SPANK_FS_H
#define CKPT_SPANK_FS_H

#include <stddef.h>
#include <sys/types.h>

#include "spank/lib/kv.h"

#define CKPTI_FS_TEMP "tmp-" /* prefix of files that are being written */

/* A directory of the caller's that nobody else can write to; fd or -errno. */
int ckpti_fs_open_dir(int at, const char *name);
/* The same, made when it is missing, mode 0700. */
int ckpti_fs_make_dir(int at, const char *name);
/* A path given by the user, links followed: made with all above it when `make`; fd or -errno. */
int ckpti_fs_open_path(const char *path, bool make);

/* A regular file of the caller's; fd or -errno. */
int ckpti_fs_open_file(int dirfd, const char *name, off_t *ret_size);
/* Whole content, NUL-terminated, malloc()ed; -EFBIG above max. */
int ckpti_fs_read(int dirfd, const char *name, size_t max, char **ret, size_t *ret_len);
/* Durable when it returns 0.  With replace false -EEXIST when there is a file of that name. */
int ckpti_fs_write(int dirfd, const char *name, const char *text, size_t len, bool replace);
/* The same, when may() returns 0 after all of it is on disk, which may have taken long; else what that returns. */
int ckpti_fs_write_if(int dirfd, const char *name, const char *text, size_t len, bool replace,
		      int (*may)(const void *arg), const void *arg);
int ckpti_fs_read_kv(int dirfd, const char *name, struct ckpti_kv *ret);
int ckpti_fs_write_kv(int dirfd, const char *name, const struct ckpti_kv *kv, bool replace);

/* Names in a directory but "." and "..", sorted as text; *ret is malloc()ed, for
 * ckpti_fs_free_names(). */
int ckpti_fs_names(int dirfd, char ***ret, size_t *ret_n);
void ckpti_fs_free_names(char **names, size_t n);

/* "prefix<number>" with a number as we write it: no zeros in front.  False: another name. */
bool ckpti_fs_number(const char *name, const char *prefix, uint64_t *ret);

#endif
