/* SPDX-License-Identifier: BSD-3-Clause */
/* Steps in a scratch directory, with parts that the store of cpr has written. */
#ifndef TESTS_SLURM_STEP_FIXTURE_H
#define TESTS_SLURM_STEP_FIXTURE_H

#include "spank/lib/step.h"

#define NTASKS 3U

struct base {
	char path[64]; /* made by setup, removed with everything in it by teardown */
};

int base_setup(void **state);
int base_teardown(void **state);

/* Job 5, step 1, and a key that begins with `key`. */
struct ckpti_step_id sample_id(char key);

/* Write the next generation of a task's part; returns its number. */
uint64_t write_part(const struct ckpti_step *st, uint32_t epoch, uint32_t rank);
/* Parts of all tasks but the last, which has ended, and the manifest around them. */
void make_manifest(const struct ckpti_step *st, uint32_t epoch, uint64_t generation,
		   struct ckpti_manifest *ret);
/* make_manifest() and commit; 0 or -errno. */
int add_generation(struct ckpti_step *st, uint32_t epoch, uint64_t generation,
		   struct ckpti_err *err);

/* Path below the base; static storage, four at a time. */
const char *below(const struct base *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool exists(const char *path);
void write_text(const char *path, const char *text);

#endif
