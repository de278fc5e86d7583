/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Files of MPI in a new life: see remake.h.  Opened again as they are, whatever the first open was to
 * do to them; views, positions and hints are set again.
 */
#include "shim/remake.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shim/shim.h"

/* Of the first open only. */
#define ONCE (MPI_MODE_CREATE | MPI_MODE_EXCL | MPI_MODE_DELETE_ON_CLOSE)

struct recipe {
	struct ckpti_mpi_members members;
	struct ckpti_mpi_errors errors;
	char *info;
	int amode, atomic;
	MPI_Offset disp, position, shared_position;
	struct ckpti_mpi_handle *etype, *filetype;
	char datarep[MPI_MAX_DATAREP_STRING];
};

/* ---- notes ------------------------------------------------------------------------------------------ */

/* MPI does not tell the name.  It may have a file system's name in front, or depend on the directory
 * that is the present one. */
void ckpti_mpi_file_opened(MPI_File file, const char *name)
{
	struct ckpti_mpi_handle *h = (void *)file;
	bool relative = name[0] != '/' && !strchr(name, ':');
	char dir[PATH_MAX] = "", *path = NULL;

	if (relative && getcwd(dir, sizeof(dir)) && asprintf(&path, "%s/%s", dir, name) < 0)
		path = NULL;
	h->memory = path ? path : strdup(name);
	if (!h->memory)
		ckpti_mpi_fatal("no memory for a file's name");
}

/* To ask for the shared position would set up what few programs need, on all ranks. */
void ckpti_mpi_file_shared(MPI_File file)
{
	struct ckpti_mpi_handle *h = (void *)file;

	h->shared_position = true;
}

/* ---- before ----------------------------------------------------------------------------------------- */

static int save_view(struct recipe *c, MPI_File file, struct ckpti_err *err)
{
	MPI_Datatype etype = NULL, filetype = NULL;
	int r;

	r = ckpti_mpi_check(GUEST(MPI_File_get_view, file, &c->disp, &etype, &filetype, c->datarep),
			    "MPI_File_get_view", err);
	if (r == 0)
		r = ckpti_mpi_type_part(etype, &c->etype, err);
	if (r == 0)
		r = ckpti_mpi_type_part(filetype, &c->filetype, err);
	return r;
}

static int save(struct ckpti_mpi_handle *h, struct ckpti_err *err)
{
	MPI_Errhandler errors = NULL;
	MPI_File file = h->real;
	MPI_Group group = NULL;
	MPI_Info info = NULL;
	struct recipe *c;
	int r, ret;

	ckpti_mpi_recipe_drop(h);
	c = ckpti_mpi_note(h, sizeof(*c));
	r = ckpti_mpi_check(GUEST(MPI_File_get_group, file, &group), "MPI_File_get_group", err);
	if (r == 0)
		r = ckpti_mpi_members_save(h, group, &c->members, err);
	if (r == 0)
		r = ckpti_mpi_check(GUEST(MPI_File_get_info, file, &info), "MPI_File_get_info",
				    err);
	if (r == 0)
		c->info = ckpti_mpi_info_save(h, info);
	if (r == 0)
		r = ckpti_mpi_check(GUEST(MPI_File_get_errhandler, file, &errors),
				    "MPI_File_get_errhandler", err);
	if (r == 0) {
		ckpti_mpi_errors_save(errors, &c->errors);
		r = save_view(c, file, err);
	}
	if (r < 0)
		return r;
	ret = GUEST(MPI_File_get_amode, file, &c->amode);
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_File_get_atomicity, file, &c->atomic);
	if (ret == MPI_SUCCESS && !(c->amode & MPI_MODE_SEQUENTIAL))
		ret = GUEST(MPI_File_get_position, file, &c->position);
	if (ret == MPI_SUCCESS && h->shared_position)
		ret = GUEST(MPI_File_get_position_shared, file, &c->shared_position);
	return ckpti_mpi_check(ret, "reading a file's state", err);
}

int ckpti_mpi_files_save(struct ckpti_err *err)
{
	int r = 0;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_FILE); r == 0 && h;
	     h = h->next)
		r = save(h, err);
	return r;
}

/* ---- again ------------------------------------------------------------------------------------------ */

/* One member may have used the shared position and the others not: all must set it. */
static int set_shared(struct ckpti_mpi_handle *h, const struct recipe *c, MPI_Comm comm,
		      MPI_File file)
{
	MPI_Offset mine = h->shared_position ? c->shared_position : -1, all = -1;
	int ret = GUEST(MPI_Allreduce, &mine, &all, 1, ckpti_mpi_real(MPI_OFFSET),
			ckpti_mpi_real(MPI_MAX), comm);

	if (ret == MPI_SUCCESS && all >= 0)
		ret = GUEST(MPI_File_seek_shared, file, all, MPI_SEEK_SET);
	return ret;
}

static int set_state(struct ckpti_mpi_handle *h, const struct recipe *c, MPI_Comm comm,
		     MPI_File file)
{
	MPI_Info none = ckpti_mpi_real(MPI_INFO_NULL);
	int ret = GUEST(MPI_File_set_view, file, c->disp, c->etype->real, c->filetype->real,
			c->datarep, none);

	if (ret == MPI_SUCCESS && c->atomic)
		ret = GUEST(MPI_File_set_atomicity, file, c->atomic);
	if (ret == MPI_SUCCESS && !(c->amode & MPI_MODE_SEQUENTIAL))
		ret = GUEST(MPI_File_seek, file, c->position, MPI_SEEK_SET);
	if (ret == MPI_SUCCESS)
		ret = set_shared(h, c, comm, file);
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_File_set_errhandler, file, ckpti_mpi_errors_again(&c->errors));
	return ret;
}

static int again(struct ckpti_mpi_handle *h, struct ckpti_err *err)
{
	const struct recipe *c = h->recipe;
	MPI_Info info = ckpti_mpi_info_again(c->info);
	MPI_File file = NULL;
	MPI_Comm comm = NULL;
	int ret, r;

	r = ckpti_mpi_members_comm(&c->members, ckpti_mpi_order_tag(h), &comm, err);
	if (r < 0)
		return r;
	ret = GUEST(MPI_File_open, comm, h->memory, c->amode & ~ONCE, info, &file);
	if (info != ckpti_mpi_real(MPI_INFO_NULL))
		(void)GUEST(MPI_Info_free, &info);
	if (ret != MPI_SUCCESS)
		r = ckpti_err(err, -EIO, "file '%s' cannot be opened again: error %d",
			      (char *)h->memory, ret);
	if (r == 0)
		r = ckpti_mpi_check(set_state(h, c, comm, file), "setting a file's state", err);
	(void)GUEST(MPI_Comm_free, &comm);
	if (r == 0)
		ckpti_mpi_handle_again(h, file);
	return r;
}

int ckpti_mpi_files_again(struct ckpti_err *err)
{
	size_t n = 0;
	struct ckpti_mpi_handle **list = ckpti_mpi_in_order(CKPTI_MPI_FILE, &n);
	int r = list ? 0 : ckpti_err(err, -ENOMEM, "no memory for files");

	for (size_t i = 0; r == 0 && i < n; i++)
		r = again(list[i], err);
	free(list);
	return r;
}
