/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the files of the public API share.  Inside, functions return 0 or -errno and fill a struct
 * ckpti_err; a public function turns that into -1, errno and ckpt_lasterror() with ckpti_api_fail(),
 * in its last line.
 */
#ifndef CKPT_API_API_PRIVATE_H
#define CKPT_API_API_PRIVATE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ckpt.h"
#include "util/err.h"

/* ---- error.c ------------------------------------------------------------------------------ */

/* Keep the detail of a failure for this thread; sets errno to -code and returns -1. */
int ckpti_api_fail(enum ckpt_error_at at, int code, const struct ckpti_err *err);

/* ---- args.c: the argument vector ---------------------------------------------------------- */

#define API_LIST_MAX 64 /* elements of one kind */

enum api_call {
	API_SETUP = 1,
	API_CREATE = 2,
	API_RESTART = 4
};

struct api_hook {
	enum ckpt_event event;
	struct ckpt_fn fn;
};

/* The arguments of one call, or the defaults.  Strings belong to whoever gave them: to the caller for
 * the time of the call, or to the defaults, which never free one. */
struct api_opts {
	unsigned long flags;
	bool have_flags;
	bool have_timeout;
	unsigned timeout_ms;
	int signo; /* 0: none */
	int lock;  /* CKPT_LOCK: 1, 0, or -1 when it was not given */
	ckpt_handle_t *handle;
	size_t nids, nhooks, npolicies, nrelocs;
	ckpt_id_t ids[API_LIST_MAX];
	struct api_hook hooks[API_LIST_MAX];
	struct ckpt_file_policy policies[API_LIST_MAX];
	struct ckpt_relocate relocs[API_LIST_MAX];
};

/* Arguments of a call, with the defaults added; *ret is malloc'ed, free() it. */
int ckpti_args_read(struct ckpt_args *args[], size_t nargs, enum api_call call,
		    struct api_opts **ret, struct ckpti_err *err);
/* Call the functions for `event` in order until one says no; returns how many of opts->hooks were
 * looked at (all of them when nobody refused). */
size_t ckpti_args_run_hooks(const struct api_opts *opts, enum ckpt_event event);
/* Tell the first n PRECREATE functions that there was no checkpoint. */
void ckpti_args_abort_hooks(const struct api_opts *opts, size_t n);
/* Functions given to ckpt_setup(); *ret is the caller's. */
void ckpti_args_setup_hooks(struct api_opts *ret);
/* Directory of ckpt_setup() or CKPT_DIR; ret has PATH_MAX bytes.  0 or -ENOENT. */
int ckpti_args_directory(char *ret, struct ckpti_err *err);

/* ---- lock.c ------------------------------------------------------------------------------- */

/* One lock for all state of the API.  Never held while a function of the program is called. */
void ckpti_api_lock(void);
void ckpti_api_unlock(void);
/* See to it that fork() leaves a usable library in the child; ckpti_api_lock() does it too. */
void ckpti_api_watch_fork(void);

/* ---- hold.c ------------------------------------------------------------------------------- */

/* How many holds the calling thread has. */
unsigned ckpti_hold_depth(void);
/* No checkpoint between the two, for a few instructions of the library itself. */
void ckpti_hold_enter(void);
void ckpti_hold_leave(void);
void ckpti_hold_after_fork(void);

/* ---- memory.c ----------------------------------------------------------------------------- */

int ckpti_exclude_add(void *addr, size_t len, struct ckpti_err *err);

/* ---- atckpt.c, service.c ------------------------------------------------------------------ */

/* Handlers in the order of their registration. */
struct api_handlers {
	void (**fn)(void);
	size_t n;
};
/* Copies of the two lists; free() the fn of each.  0 or -ENOMEM. */
int ckpti_atckpt_copy(struct api_handlers *ret_checkpoint, struct api_handlers *ret_restart);

/* Is the caller a handler that the service thread runs? */
bool ckpti_service_inside(void);
/* Start the service thread unless it runs: from now on it is told before each checkpoint. */
int ckpti_service_start(struct ckpti_err *err);
void ckpti_service_after_fork(void);
/* coordinator.c: the one that has sent this nonce has ended. */
bool ckpti_coordinator_is_gone(uint64_t nonce);

/* ---- futex.c ------------------------------------------------------------------------------ */

/* Sleep while *word == value, at most ms milliseconds (-1: for ever).  May return early. */
void ckpti_futex_sleep(const uint32_t *word, uint32_t value, int ms);

#endif
