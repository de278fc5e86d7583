/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A scratch directory, and generations whose content follows from a seed, so that a reader can tell
 * which one it got.
 */
#ifndef TESTS_UNIT_STORE_FIXTURE_H
#define TESTS_UNIT_STORE_FIXTURE_H

#include <limits.h>

#include "store/store.h"

struct scratch {
	char root[PATH_MAX]; /* made by setup, removed with everything in it by teardown */
	char dir[PATH_MAX];  /* root/state: does not exist at first */
};

int scratch_setup(void **state);
int scratch_teardown(void **state);

/* Path of a file in the statefile directory; static storage, two at a time. */
const char *in_dir(const struct scratch *s, const char *name);

/* Write one generation: two data files, pin of /bin/true when pin is set.  0 or -errno; *err is
 * filled on failure. */
int write_generation(const char *dir, unsigned flags, unsigned seed, unsigned keep, int pin,
		     struct ckpti_err *err);
/* The same as an open store, before the commit. */
int begin_generation(const char *dir, unsigned flags, unsigned seed, int pin,
		     struct ckpti_store **ret, struct ckpti_image *img, struct ckpti_err *err);
int commit_generation(struct ckpti_store *st, struct ckpti_image *img, unsigned keep,
		      struct ckpti_err *err);

/* Load generation gen, verify, compare every byte with what `seed` gives.  0 or -errno; -EILSEQ for
 * other content. */
int check_generation(const char *dir, uint64_t gen, unsigned seed, struct ckpti_err *err);
int check_loaded(struct ckpti_store *st, const struct ckpti_image *img, unsigned seed,
		 struct ckpti_err *err);

/* How many entries start with prefix. */
unsigned count_files(const struct scratch *s, const char *prefix);

/* Change one byte of a file. */
void flip_byte(const char *path, long at);

#endif
