/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Windows in a new life: see remake.h.  The memory of a window is the application's, so it is there
 * again, at its address; a window is made over it.  No operation is under way: the cut has waited for
 * epochs that exclude others (epoch.c), and opens again what is locked for all.
 */
#include "shim/remake.h"

#include <errno.h>
#include <stdlib.h>

#include "shim/shim.h"

/* What MPI does not tell: noted when it happens, in the handle. */
struct region {
	struct region *next;
	void *base;
	MPI_Aint size;
};

struct recipe {
	struct ckpti_mpi_members members;
	struct ckpti_mpi_errors errors;
	char name[MPI_MAX_OBJECT_NAME];
	char *info;
	void *base;
	MPI_Aint size;
	int unit, flavor;
};

/* ---- notes --------------------------------------------------------------------------------------- */

void ckpti_mpi_win_fenced(MPI_Win win, int assertion)
{
	struct ckpti_mpi_handle *h = (void *)win;

	h->fenced = !(assertion & MPI_MODE_NOSUCCEED);
}

void ckpti_mpi_win_attached(MPI_Win win, void *base, MPI_Aint size)
{
	struct ckpti_mpi_handle *h = (void *)win;
	struct region *r = malloc(sizeof(*r));

	if (!r)
		ckpti_mpi_fatal("no memory for a window's region");
	*r = (struct region){h->regions, base, size};
	h->regions = r;
}

void ckpti_mpi_win_detached(MPI_Win win, const void *base)
{
	struct ckpti_mpi_handle *h = (void *)win;
	struct region **at = (struct region **)&h->regions, *r;

	while (*at && (*at)->base != base)
		at = &(*at)->next;
	r = *at;
	if (r)
		*at = r->next;
	free(r);
}

/* ---- before ---------------------------------------------------------------------------------------- */

static void *attribute(MPI_Win win, int key)
{
	void *value = NULL;
	int flag = 0;

	(void)GUEST(MPI_Win_get_attr, win, key, &value, &flag);
	return flag ? value : NULL;
}

static int save(struct ckpti_mpi_handle *h, struct ckpti_err *err)
{
	MPI_Errhandler errors = NULL;
	MPI_Group group = NULL;
	MPI_Info info = NULL;
	MPI_Win win = h->real;
	MPI_Aint *size = attribute(win, MPI_WIN_SIZE);
	int *unit = attribute(win, MPI_WIN_DISP_UNIT);
	int *flavor = attribute(win, MPI_WIN_CREATE_FLAVOR);
	struct recipe *c;
	int len = 0, r;

	ckpti_mpi_recipe_drop(h);
	c = ckpti_mpi_note(h, sizeof(*c));
	c->base = attribute(win, MPI_WIN_BASE);
	c->size = size ? *size : 0;
	c->unit = unit ? *unit : 1;
	c->flavor = flavor ? *flavor : MPI_WIN_FLAVOR_CREATE;
	r = ckpti_mpi_check(GUEST(MPI_Win_get_group, win, &group), "MPI_Win_get_group", err);
	if (r == 0)
		r = ckpti_mpi_members_save(h, group, &c->members, err);
	if (r == 0)
		r = ckpti_mpi_check(GUEST(MPI_Win_get_errhandler, win, &errors),
				    "MPI_Win_get_errhandler", err);
	if (r == 0)
		ckpti_mpi_errors_save(errors, &c->errors);
	if (r == 0)
		r = ckpti_mpi_check(GUEST(MPI_Win_get_info, win, &info), "MPI_Win_get_info", err);
	if (r == 0)
		c->info = ckpti_mpi_info_save(h, info);
	(void)GUEST(MPI_Win_get_name, win, c->name, &len);
	return r;
}

int ckpti_mpi_windows_save(struct ckpti_err *err)
{
	int r = 0;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_WIN); r == 0 && h;
	     h = h->next)
		r = save(h, err);
	return r;
}

/* ---- again ----------------------------------------------------------------------------------------- */

static int make(const struct ckpti_mpi_handle *h, const struct recipe *c, MPI_Comm comm,
		MPI_Win *ret)
{
	MPI_Info info = ckpti_mpi_info_again(c->info);
	int e;

	if (c->flavor == MPI_WIN_FLAVOR_DYNAMIC)
		e = GUEST(MPI_Win_create_dynamic, info, comm, ret);
	else
		e = GUEST(MPI_Win_create, c->base, c->size, c->unit, info, comm, ret);
	if (info != ckpti_mpi_real(MPI_INFO_NULL))
		(void)GUEST(MPI_Info_free, &info);
	for (const struct region *r = h->regions; e == MPI_SUCCESS && r; r = r->next)
		e = GUEST(MPI_Win_attach, *ret, r->base, r->size);
	return e;
}

static int again(struct ckpti_mpi_handle *h, struct ckpti_err *err)
{
	const struct recipe *c = h->recipe;
	MPI_Comm comm = NULL;
	MPI_Win win = NULL;
	int r, ret = MPI_SUCCESS;

	r = ckpti_mpi_members_comm(&c->members, ckpti_mpi_order_tag(h), &comm, err);
	if (r == 0)
		r = ckpti_mpi_check(make(h, c, comm, &win), "making a window", err);
	if (comm)
		(void)GUEST(MPI_Comm_free, &comm);
	if (r < 0)
		return r;
	if (c->name[0])
		ret = GUEST(MPI_Win_set_name, win, c->name);
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_Win_set_errhandler, win, ckpti_mpi_errors_again(&c->errors));
	if (ret == MPI_SUCCESS && h->fenced)
		ret = GUEST(MPI_Win_fence, MPI_MODE_NOPRECEDE, win);
	r = ckpti_mpi_check(ret, "opening a window again", err);
	if (r == 0)
		ckpti_mpi_handle_again(h, win);
	return r;
}

int ckpti_mpi_windows_again(struct ckpti_err *err)
{
	size_t n = 0;
	struct ckpti_mpi_handle **list = ckpti_mpi_in_order(CKPTI_MPI_WIN, &n);
	int r = list ? 0 : ckpti_err(err, -ENOMEM, "no memory for windows");

	for (size_t i = 0; r == 0 && i < n; i++)
		r = again(list[i], err);
	free(list);
	return r;
}
