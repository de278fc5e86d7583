/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A set of one process, the test itself: its descriptors are put into the set, saved, closed and
 * restored at their old numbers, without the rest of a checkpoint.
 */
#ifndef CKPT_TESTS_SOCKETS_FIXTURE_H
#define CKPT_TESTS_SOCKETS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "state/kinds.h"

#define W_MAX 16

struct world {
	struct ckpti_image img;
	struct ckpti_desc desc[W_MAX];
	struct ckpti_capture cap;
	struct ckpti_redesc redesc[W_MAX];
	struct ckpti_rebuild rb;
	struct ckpti_err err;
};

int w_setup(void **state);
int w_teardown(void **state);

/* Put descriptor `num` into the set. */
struct ckpti_desc *w_add(struct world *w, int num);
int w_save(struct world *w); /* 0 or the first error */
/* The program ends: nothing of the originals is left. */
void w_forget(struct world *w);
/* Restore all; afterwards the old numbers are valid again. */
int w_restore(struct world *w);
void w_save_and_restore(struct world *w);
void w_expect_refusal(struct world *w, int code, const char *text);

/* What a program sees. */
void put(int fd, const char *text);
/* Write until the other end's queue and our own are full; returns how much. */
size_t put_until_full(int fd, unsigned seed);
void expect_text(int fd, const char *text);
/* Read exactly len bytes and compare with the pattern, then nothing more may come. */
void expect_pattern(int fd, size_t len, unsigned seed);
void expect_empty(int fd);
int int_option(int fd, int level, int name);
void set_option(int fd, int level, int name, int v);

#endif
