/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Communicators in a new life: see remake.h.  By membership, whatever call made them: a communicator
 * without a topology is MPI_Comm_create_group() over the same ranks, and a topology is put on top.
 */
#include "shim/remake.h"

#include <errno.h>
#include <stdlib.h>

#include "shim/shim.h"

struct recipe {
	int inter;
	int topology;
	struct ckpti_mpi_members local, remote;
	struct ckpti_mpi_errors errors;
	char name[MPI_MAX_OBJECT_NAME];
	char *info;
	/* Cartesian: dimensions and periods.  Graph: index and edges.  Distributed graph: sources and
	 * destinations, with their weights unless there are none. */
	int n, m, weighted;
	int *first, *second, *first_weight, *second_weight;
};

static int *numbers(struct ckpti_mpi_handle *h, int n)
{
	return ckpti_mpi_note(h, ((size_t)n + 1) * sizeof(int));
}

static int save_topology(struct ckpti_mpi_handle *h, struct recipe *c, MPI_Comm comm)
{
	int ret = GUEST(MPI_Topo_test, comm, &c->topology), *coords;

	if (ret != MPI_SUCCESS)
		return ret;
	switch (c->topology) {
	case MPI_CART:
		ret = GUEST(MPI_Cartdim_get, comm, &c->n);
		if (ret != MPI_SUCCESS)
			return ret;
		c->first = numbers(h, c->n);
		c->second = numbers(h, c->n);
		coords = numbers(h, c->n);
		return GUEST(MPI_Cart_get, comm, c->n, c->first, c->second, coords);
	case MPI_GRAPH:
		ret = GUEST(MPI_Graphdims_get, comm, &c->n, &c->m);
		if (ret != MPI_SUCCESS)
			return ret;
		c->first = numbers(h, c->n);
		c->second = numbers(h, c->m);
		return GUEST(MPI_Graph_get, comm, c->n, c->m, c->first, c->second);
	case MPI_DIST_GRAPH:
		ret = GUEST(MPI_Dist_graph_neighbors_count, comm, &c->n, &c->m, &c->weighted);
		if (ret != MPI_SUCCESS)
			return ret;
		c->first = numbers(h, c->n);
		c->second = numbers(h, c->m);
		c->first_weight = c->weighted ? numbers(h, c->n) : MPI_UNWEIGHTED;
		c->second_weight = c->weighted ? numbers(h, c->m) : MPI_UNWEIGHTED;
		return GUEST(MPI_Dist_graph_neighbors, comm, c->n, c->first, c->first_weight, c->m,
			     c->second, c->second_weight);
	default:
		return MPI_SUCCESS;
	}
}

/* What can be set at any time, also for the predefined ones. */
static int save_settings(struct ckpti_mpi_handle *h, struct recipe *c, struct ckpti_err *err)
{
	MPI_Errhandler errors = NULL;
	MPI_Info info = NULL;
	int len = 0, r;

	r = ckpti_mpi_check(GUEST(MPI_Comm_get_errhandler, h->real, &errors),
			    "MPI_Comm_get_errhandler", err);
	if (r < 0)
		return r;
	ckpti_mpi_errors_save(errors, &c->errors);
	(void)GUEST(MPI_Comm_get_name, h->real, c->name, &len);
	r = ckpti_mpi_check(GUEST(MPI_Comm_get_info, h->real, &info), "MPI_Comm_get_info", err);
	if (r == 0)
		c->info = ckpti_mpi_info_save(h, info);
	return r;
}

static int save(struct ckpti_mpi_handle *h, struct ckpti_err *err)
{
	MPI_Comm comm = h->real;
	MPI_Group group = NULL;
	struct recipe *c;
	int r;

	ckpti_mpi_recipe_drop(h);
	c = ckpti_mpi_note(h, sizeof(*c));
	r = save_settings(h, c, err);
	if (r < 0 || h->predefined)
		return r;
	r = ckpti_mpi_check(GUEST(MPI_Comm_test_inter, comm, &c->inter), "MPI_Comm_test_inter",
			    err);
	if (r == 0)
		r = ckpti_mpi_check(GUEST(MPI_Comm_group, comm, &group), "MPI_Comm_group", err);
	if (r == 0)
		r = ckpti_mpi_members_save(h, group, &c->local, err);
	if (r < 0)
		return r;
	if (!c->inter)
		return ckpti_mpi_check(save_topology(h, c, comm), "reading a topology", err);
	r = ckpti_mpi_check(GUEST(MPI_Comm_remote_group, comm, &group), "MPI_Comm_remote_group",
			    err);
	return r < 0 ? r : ckpti_mpi_members_save(h, group, &c->remote, err);
}

/* A duplicate that is under way has no object yet; nor has one that was freed with a request open. */
static bool is_object(const struct ckpti_mpi_handle *h)
{
	return h->real && h->real != ckpti_mpi_real(MPI_COMM_NULL);
}

int ckpti_mpi_comms_save(struct ckpti_err *err)
{
	int r = save((void *)MPI_COMM_WORLD, err);

	if (r == 0)
		r = save((void *)MPI_COMM_SELF, err);
	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_COMM); r == 0 && h;
	     h = h->next) {
		ckpti_mpi_recipe_drop(h);
		if (is_object(h))
			r = save(h, err);
	}
	return r;
}

/* ---- again --------------------------------------------------------------------------------------- */

static int put_topology(const struct recipe *c, MPI_Comm plain, MPI_Comm *ret)
{
	int reorder = 0;

	switch (c->topology) {
	case MPI_CART:
		return GUEST(MPI_Cart_create, plain, c->n, c->first, c->second, reorder, ret);
	case MPI_GRAPH:
		return GUEST(MPI_Graph_create, plain, c->n, c->first, c->second, reorder, ret);
	default:
		return GUEST(MPI_Dist_graph_create_adjacent, plain, c->n, c->first, c->first_weight,
			     c->m, c->second, c->second_weight, ckpti_mpi_real(MPI_INFO_NULL),
			     reorder, ret);
	}
}

static int settings_again(const struct recipe *c, MPI_Comm comm, struct ckpti_err *err)
{
	MPI_Info info = ckpti_mpi_info_again(c->info);
	int ret = MPI_SUCCESS;

	if (info != ckpti_mpi_real(MPI_INFO_NULL)) {
		ret = GUEST(MPI_Comm_set_info, comm, info);
		(void)GUEST(MPI_Info_free, &info);
	}
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_Comm_set_name, comm, c->name);
	if (ret == MPI_SUCCESS)
		ret = GUEST(MPI_Comm_set_errhandler, comm, ckpti_mpi_errors_again(&c->errors));
	return ckpti_mpi_check(ret, "naming a communicator", err);
}

static int again(struct ckpti_mpi_handle *h, struct ckpti_err *err)
{
	const struct recipe *c = h->recipe;
	MPI_Comm plain = NULL, comm = NULL;
	int tag = ckpti_mpi_order_tag(h), r;

	r = ckpti_mpi_members_comm(&c->local, tag, &plain, err);
	if (r < 0)
		return r;
	comm = plain;
	if (c->inter)
		r = ckpti_mpi_check(GUEST(MPI_Intercomm_create, plain, 0,
					  ckpti_mpi_real(MPI_COMM_WORLD), c->remote.rank[0], tag,
					  &comm),
				    "MPI_Intercomm_create", err);
	else if (c->topology != MPI_UNDEFINED)
		r = ckpti_mpi_check(put_topology(c, plain, &comm), "making a topology", err);
	if (comm != plain)
		(void)GUEST(MPI_Comm_free, &plain);
	if (r == 0)
		r = settings_again(c, comm, err);
	if (r == 0)
		ckpti_mpi_handle_again(h, comm);
	return r;
}

int ckpti_mpi_comms_again(struct ckpti_err *err)
{
	struct ckpti_mpi_handle *world = (void *)MPI_COMM_WORLD, *self = (void *)MPI_COMM_SELF,
				**list;
	size_t n = 0;
	int r;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_COMM); h; h = h->next)
		h->real = ckpti_mpi_real(MPI_COMM_NULL);
	list = ckpti_mpi_in_order(CKPTI_MPI_COMM, &n);
	if (!list)
		return ckpti_err(err, -ENOMEM, "no memory for communicators");
	r = settings_again(world->recipe, world->real, err);
	if (r == 0)
		r = settings_again(self->recipe, self->real, err);
	for (size_t i = 0; r == 0 && i < n; i++)
		r = again(list[i], err);
	free(list);
	return r;
}
