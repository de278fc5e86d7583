/* SPDX-License-Identifier: BSD-3-Clause */
/* Reductions, error handlers and infos in a new life: see remake.h. */
#include "shim/remake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shim/shim.h"

/* ---- reductions --------------------------------------------------------------------------------- */

int ckpti_mpi_ops_save(struct ckpti_err *err)
{
	int *commute, r = 0;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_OP); r == 0 && h;
	     h = h->next) {
		ckpti_mpi_recipe_drop(h);
		commute = ckpti_mpi_note(h, sizeof(*commute));
		r = ckpti_mpi_check(GUEST(MPI_Op_commutative, h->real, commute),
				    "MPI_Op_commutative", err);
	}
	return r;
}

int ckpti_mpi_ops_again(struct ckpti_err *err)
{
	MPI_Op real = NULL;
	int r = 0;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_OP); r == 0 && h;
	     h = h->next) {
		const int *commute = h->recipe;

		r = ckpti_mpi_check(GUEST(MPI_Op_create, ckpti_mpi_op_thunk(h->callback), *commute,
					  &real),
				    "MPI_Op_create", err);
		if (r == 0)
			ckpti_mpi_handle_again(h, real);
	}
	return r;
}

/* ---- error handlers ------------------------------------------------------------------------------- */

void ckpti_mpi_errors_save(MPI_Errhandler real, struct ckpti_mpi_errors *ret)
{
	struct ckpti_mpi_handle *h = ckpti_mpi_find(real);

	ret->predefined = h && h->predefined ? h : NULL;
	ret->callback = h ? h->callback : ckpti_mpi_error_thunk_of(real);
	(void)GUEST(MPI_Errhandler_free, &real);
}

MPI_Errhandler ckpti_mpi_errors_again(const struct ckpti_mpi_errors *e)
{
	void *real = e->predefined ? e->predefined->real : ckpti_mpi_error_thunk(e->callback);

	return real ? real : ckpti_mpi_real(MPI_ERRORS_ARE_FATAL);
}

/* Those that the application has asked MPI for have no number yet. */
void ckpti_mpi_errhandlers_save(void)
{
	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_ERRHANDLER); h; h = h->next)
		h->callback = ckpti_mpi_error_thunk_of(h->real);
}

int ckpti_mpi_errhandlers_again(struct ckpti_err *err)
{
	int r = ckpti_mpi_error_thunks_again(err);
	void *real;

	if (r < 0)
		return r;
	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_ERRHANDLER); h; h = h->next) {
		real = ckpti_mpi_error_thunk(h->callback);
		ckpti_mpi_handle_again(h, real ? real : ckpti_mpi_real(MPI_ERRORS_ARE_FATAL));
	}
	return 0;
}

/* ---- infos ---------------------------------------------------------------------------------------- */

char *ckpti_mpi_info_save(struct ckpti_mpi_handle *h, MPI_Info info)
{
	char key[MPI_MAX_INFO_KEY + 1], *value, *text, *to, *ret;
	int n = 0, len = 0, flag = 0;
	size_t size = 1;

	(void)GUEST(MPI_Info_get_nkeys, info, &n);
	for (int i = 0; i < n; i++) {
		(void)GUEST(MPI_Info_get_nthkey, info, i, key);
		(void)GUEST(MPI_Info_get_valuelen, info, key, &len, &flag);
		size += strlen(key) + (size_t)len + 2;
	}
	ret = text = ckpti_mpi_note(h, size);
	for (int i = 0; i < n; i++) {
		(void)GUEST(MPI_Info_get_nthkey, info, i, key);
		(void)GUEST(MPI_Info_get_valuelen, info, key, &len, &flag);
		to = stpcpy(text, key) + 1;
		value = calloc(1, (size_t)len + 2);
		if (!value)
			ckpti_mpi_fatal("no memory for an info");
		(void)GUEST(MPI_Info_get, info, key, len + 1, value, &flag);
		text = stpcpy(to, value) + 1;
		free(value);
	}
	(void)GUEST(MPI_Info_free, &info);
	return ret;
}

MPI_Info ckpti_mpi_info_again(const char *text)
{
	MPI_Info info = ckpti_mpi_real(MPI_INFO_NULL);
	const char *value;

	if (!*text)
		return info;
	(void)GUEST(MPI_Info_create, &info);
	for (; *text; text = value + strlen(value) + 1) {
		value = text + strlen(text) + 1;
		(void)GUEST(MPI_Info_set, info, text, value);
	}
	return info;
}

int ckpti_mpi_infos_save(struct ckpti_err *err)
{
	MPI_Info copy = NULL;
	int r = 0;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_INFO); r == 0 && h;
	     h = h->next) {
		ckpti_mpi_recipe_drop(h);
		r = ckpti_mpi_check(GUEST(MPI_Info_dup, h->real, &copy), "MPI_Info_dup", err);
		if (r == 0)
			(void)ckpti_mpi_info_save(h, copy);
	}
	return r;
}

int ckpti_mpi_infos_again(struct ckpti_err *err)
{
	MPI_Info info;
	int r = 0;

	for (struct ckpti_mpi_handle *h = ckpti_mpi_handles(CKPTI_MPI_INFO); r == 0 && h;
	     h = h->next) {
		info = ckpti_mpi_info_again(h->recipe);
		if (info == ckpti_mpi_real(MPI_INFO_NULL))
			r = ckpti_mpi_check(GUEST(MPI_Info_create, &info), "MPI_Info_create", err);
		if (r == 0)
			ckpti_mpi_handle_again(h, info);
	}
	return r;
}
