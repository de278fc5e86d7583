/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a checkpoint must know of the guest: its threads, descriptors and memory are left out.  A
 * checkpoint is taken while no thread of the application is inside: its registers and its stack would
 * lead into a guest that is not there any more after a restart.
 */
#include "shim/shim.h"

#include <unistd.h>

#include "ckpt_hooks.h"

/* Without libckpt there is nobody to tell. */
#pragma weak ckpt_hooks_register

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
	return ckpti_guest_has_range(start, end);
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
	return ckpti_guest_inside() != 0 || ckpti_mpi_loading() || ckpti_mpi_shared_windows ||
	       ckpti_guest_check_counts(&err) < 0;
}

/* The guest is of the life before, and all threads would enter it. */
static void after_restart(void *arg)
{
	static const char text[] =
		"posix-ckpt: MPI: an MPI process lost its guest at the restart\n";

	(void)arg;
	(void)!write(STDERR_FILENO, text, sizeof(text) - 1);
	_exit(1);
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

void ckpti_mpi_hooks_register(void)
{
	if (ckpt_hooks_register && ckpt_hooks_register(&hooks) < 0)
		ckpti_mpi_fatal("this process cannot be checkpointed: the plug-in is refused");
}
