/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a checkpoint must know of the guest: its threads, descriptors and memory are left out.  Before
 * it, on the library's thread, the ranks agree on a cut (cut.h) and what a new life needs is written
 * down (restart.h); then the image is taken while no thread of the application is inside, where its
 * registers and its stack would lead into a guest that is not there any more after a restart.
 */
#include "shim/shim.h"

#include <stdio.h>
#include <unistd.h>

#include "ckpt.h"
#include "ckpt_hooks.h"
#include "shim/cut.h"
#include "shim/restart.h"
#include "shim/segment.h"

/* Without libckpt there is nobody to tell. */
#pragma weak ckpt_hooks_register
#pragma weak ckpt_setup

/* The cut stands and everything is written down. */
static bool prepared;

/* ---- in a signal handler ---------------------------------------------------------------------- */

static int foreign_task(void *arg, int tid)
{
	(void)arg;
	return ckpti_guest_has_task(tid);
}

static int foreign_fd(void *arg, int fd)
{
	(void)arg;
	return ckpti_guest_has_fd(fd);
}

static int foreign_map(void *arg, uintptr_t start, uintptr_t end)
{
	(void)arg;
	return ckpti_guest_has_range(start, end) || ckpti_mpi_segment_has(start, end);
}

/* The handler that asks may have interrupted a call: then not even its own thread is outside. */
static int quiesce(void *arg)
{
	(void)arg;
	return ckpti_mpi_loading() || ckpti_guest_inside() != 0;
}

static int before_image(void *arg)
{
	struct ckpti_err err = {0};

	(void)arg;
	return ckpti_guest_inside() != 0 || ckpti_mpi_loading() ||
	       (ckpti_mpi_running && !prepared) || ckpti_guest_check_counts(&err) < 0 ||
	       ckpti_mpi_segments_copy() < 0;
}

static void after_restart(void *arg)
{
	(void)arg;
	ckpti_mpi_lost();
}

static const struct ckpt_hooks hooks = {
	.version = CKPT_HOOKS_VERSION,
	.name = "MPI",
	.foreign_task = foreign_task,
	.foreign_fd = foreign_fd,
	.foreign_map = foreign_map,
	.quiesce = quiesce,
	.before_image = before_image,
	.after_restart = after_restart,
};

/* ---- on the library's thread ------------------------------------------------------------------- */

static int refused(const struct ckpti_err *err)
{
	fprintf(stderr, "posix-ckpt: MPI: no checkpoint: %s\n", err->text);
	return 1;
}

static int before(enum ckpt_event event, void *arg)
{
	struct ckpti_err err = {0};

	(void)arg;
	if (event == CKPT_EV_ABORTED) {
		if (prepared) {
			ckpti_mpi_segments_end();
			ckpti_mpi_cut_end(true);
		}
		prepared = false;
		return 0;
	}
	if (!ckpti_mpi_running)
		return 0;
	ckpti_mpi_segments_begin();
	if (ckpti_mpi_cut_begin(&err) < 0)
		return refused(&err);
	if (ckpti_mpi_save(&err) < 0) {
		ckpti_mpi_segments_end();
		ckpti_mpi_cut_end(true);
		return refused(&err);
	}
	prepared = true;
	return 0;
}

static int after(enum ckpt_event event, void *arg)
{
	(void)event;
	(void)arg;
	if (prepared) {
		ckpti_mpi_segments_end();
		ckpti_mpi_cut_end(false);
	}
	prepared = false;
	return 0;
}

static int restarted(enum ckpt_event event, void *arg)
{
	(void)event;
	(void)arg;
	prepared = false;
	ckpti_mpi_restart();
	return 0;
}

static int set_up(void)
{
	struct ckpt_fn fn[] = {{before, NULL}, {after, NULL}, {restarted, NULL}};
	struct ckpt_args before_arg = {CKPT_PRECREATE, &fn[0]};
	struct ckpt_args after_arg = {CKPT_POSTCREATE, &fn[1]};
	struct ckpt_args restarted_arg = {CKPT_POSTRESTART, &fn[2]};
	struct ckpt_args *args[] = {&before_arg, &after_arg, &restarted_arg};

	return ckpt_setup(args, 3);
}

void ckpti_mpi_hooks_register(void)
{
	if (!ckpt_hooks_register || !ckpt_setup)
		return;
	if (ckpt_hooks_register(&hooks) < 0 || set_up() < 0)
		ckpti_mpi_fatal("this process cannot be checkpointed: the plug-in is refused");
}
