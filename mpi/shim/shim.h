/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The shim: a libmpi.so.40 without MPI.  Each function translates handles, enters the guest, calls the
 * real one and leaves, once per call.
 */
#ifndef CKPT_MPI_SHIM_H
#define CKPT_MPI_SHIM_H

#include <stdbool.h>

#include "calls.h"
#include "guest/guest.h"
#include "shim/coll.h"
#include "shim/gate.h"
#include "shim/handle.h"

/* The guest's functions; all of them are set once a guest is loaded. */
extern struct ckpti_mpi_calls ckpti_mpi;

/* PMPI_x is the function; MPI_x is for tools to replace. */
#define CKPTI_MPI_WEAK(name) __typeof__(P##name) name __attribute__((weak, alias("P" #name)));

/* Made by generate.py: functions, then predefined objects. */
extern const char *const ckpti_mpi_names[];
extern const size_t ckpti_mpi_ncalls;

/* For functions written by hand.  Function and arguments are read when the thread has passed the gate. */
#define GUEST(name, ...)                                                   \
	({                                                                 \
		struct ckpti_guest_thread *self_ = ckpti_mpi_call_begin(); \
		__typeof__(ckpti_mpi.name(__VA_ARGS__)) ret_;              \
                                                                           \
		ckpti_guest_enter(self_);                                  \
		ret_ = ckpti_mpi.name(__VA_ARGS__);                        \
		ckpti_guest_leave(self_);                                  \
		ckpti_mpi_call_end(self_);                                 \
		ret_;                                                      \
	})

/* For a message that cannot be returned: MPI_ERRORS_ARE_FATAL of our own. */
void ckpti_mpi_fatal(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* mpi4.c: says so, and returns an error. */
int ckpti_mpi_unsupported(const char *name);

/* init.c */
bool ckpti_mpi_loading(void);
extern bool ckpti_mpi_running; /* MPI is initialized and not finalized */
/* The thread that has started MPI; it may have ended. */
const struct ckpti_guest_thread *ckpti_mpi_starter(void);

/* hooks.c */
void ckpti_mpi_hooks_register(void);

/* object.c: lengths of arrays of the w-collectives */
int ckpti_mpi_peers(MPI_Comm comm);
int ckpti_mpi_neighbors(MPI_Comm comm, bool out);

/* attr.c: MPI_SUCCESS, an error class, or what the user's function has returned */
int ckpti_mpi_attrs_copy(struct ckpti_mpi_handle *from, struct ckpti_mpi_handle *to);
int ckpti_mpi_attrs_delete(struct ckpti_mpi_handle *handle);

/* callback.c: give up the thunk of an op or error handler */
void ckpti_mpi_callback_free(struct ckpti_mpi_handle *handle);

#endif
