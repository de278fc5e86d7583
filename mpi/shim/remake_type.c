/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Derived datatypes in a new life: see remake.h.  MPI tells of each one how it was made.  Of what it
 * was made from, the application may have freed a part; such a part gets a handle for as long as
 * nobody asks again.
 *
 * All of them are committed in the new life, for MPI does not tell which were; that allows more, not
 * less.
 */
#include "shim/remake.h"

#include <errno.h>
#include <string.h>

#include "shim/shim.h"

struct recipe {
	int combiner;
	int nints, naddrs, ntypes;
	int *ints;
	MPI_Aint *addrs;
	struct ckpti_mpi_handle **types; /* what it was made from */
	char name[MPI_MAX_OBJECT_NAME];
};

static int save(struct ckpti_mpi_handle *h, struct ckpti_err *err);

int ckpti_mpi_type_part(MPI_Datatype real, struct ckpti_mpi_handle **ret, struct ckpti_err *err)
{
	struct ckpti_mpi_handle *h = ckpti_mpi_find(real);
	int r = 0;

	if (!h) {
		h = ckpti_mpi_out(CKPTI_MPI_DATATYPE, real);
		h->hidden = true;
		r = save(h, err);
	} else if (!h->predefined) {
		(void)GUEST(MPI_Type_free, &real);
	}
	*ret = h;
	return r;
}

static int save(struct ckpti_mpi_handle *h, struct ckpti_err *err)
{
	MPI_Datatype *parts, type = h->real;
	struct recipe *c;
	int len = 0, r;

	ckpti_mpi_recipe_drop(h);
	c = ckpti_mpi_note(h, sizeof(*c));
	r = ckpti_mpi_check(GUEST(MPI_Type_get_envelope, type, &c->nints, &c->naddrs, &c->ntypes,
				  &c->combiner),
			    "MPI_Type_get_envelope", err);
	if (r < 0)
		return r;
	c->ints = ckpti_mpi_note(h, ((size_t)c->nints + 1) * sizeof(*c->ints));
	c->addrs = ckpti_mpi_note(h, ((size_t)c->naddrs + 1) * sizeof(*c->addrs));
	c->types = ckpti_mpi_note(h, ((size_t)c->ntypes + 1) * sizeof(*c->types));
	parts = (MPI_Datatype *)c->types;
	r = ckpti_mpi_check(GUEST(MPI_Type_get_contents, type, c->nints, c->naddrs, c->ntypes,
				  c->ints, c->addrs, parts),
			    "MPI_Type_get_contents", err);
	for (int i = 0; r == 0 && i < c->ntypes; i++)
		r = ckpti_mpi_type_part(parts[i], &c->types[i], err);
	(void)GUEST(MPI_Type_get_name, type, c->name, &len);
	return r;
}

/* Of the checkpoint before. */
static void free_hidden(void)
{
	struct ckpti_mpi_handle *next;
	MPI_Datatype real;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_DATATYPE); h; h = next) {
		next = h->next;
		if (!h->hidden)
			continue;
		h->hidden = false;
		real = h->real;
		(void)GUEST(MPI_Type_free, &real);
		(void)ckpti_mpi_after(CKPTI_MPI_DATATYPE, h, real);
	}
}

int ckpti_mpi_types_save(struct ckpti_err *err)
{
	int r = 0;

	free_hidden();
	/* Parts are put at the end of the list, with their recipes. */
	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_DATATYPE); r == 0 && h;
	     h = h->next)
		if (!h->hidden)
			r = save(h, err);
	return r;
}

/* ---- again --------------------------------------------------------------------------------------- */

static int make(const struct recipe *c, const MPI_Datatype *types, MPI_Datatype *ret)
{
	const int *i = c->ints, n = c->nints ? i[0] : 0;
	const MPI_Aint *a = c->addrs;
	MPI_Datatype of = types[0];

	switch (c->combiner) {
	case MPI_COMBINER_DUP:
		return GUEST(MPI_Type_dup, of, ret);
	case MPI_COMBINER_CONTIGUOUS:
		return GUEST(MPI_Type_contiguous, n, of, ret);
	case MPI_COMBINER_VECTOR:
		return GUEST(MPI_Type_vector, n, i[1], i[2], of, ret);
	case MPI_COMBINER_HVECTOR:
		return GUEST(MPI_Type_create_hvector, n, i[1], a[0], of, ret);
	case MPI_COMBINER_INDEXED:
		return GUEST(MPI_Type_indexed, n, i + 1, i + 1 + n, of, ret);
	case MPI_COMBINER_HINDEXED:
		return GUEST(MPI_Type_create_hindexed, n, i + 1, a, of, ret);
	case MPI_COMBINER_INDEXED_BLOCK:
		return GUEST(MPI_Type_create_indexed_block, n, i[1], i + 2, of, ret);
	case MPI_COMBINER_HINDEXED_BLOCK:
		return GUEST(MPI_Type_create_hindexed_block, n, i[1], a, of, ret);
	case MPI_COMBINER_STRUCT:
		return GUEST(MPI_Type_create_struct, n, i + 1, a, types, ret);
	case MPI_COMBINER_SUBARRAY:
		return GUEST(MPI_Type_create_subarray, n, i + 1, i + 1 + n, i + 1 + 2 * n,
			     i[1 + 3 * n], of, ret);
	case MPI_COMBINER_DARRAY: {
		const int dims = i[2], *more = i + 3;

		return GUEST(MPI_Type_create_darray, n, i[1], dims, more, more + dims,
			     more + 2 * dims, more + 3 * dims, more[4 * dims], of, ret);
	}
	case MPI_COMBINER_F90_REAL:
		return GUEST(MPI_Type_create_f90_real, n, i[1], ret);
	case MPI_COMBINER_F90_COMPLEX:
		return GUEST(MPI_Type_create_f90_complex, n, i[1], ret);
	case MPI_COMBINER_F90_INTEGER:
		return GUEST(MPI_Type_create_f90_integer, n, ret);
	case MPI_COMBINER_RESIZED:
		return GUEST(MPI_Type_create_resized, of, a[0], a[1], ret);
	default:
		return MPI_ERR_TYPE;
	}
}

static int again(struct ckpti_mpi_handle *h, struct ckpti_err *err)
{
	const struct recipe *c = h->recipe;
	void *few[CKPTI_MPI_FEW], **types;
	MPI_Datatype real = NULL;
	int r = 0;

	if (h->real)
		return 0;
	for (int i = 0; r == 0 && i < c->ntypes; i++)
		r = again(c->types[i], err);
	types = ckpti_mpi_array_in((void **)c->types, c->ntypes, few);
	if (!types)
		r = ckpti_err(err, -ENOMEM, "no memory for a datatype");
	if (r == 0)
		r = ckpti_mpi_check(make(c, (MPI_Datatype *)types, &real), "making a datatype",
				    err);
	if (types)
		ckpti_mpi_array_free(types, few, NULL);
	if (r < 0)
		return r;
	(void)GUEST(MPI_Type_commit, &real);
	if (c->name[0])
		(void)GUEST(MPI_Type_set_name, real, c->name);
	ckpti_mpi_handle_again(h, real);
	return 0;
}

int ckpti_mpi_types_again(struct ckpti_err *err)
{
	int r = 0;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_DATATYPE); r == 0 && h;
	     h = h->next)
		r = again(h, err);
	return r;
}
