/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Objects in a new life: remake_*.c have for each kind one function that writes down what is needed,
 * asked of the guest while the cut stands, and one that makes all objects of the kind again.  What is
 * written down hangs on the handle: its recipe.
 *
 * Everything here runs on the library's thread while the application's are held.  Ranks are those of
 * MPI_COMM_WORLD: there are no others, for processes are not spawned.
 */
#ifndef CKPT_MPI_REMAKE_H
#define CKPT_MPI_REMAKE_H

#include "shim/handle.h"
#include "util/err.h"

/* ---- recipes ---------------------------------------------------------------------------------- */

/* Memory of a handle's recipe, zeroed; what is asked for first is the recipe itself. */
void *ckpti_mpi_note(struct ckpti_mpi_handle *h, size_t size);
void ckpti_mpi_recipe_drop(struct ckpti_mpi_handle *h);

/*
 * The handles of a kind that have a recipe, in an order that is the same on all ranks: that of the
 * numbers by which the ranks know their objects (coll.h).  For the caller to free; NULL: no memory.
 */
struct ckpti_mpi_handle **ckpti_mpi_in_order(enum ckpti_mpi_kind kind, size_t *ret_n);
/* For messages about an object that is made again. */
int ckpti_mpi_order_tag(const struct ckpti_mpi_handle *h);

/* -EIO and a text, when a call of the guest has failed. */
int ckpti_mpi_check(int ret, const char *call, struct ckpti_err *err);

/* ---- parts of recipes --------------------------------------------------------------------------- */

struct ckpti_mpi_members {
	int n;
	int *rank;
};
/* The group is the guest's and is freed. */
int ckpti_mpi_members_save(struct ckpti_mpi_handle *h, MPI_Group group,
			   struct ckpti_mpi_members *ret, struct ckpti_err *err);
/* The guest's, for the caller to free. */
int ckpti_mpi_members_group(const struct ckpti_mpi_members *m, MPI_Group *ret,
			    struct ckpti_err *err);
int ckpti_mpi_members_comm(const struct ckpti_mpi_members *m, int tag, MPI_Comm *ret,
			   struct ckpti_err *err);

/* An error handler; the application may have freed it. */
struct ckpti_mpi_errors {
	struct ckpti_mpi_handle *predefined; /* else: */
	int callback;
};
/* The error handler is the guest's and is freed. */
void ckpti_mpi_errors_save(MPI_Errhandler real, struct ckpti_mpi_errors *ret);
/* The guest's. */
MPI_Errhandler ckpti_mpi_errors_again(const struct ckpti_mpi_errors *e);

/* Key, null byte, value, null byte …; the last key is empty.  The info is the guest's and is freed. */
char *ckpti_mpi_info_save(struct ckpti_mpi_handle *h, MPI_Info info);
/* The guest's, for the caller to free; of no keys: its MPI_INFO_NULL. */
MPI_Info ckpti_mpi_info_again(const char *text);

/* Ours for a datatype that the guest has shown; a reference that came with it is freed. */
int ckpti_mpi_type_part(MPI_Datatype real, struct ckpti_mpi_handle **ret, struct ckpti_err *err);

/* ---- notes: what MPI would not tell, when the call has succeeded ---------------------------------- */

void ckpti_mpi_win_fenced(MPI_Win win, int assertion);
void ckpti_mpi_win_attached(MPI_Win win, void *base, MPI_Aint size);
void ckpti_mpi_win_detached(MPI_Win win, const void *base);
void ckpti_mpi_file_opened(MPI_File file, const char *name);
void ckpti_mpi_file_shared(MPI_File file);

/* ---- the kinds ---------------------------------------------------------------------------------- */

void ckpti_mpi_errhandlers_save(void);
int ckpti_mpi_errhandlers_again(struct ckpti_err *err);
int ckpti_mpi_infos_save(struct ckpti_err *err);
int ckpti_mpi_infos_again(struct ckpti_err *err);
int ckpti_mpi_ops_save(struct ckpti_err *err);
int ckpti_mpi_ops_again(struct ckpti_err *err);
int ckpti_mpi_types_save(struct ckpti_err *err);
int ckpti_mpi_types_again(struct ckpti_err *err);
int ckpti_mpi_groups_save(struct ckpti_err *err);
int ckpti_mpi_groups_again(struct ckpti_err *err);
int ckpti_mpi_comms_save(struct ckpti_err *err);
int ckpti_mpi_comms_again(struct ckpti_err *err);
int ckpti_mpi_windows_save(struct ckpti_err *err);
int ckpti_mpi_windows_again(struct ckpti_err *err);
int ckpti_mpi_files_save(struct ckpti_err *err);
int ckpti_mpi_files_again(struct ckpti_err *err);

/* ---- callback.c ----------------------------------------------------------------------------------- */

/* The guest has made this error handler from one of ours: which; -1: none. */
int ckpti_mpi_error_thunk_of(const void *real);
/* The guest's handler of a thunk; NULL: there is no such thunk. */
void *ckpti_mpi_error_thunk(int number);
int ckpti_mpi_error_thunks_again(struct ckpti_err *err);
void *ckpti_mpi_op_thunk(int number);

#endif
