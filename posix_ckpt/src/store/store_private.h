/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of this folder only.
 */
#ifndef CKPT_STORE_STORE_PRIVATE_H
#define CKPT_STORE_STORE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "store/store.h"

#define NAME_SIZE 64 /* of every name we make, with the NUL */

/* ---- names (names.c) ---------------------------------------------------------------------- */

enum store_name {
	NAME_FOREIGN, /* not ours */
	NAME_LOCK,
	NAME_GEN,  /* number: generation */
	NAME_DATA, /* number: of the file */
	NAME_PIN,
	NAME_HASHES,
	NAME_TEMP, /* left over from a write that did not end */
};

#define LOCK_FILE   "lock"
#define HASHES_FILE "hashes"
#define HASHES_TEMP "hashes.tmp"
#define GEN_TEMP    "gen.tmp"
#define PIN_TEMP    "pin.tmp"

enum store_name ckpti_store_name(const char *name, uint64_t *ret_number);
void ckpti_store_gen_name(uint64_t gen, char *ret);
void ckpti_store_data_name(uint32_t number, char *ret);
void ckpti_store_pin_name(const uint64_t hash[2], char *ret);

/* A growing list of names. */
struct names {
	char (*v)[NAME_SIZE];
	size_t n, cap;
};

int ckpti_names_add(struct names *l, const char *name);
bool ckpti_names_has(const struct names *l, const char *name);
void ckpti_names_free(struct names *l);

/* ---- the store ---------------------------------------------------------------------------- */

/* A data file or pin that is open: of the generation being written, or pinned by a reader. */
struct store_file {
	uint32_t id; /* 0: a pin */
	int fd;
	bool done;
	bool scratch; /* what is needed of it lies elsewhere: the generation does not name it */
	uint64_t size;
	char name[NAME_SIZE];
};

/* The content of a file that was hashed before (cache.c). */
struct store_hash {
	uint64_t dev, ino, size;
	int64_t mtime_ns, ctime_ns;
	uint64_t hash[2];
	bool used; /* by this write: worth keeping */
};

/* A data file that no generation refers to. */
struct store_spare {
	off_t size;
	char name[NAME_SIZE];
};

struct ckpti_store {
	char *path;
	char *base; /* last component; in parentfd */
	int parentfd;
	int dirfd;
	int lockfd; /* -1: a reader found none */
	uid_t owner;
	bool writer;
	bool created; /* the directory was made by this write */
	bool committed;
	uint64_t generation; /* being written */
	uint64_t *gens;      /* ascending */
	size_t ngens;
	struct store_file *files;
	size_t nfiles, files_cap;
	struct store_spare *spare; /* the largest first */
	size_t nspare;
	uint32_t last_data;   /* highest number of a data file seen */
	struct names pins;    /* made by this write */
	const uint64_t *hold; /* generations not to be dropped */
	size_t nhold;
	struct ckpti_store *shared; /* pins that are shared with others, NULL */
	struct store_hash *hashes;
	size_t nhashes, hashes_cap;
	bool hashes_read, hashes_changed;
};

/* "cannot VERB 'NAME' in 'DIR': reason"; returns code. */
int ckpti_store_fail(const struct ckpti_store *st, struct ckpti_err *err, int code,
		     const char *verb, const char *name);

/* ---- dir.c -------------------------------------------------------------------------------- */

/* Open path and check that it may be used; makes it when flags say so. */
int ckpti_store_open_dir(const char *path, bool write, unsigned flags, struct ckpti_store **ret,
			 struct ckpti_err *err);
/* Call fn for every entry of the directory but "." and ".."; stops at a value other than 0. */
int ckpti_store_each(struct ckpti_store *st,
		     int (*fn)(struct ckpti_store *st, const char *name, void *arg), void *arg,
		     struct ckpti_err *err);
/* List the generations anew. */
int ckpti_store_scan(struct ckpti_store *st, struct ckpti_err *err);
/* Open a file of ours for reading, or for writing too; fd or -errno. */
int ckpti_store_open_ours(const struct ckpti_store *st, const char *name, int flags,
			  struct stat *ret_st, struct ckpti_err *err);
/* Undo what an uncommitted write made. */
void ckpti_store_abandon(struct ckpti_store *st);

/* ---- lock.c ------------------------------------------------------------------------------- */

int ckpti_store_lock_writer(struct ckpti_store *st, struct ckpti_err *err);
/* Between these two no generation disappears (shared), or nobody is loading one (exclusive). */
int ckpti_store_lock_list(struct ckpti_store *st, bool exclusive);
void ckpti_store_unlock_list(struct ckpti_store *st);
/* F_RDLCK, F_WRLCK or F_UNLCK on a whole data file, without waiting. */
int ckpti_store_lock_file(int fd, short type);

/* ---- data.c ------------------------------------------------------------------------------- */

/* Enter an open file.  The store owns fd from now on, also on failure. */
int ckpti_store_add_file(struct ckpti_store *st, uint32_t id, int fd, const char *name,
			 uint64_t size);
struct store_file *ckpti_store_file_by_id(const struct ckpti_store *st, uint32_t id);
struct store_file *ckpti_store_file_by_name(const struct ckpti_store *st, const char *name);
void ckpti_store_drop_files(struct ckpti_store *st);

/* ---- refs.c ------------------------------------------------------------------------------- */

/* Read and check a generation file. */
int ckpti_store_read(struct ckpti_store *st, uint64_t gen, struct ckpti_image *img,
		     struct ckpti_err *err);
/* Find the data files that no generation refers to, drop leftovers of dead writers. */
int ckpti_store_tidy(struct ckpti_store *st, struct ckpti_err *err);
/* After a commit: drop generations beyond the newest `keep` and what only they referred to. */
void ckpti_store_prune(struct ckpti_store *st, unsigned keep);

/* ---- share.c ------------------------------------------------------------------------------ */

/* Put the pin `name` of `size` bytes into st by a link to the shared one; false: it is not there or
 * does not fit. */
bool ckpti_store_link_shared(struct ckpti_store *st, const char *name, off_t size, bool exec);
/* Let others share the pin that st has just made. */
void ckpti_store_offer_shared(struct ckpti_store *st, const char *name, off_t size, bool exec);
/* Drop shared pins that nobody links any more. */
void ckpti_store_sweep_shared(struct ckpti_store *st);

/* ---- cache.c ------------------------------------------------------------------------------ */

/* 1 and *ret_hash when a file with this stat was hashed before. */
int ckpti_store_cache_get(struct ckpti_store *st, const struct stat *sb, uint64_t ret_hash[2]);
void ckpti_store_cache_put(struct ckpti_store *st, const struct stat *sb, const uint64_t hash[2]);
void ckpti_store_cache_save(struct ckpti_store *st);

/* ---- io.c --------------------------------------------------------------------------------- */

#define IO_CHUNK (1U << 20)

int ckpti_store_write_all(int fd, const void *buf, size_t len);
/* Exactly len bytes; -EBADMSG when the file ends before. */
int ckpti_store_read_at(int fd, void *buf, size_t len, uint64_t off);
/* XXH3-128 of a whole file, *ret_size what was read. */
int ckpti_store_hash_fd(int fd, uint64_t ret_hash[2], uint64_t *ret_size);

#endif
