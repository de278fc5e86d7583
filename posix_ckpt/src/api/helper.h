/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The program cpr at work for a call of this process.
 *
 * The calling process may be checkpointed while it waits, and then wakes up in a new life in which
 * cpr, its result and the descriptors that lead to them do not exist: their numbers may belong to the
 * program by then.  So every use of a descriptor asks ckpti_agent.restarts first, under a hold.
 */
#ifndef CKPT_API_HELPER_H
#define CKPT_API_HELPER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/err.h"
#include "util/result.h"

struct ckpti_helper {
	int result_fd;     /* memfd that takes struct ckpti_result */
	int wait_fd;       /* readable when cpr has ended, or (restart) when it is ready */
	pid_t pid;         /* restart: child of ours; create: nobody's child, 0 */
	uint32_t restarts; /* the life it belongs to */
};

enum ckpti_helper_mode {
	CKPTI_HELPER_CREATE, /* not a child; session of its own; no standard descriptors */
	CKPTI_HELPER_RESTART /* a child, which hands descriptors 0 to 2 on to what it restarts */
};

/* argv[0] is "cpr"; options that concern the result are added by the caller.
 * -EBUSY: too many of them in this process; -ENOPKG: the program is not there. */
int ckpti_helper_start(struct ckpti_helper *h, enum ckpti_helper_mode mode, char *const argv[],
		       struct ckpti_err *err);

/* Wait at most ms milliseconds, -1 for ever.  1: it has ended, or this is a new life; 0: not yet. */
int ckpti_helper_wait(const struct ckpti_helper *h, int ms);

/* This process was restarted since the start: h leads nowhere. */
bool ckpti_helper_is_gone(const struct ckpti_helper *h);

/* After the wait.  Returns 1 in a new life; else 0 or cpr's own -errno, with *ret filled in and the
 * descriptors closed. */
int ckpti_helper_finish(struct ckpti_helper *h, struct ckpti_result *ret, struct ckpti_err *err);

/* locate.c: where cpr lies; ret has PATH_MAX bytes. */
int ckpti_helper_locate(char *ret, struct ckpti_err *err);
/* locate.c: the environment for cpr; free() the array. */
char **ckpti_helper_environ(void);

/* spawn.c */
struct ckpti_spawn {
	const char *path;
	char *const *argv;
	char *const *envp;
	int result_fd;
	int ready_fd; /* -1: none */
	bool detach;
	/* out */
	pid_t pid;
	int pid_fd; /* only with detach */
	int error;  /* errno of what failed */
};

/* All signals must be blocked.  0 or -errno. */
int ckpti_spawn(struct ckpti_spawn *s);

#endif
