/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The statefile directory: where generations and their data files lie.  Layout and commit order are
 * described in docs/format/statefile.md.
 *
 *   DIR/                   0700, owned by the user
 *   DIR/lock               OFD lock: exclusive for a writer, shared for a restart
 *   DIR/gen-00000007       header and records of generation 7; appears by rename = the commit
 *   DIR/data-XXXXXXXX      page-aligned extents; referenced by one or more generations
 *   DIR/pin-<hash128>      copy of a mapped file, by content
 *
 * The newest gen-* file that parses is the last good generation.  A data file that no generation
 * refers to may be recycled, but only by the holder of its exclusive OFD lock: a lazy restart pins
 * what it maps with a shared one.
 */
#ifndef CKPT_STORE_STORE_H
#define CKPT_STORE_STORE_H

#include <stdbool.h>
#include <sys/types.h>

#include "image/image.h"
#include "util/err.h"

struct ckpti_store;

#define CKPTI_STORE_CREATE (1U << 0) /* for writing: make DIR when it is missing */
#define CKPTI_STORE_FORCE  (1U << 1) /* for writing: a DIR that holds generations is accepted */

/* Open for writing: takes the lock (-EBUSY when another writer has it), checks owner, mode and links
 * (-EPERM), refuses a DIR that holds foreign files (-ENOTEMPTY) or, without FORCE, a generation
 * (-EEXIST). */
int ckpti_store_open_write(const char *path, unsigned flags, struct ckpti_store **ret,
			   struct ckpti_err *err);
/* Open for reading: -ENOENT no directory, -ENODATA no committed generation, -EPERM foreign owner or
 * group/world-writable. */
int ckpti_store_open_read(const char *path, struct ckpti_store **ret, struct ckpti_err *err);
/* Closes; a write that was not committed is removed.  NULL is allowed. */
void ckpti_store_close(struct ckpti_store *st);

int ckpti_store_dirfd(const struct ckpti_store *st);
const char *ckpti_store_path(const struct ckpti_store *st); /* absolute */
uint64_t ckpti_store_newest(const struct ckpti_store *st);  /* 0 when none */
/* Generation numbers, ascending; returns how many (at most max were stored). */
size_t ckpti_store_list(const struct ckpti_store *st, uint64_t *ret, size_t max);

/* Number of the generation being written: newest + 1. */
uint64_t ckpti_store_generation(const struct ckpti_store *st);

/* A data file for about `size` bytes: recycled where possible, else new.  The descriptor belongs to
 * the store.  Ids count from 1 within the generation. */
int ckpti_store_datafile(struct ckpti_store *st, uint64_t size, uint32_t *ret_id, int *ret_fd,
			 struct ckpti_err *err);
/* Tell the true length of a data file when it is complete (truncates the rest of a recycled one). */
int ckpti_store_datafile_done(struct ckpti_store *st, uint32_t id, uint64_t size,
			      struct ckpti_err *err);
/* Store the content of fd (a mapped file) under its hash unless it is there already; ret_name gets
 * "pin-…" (at least 64 bytes), ret_hash the XXH3-128. */
int ckpti_store_pin(struct ckpti_store *st, int fd, int copy, uint64_t ret_hash[2], char *ret_name,
		    struct ckpti_err *err);

/* Generations that the commit keeps besides the newest; the array must live until then. */
void ckpti_store_hold(struct ckpti_store *st, const uint64_t *gens, size_t n);
/* Share copies of mapped files with other statefiles of the same file system by hard links in the
 * directory `path`, which is made when it is missing.  Others may do the same at any time.  Where links
 * cannot be made each keeps its own copy. */
int ckpti_store_share_pins(struct ckpti_store *st, const char *path, struct ckpti_err *err);

/* Add DATAFILE records, seal, fsync data, write, rename, fsync the directory; then drop generations
 * beyond the newest `keep` that are not held, and recycle or remove what nobody refers to any more.  Extents' hashes
 * must be filled in by then. */
int ckpti_store_commit(struct ckpti_store *st, struct ckpti_image *img,
		       const struct ckpti_header *hdr, unsigned keep, struct ckpti_err *err);

/* Load generation `gen` (0: newest that is good) and check that every file it refers to is there
 * with its size.  Damaged generations are passed over: ckpti_image_header() says which one it was.
 * Only for a store opened for reading; the files are pinned until the next load or the close. */
int ckpti_store_load(struct ckpti_store *st, uint64_t gen, struct ckpti_image *img,
		     struct ckpti_err *err);
/* Open a data file or pin of a loaded generation by name for reading; fd or -errno.  Descriptors of
 * one file share their offset: use pread() or mmap().  As long as one, or a mapping made from it,
 * lives, no writer changes the file. */
int ckpti_store_open_file(struct ckpti_store *st, const char *name, struct ckpti_err *err);

/* For a restart: only one life of a statefile at a time.  The lease is a descriptor, which whoever
 * looks after the processes keeps open as long as they run.  -EBUSY: another life runs; -ENOLCK: this
 * directory cannot be locked, or over is set, which says that no other life runs, and the lock of the last
 * one is still held (by a file server that has not noticed). */
int ckpti_store_lease(struct ckpti_store *st, bool over, struct ckpti_err *err);

/* Progress of long work: bytes done, bytes in all; returning non-zero cancels (-ECANCELED). */
typedef int (*ckpti_progress_f)(void *arg, const char *phase, uint64_t done, uint64_t total);

/* Fill in the hash of every extent of img by reading the data files (before the commit). */
int ckpti_store_hash(struct ckpti_store *st, struct ckpti_image *img, ckpti_progress_f progress,
		     void *arg, struct ckpti_err *err);
/* The same, and what the last generation holds already is not stored again: img, which changes, refers to
 * its data files.  What is equal is told by comparing bytes.  Where that would not save much, or a third
 * of the bytes in the files would be needed by nobody, everything is stored anew. */
struct ckpti_reused {
	uint64_t stored; /* bytes that this generation adds */
	uint64_t reused; /* bytes that lie in files of earlier ones */
};
int ckpti_store_reuse(struct ckpti_store *st, struct ckpti_image *img, ckpti_progress_f progress,
		      void *arg, struct ckpti_reused *ret, struct ckpti_err *err);
/* Of an extent: is it to be left out? */
typedef bool (*ckpti_store_skip_f)(const void *arg, uint32_t owner_kind, uint32_t owner,
				   const struct ckpti_e_extent *e);
/* Check every extent and pinned file of a loaded image against its hash; -EBADMSG names the first.
 * skip may be NULL. */
int ckpti_store_verify(struct ckpti_store *st, const struct ckpti_image *img,
		       ckpti_store_skip_f skip, const void *skip_arg, ckpti_progress_f progress,
		       void *arg, struct ckpti_err *err);

/* Has path the name of a data file; with beside, does it lie in a statefile directory? */
bool ckpti_store_is_data(const char *path, bool beside);

/* Whole writes: pwrite() until all is written.  0 or -errno. */
int ckpti_store_write_at(int fd, const void *buf, size_t len, uint64_t off);

/* Remove a statefile directory: only if it carries our files and belongs to the caller.  Foreign
 * files inside are left and make it fail with -ENOTEMPTY after ours are gone. */
int ckpti_store_remove(const char *path, struct ckpti_err *err);

#endif
