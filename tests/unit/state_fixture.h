/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A checkpoint and a restart of descriptors within one test program: real kernel objects, the rows of
 * src/state, a real image that is sealed and parsed in between, and a data file in place of a
 * store.
 */
#ifndef CKPT_TESTS_STATE_FIXTURE_H
#define CKPT_TESTS_STATE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "state/state.h"

#define T_GENERATION 7
#define T_MAX        16

struct t_state {
	char dir[PATH_MAX / 2]; /* of this test; removed afterwards */
	struct ckpti_image saved, img;
	struct ckpti_capture cap;
	struct ckpti_desc desc[T_MAX];
	struct ckpti_rebuild rb;
	struct ckpti_redesc redesc[T_MAX];
	struct ckpti_locks *locks;
	struct ckpti_err err;
};

int t_state_setup(void **state);
int t_state_teardown(void **state);

/* DIR/name; the result lives in one of eight static buffers. */
const char *t_path(struct t_state *t, const char *name);
void t_write(const char *path, const char *text);
void t_append(const char *path, const char *text);
void t_expect_content(const char *path, const char *text);
bool t_exists(const char *path);
/* How many directory entries the test's directory has. */
int t_count_files(struct t_state *t);

/* Describe fd as descriptor `num` and find its row; 0 or the probe's error. */
int t_add_as(struct t_state *t, int fd, int num);
int t_add(struct t_state *t, int fd); /* must succeed */
void t_drop(struct t_state *t);       /* all that were added */
/* Save all; 0 or the first error. */
int t_save(struct t_state *t);
/* Read the image anew and prepare a restart. */
void t_reload(struct t_state *t);
/* check of all rows, then restore, finish and locks; 0 or the first error. */
int t_check(struct t_state *t);
int t_restore(struct t_state *t);
int t_settle(struct t_state *t);
/* Forget what was restored: the next life starts from the same image. */
void t_forget(struct t_state *t);
int t_fd(struct t_state *t, unsigned n); /* restored descriptor n, from 0 in the order of t_add() */

#endif
