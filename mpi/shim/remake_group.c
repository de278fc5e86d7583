/* SPDX-License-Identifier: BSD-3-Clause */
/* Groups in a new life, and the parts that all recipes have: see remake.h. */
#include "shim/remake.h"

#include <errno.h>
#include <stdlib.h>

#include "shim/coll.h"
#include "shim/shim.h"

struct chunk {
	struct chunk *next;
	max_align_t data[];
};

static struct chunk *chunk_of(void *data)
{
	return (struct chunk *)((char *)data - offsetof(struct chunk, data));
}

void *ckpti_mpi_note(struct ckpti_mpi_handle *h, size_t size)
{
	struct chunk *c = calloc(1, sizeof(*c) + size), *head;

	if (!c)
		ckpti_mpi_fatal("no memory for what a checkpoint must know of MPI's objects");
	if (h->recipe) {
		head = chunk_of(h->recipe);
		c->next = head->next;
		head->next = c;
	} else {
		h->recipe = c->data;
	}
	return c->data;
}

void ckpti_mpi_recipe_drop(struct ckpti_mpi_handle *h)
{
	struct chunk *c = h->recipe ? chunk_of(h->recipe) : NULL, *next;

	for (; c; c = next) {
		next = c->next;
		free(c);
	}
	h->recipe = NULL;
}

static uint64_t id_of(const struct ckpti_mpi_handle *h)
{
	return h->coll ? h->coll->id : 0;
}

static int by_id(const void *a, const void *b)
{
	uint64_t left = id_of(*(struct ckpti_mpi_handle *const *)a);
	uint64_t right = id_of(*(struct ckpti_mpi_handle *const *)b);

	return left < right ? -1 : left > right;
}

struct ckpti_mpi_handle **ckpti_mpi_in_order(enum ckpti_mpi_kind kind, size_t *ret_n)
{
	struct ckpti_mpi_handle *first = ckpti_mpi_handles(kind), **list;
	size_t n = 0;

	for (struct ckpti_mpi_handle *h = first; h; h = h->next)
		n++;
	list = calloc(n + 1, sizeof(struct ckpti_mpi_handle *));
	if (!list)
		return NULL;
	n = 0;
	for (struct ckpti_mpi_handle *h = first; h; h = h->next)
		if (h->recipe)
			list[n++] = h;
	qsort(list, n, sizeof(struct ckpti_mpi_handle *), by_id);
	*ret_n = n;
	return list;
}

int ckpti_mpi_order_tag(const struct ckpti_mpi_handle *h)
{
	return (int)(id_of(h) % 32768); /* what every MPI allows */
}

int ckpti_mpi_check(int ret, const char *call, struct ckpti_err *err)
{
	return ret == MPI_SUCCESS
		       ? 0
		       : ckpti_err(err, -EIO, "MPI's objects: %s failed with error %d", call, ret);
}

/* ---- members ------------------------------------------------------------------------------------ */

static int world_group(MPI_Group *ret, struct ckpti_err *err)
{
	return ckpti_mpi_check(GUEST(MPI_Comm_group, ckpti_mpi_real(MPI_COMM_WORLD), ret),
			       "MPI_Comm_group", err);
}

int ckpti_mpi_members_save(struct ckpti_mpi_handle *h, MPI_Group group,
			   struct ckpti_mpi_members *ret, struct ckpti_err *err)
{
	MPI_Group world = NULL;
	int *own, r;

	r = ckpti_mpi_check(GUEST(MPI_Group_size, group, &ret->n), "MPI_Group_size", err);
	if (r == 0)
		r = world_group(&world, err);
	if (r < 0)
		return r;
	ret->rank = ckpti_mpi_note(h, ((size_t)ret->n + 1) * sizeof(int));
	own = calloc((size_t)ret->n + 1, sizeof(int));
	if (!own)
		return ckpti_err(err, -ENOMEM, "no memory for a group");
	for (int i = 0; i < ret->n; i++)
		own[i] = i;
	r = ckpti_mpi_check(GUEST(MPI_Group_translate_ranks, group, ret->n, own, world, ret->rank),
			    "MPI_Group_translate_ranks", err);
	free(own);
	(void)GUEST(MPI_Group_free, &world);
	(void)GUEST(MPI_Group_free, &group);
	return r;
}

int ckpti_mpi_members_group(const struct ckpti_mpi_members *m, MPI_Group *ret,
			    struct ckpti_err *err)
{
	MPI_Group world = NULL;
	int r = world_group(&world, err);

	if (r == 0)
		r = ckpti_mpi_check(GUEST(MPI_Group_incl, world, m->n, m->rank, ret),
				    "MPI_Group_incl", err);
	if (world)
		(void)GUEST(MPI_Group_free, &world);
	return r;
}

int ckpti_mpi_members_comm(const struct ckpti_mpi_members *m, int tag, MPI_Comm *ret,
			   struct ckpti_err *err)
{
	MPI_Group group = NULL;
	int r = ckpti_mpi_members_group(m, &group, err);

	if (r < 0)
		return r;
	r = ckpti_mpi_check(GUEST(MPI_Comm_create_group, ckpti_mpi_real(MPI_COMM_WORLD), group, tag,
				  ret),
			    "MPI_Comm_create_group", err);
	(void)GUEST(MPI_Group_free, &group);
	return r;
}

/* ---- groups ------------------------------------------------------------------------------------- */

int ckpti_mpi_groups_save(struct ckpti_err *err)
{
	struct ckpti_mpi_members *m;
	MPI_Group copy;
	int r = 0;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_GROUP); r == 0 && h;
	     h = h->next) {
		ckpti_mpi_recipe_drop(h);
		m = ckpti_mpi_note(h, sizeof(*m));
		/* A reference of its own, for what follows frees it. */
		r = ckpti_mpi_check(GUEST(MPI_Group_excl, h->real, 0, NULL, &copy),
				    "MPI_Group_excl", err);
		if (r == 0)
			r = ckpti_mpi_members_save(h, copy, m, err);
	}
	return r;
}

int ckpti_mpi_groups_again(struct ckpti_err *err)
{
	MPI_Group group = NULL;
	int r = 0;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_GROUP); r == 0 && h;
	     h = h->next) {
		r = ckpti_mpi_members_group(h->recipe, &group, err);
		if (r == 0)
			ckpti_mpi_handle_again(h, group);
	}
	return r;
}
