/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ckpt_hooks.h - interface for plug-ins that live inside a checkpointed process beside the
 * application: an MPI library, a device runtime, a profiler.  (Ours; since 0.1.)
 *
 * A plug-in owns resources that must not enter the image: threads that block every signal, sockets of
 * an interconnect, its private memory.  It names them through the predicates; they are left out of
 * the count, of the image and of the restart, and the plug-in makes them anew in after_restart.
 *
 * Context: the predicates, before_image, after_continue and after_restart are called in the signal
 * handler of one thread while all other threads of the process stand still.  They may use
 * async-signal-safe functions only, and must return.  quiesce is called before anything stops.
 */
#ifndef CKPT_HOOKS_H
#define CKPT_HOOKS_H 1

/* ckpt_launch_environment(): a plug-in finds its new launch there. */
#include <ckpt.h>

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef CKPT_API
#define CKPT_API __attribute__((visibility("default")))
#endif

#define CKPT_HOOKS_VERSION 1

struct ckpt_hooks {
	uint32_t version; /* CKPT_HOOKS_VERSION */
	const char *name; /* for messages; must stay valid */
	void *arg;        /* handed to each call */

	/* Predicates: non-zero leaves the object out.  NULL: nothing is left out. */
	int (*foreign_task)(void *arg, int tid);
	int (*foreign_fd)(void *arg, int fd);
	int (*foreign_map)(void *arg, uintptr_t start, uintptr_t end); /* a whole mapping */
	int (*foreign_timer)(void *arg, int timer_id); /* kernel id of a POSIX timer */

	/* Before the stop, in the context of the requesting signal.  Non-zero: not now, try later. */
	int (*quiesce)(void *arg);
	/* All threads stand; the image is about to be taken.  Non-zero: give up this checkpoint. */
	int (*before_image)(void *arg);
	/* The image was taken (or given up): threads are about to go on.  Once after each quiesce that
	 * has agreed. */
	void (*after_continue)(void *arg);
	/* This process has been restarted; foreign objects do not exist any more. */
	void (*after_restart)(void *arg);
};

/*
 * Register or remove a plug-in.  *hooks must stay valid until it is removed.
 * Returns 0, or -1 with errno EINVAL (version), ENOSPC (more than 8), ENOENT (remove: not there).
 * Thread-safe, not async-signal-safe.
 */
CKPT_API int ckpt_hooks_register(const struct ckpt_hooks *hooks);
CKPT_API int ckpt_hooks_remove(const struct ckpt_hooks *hooks);

#ifdef __cplusplus
}
#endif
#endif
