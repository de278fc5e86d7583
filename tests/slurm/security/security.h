/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests of what users can do to each other: processes of several users, and munged of the test's own.
 * ALICE owns the step, BOB is somebody else.
 */
#ifndef TESTS_SLURM_SECURITY_H
#define TESTS_SLURM_SECURITY_H

#include <stdio.h>
#include <sys/types.h>

#define ALICE 61001U
#define BOB   61002U

/* In functions that run as somebody: 0 is good, so is the value of the function. */
#define REQUIRE(condition)                                                                    \
	do {                                                                                  \
		if (!(condition)) {                                                           \
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			return 1;                                                             \
		}                                                                             \
	} while (0)

/* fn(arg) in a process of its own that is `uid` and nothing else, within 20 s.  Fails the test unless it
 * returns 0. */
void run_as(uid_t uid, int (*fn)(void *arg), void *arg);

/* Directory of the test in which everybody may look, and munged's sockets are: set by start_munged(). */
extern char munged_dir[];
/* Setup and teardown of a group: two munged with different keys, "site", which spank/lib uses, and "foreign". */
int start_munged(void **state);
int stop_munged(void **state);
/* From now on spank/lib uses this one. */
void munged_use(const char *name);

/* Ends the program with 77 when it does not run as root, or munged is needed and not there. */
void need_root(void);
void need_munged(void);

#endif
