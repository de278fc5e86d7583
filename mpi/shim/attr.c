/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Keyvals and attributes live here and not in the guest: they are pointers of the application, their
 * functions are called on its side, and a fresh guest needs to know nothing of them.  Predefined
 * attributes come from the guest, by value: the pointer that it returns leads into its memory.
 */
#include "shim/shim.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Predefined keyvals have smaller numbers. */
#define FIRST_KEYVAL 64

/* How a value was set, which says how it is seen by the others. */
enum form {
	POINTER,
	FINT,
	AINT
};

struct keyval {
	void *copy, *delete;
	void *extra; /* C: the pointer; Fortran: points to extra_int */
	MPI_Aint extra_int;
	enum form form; /* of the functions: POINTER is C */
	uint8_t kind;
	int refs; /* attributes; one more until it is freed */
};

struct ckpti_mpi_attr {
	struct ckpti_mpi_attr *next;
	int key;
	enum form form;
	void *pointer;
	MPI_Aint number; /* of one that Fortran has set */
};

static struct keyval **keyvals;
static int nkeyvals;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static uint8_t kind_of_type(int type)
{
	if (type == CKPTI_MPI_ATTR_COMM)
		return CKPTI_MPI_COMM;
	return type == CKPTI_MPI_ATTR_TYPE ? CKPTI_MPI_DATATYPE : CKPTI_MPI_WIN;
}

/* ---- keyvals --------------------------------------------------------------------------------- */

static int keyval_new(uint8_t kind, void *copy, void *delete, int *ret_key, void *extra,
		      enum form form, MPI_Aint extra_int)
{
	struct keyval *k = calloc(1, sizeof(*k)), **more;
	int ret = MPI_SUCCESS;

	if (!k)
		return MPI_ERR_NO_MEM;
	*k = (struct keyval){copy, delete, extra, extra_int, form, kind, 1};
	(void)pthread_mutex_lock(&lock);
	more = realloc(keyvals, (size_t)(nkeyvals + 1) * sizeof(*more));
	if (more) {
		keyvals = more;
		keyvals[nkeyvals] = k;
		*ret_key = FIRST_KEYVAL + nkeyvals++;
	} else {
		free(k);
		ret = MPI_ERR_NO_MEM;
	}
	(void)pthread_mutex_unlock(&lock);
	return ret;
}

/* Under the lock. */
static struct keyval *keyval_get(int key)
{
	return key >= FIRST_KEYVAL && key < FIRST_KEYVAL + nkeyvals ? keyvals[key - FIRST_KEYVAL]
								    : NULL;
}

static void keyval_unref(int key)
{
	struct keyval *k;

	(void)pthread_mutex_lock(&lock);
	k = keyval_get(key);
	if (k && --k->refs == 0) {
		keyvals[key - FIRST_KEYVAL] = NULL;
		free(k);
	}
	(void)pthread_mutex_unlock(&lock);
}

static struct keyval *keyval_ref(int key)
{
	struct keyval *k;

	(void)pthread_mutex_lock(&lock);
	k = keyval_get(key);
	if (k)
		k->refs++;
	(void)pthread_mutex_unlock(&lock);
	return k;
}

static int keyval_free(int *key)
{
	struct keyval *k = keyval_ref(*key);

	if (!k)
		return MPI_ERR_KEYVAL;
	keyval_unref(*key); /* what was taken above */
	keyval_unref(*key); /* what keyval_new() had given */
	*key = MPI_KEYVAL_INVALID;
	return MPI_SUCCESS;
}

/* ---- the user's functions -------------------------------------------------------------------- */

typedef int copy_f(void *object, int key, void *extra, void *in, void *out, int *flag);
typedef int delete_f(void *object, int key, void *value, void *extra);

static void *as_pointer(struct ckpti_mpi_attr *a)
{
	return a->form == POINTER ? a->pointer : &a->number;
}

static MPI_Aint as_number(const struct ckpti_mpi_attr *a)
{
	return a->form == POINTER ? (MPI_Aint)a->pointer : a->number;
}

static int call_copy(const struct keyval *k, struct ckpti_mpi_handle *object, int key,
		     struct ckpti_mpi_attr *from, struct ckpti_mpi_attr *to, int *flag)
{
	int number = k->form == POINTER ? 0 : ckpti_mpi_c2f(k->kind, object), ret = MPI_SUCCESS;

	to->form = k->form;
	*flag = 0;
	if (k->form == POINTER) {
		return ((copy_f *)k->copy)(object, key, k->extra, as_pointer(from), &to->pointer,
					   flag);
	} else if (k->form == FINT) {
		int in = (int)as_number(from), out = 0, extra = (int)k->extra_int;

		((void (*)(int *, int *, int *, int *, int *, int *, int *))k->copy)(
			&number, &key, &extra, &in, &out, flag, &ret);
		to->number = out;
	} else {
		MPI_Aint in = as_number(from), extra = k->extra_int;

		((void (*)(int *, int *, MPI_Aint *, MPI_Aint *, MPI_Aint *, int *, int *))k->copy)(
			&number, &key, &extra, &in, &to->number, flag, &ret);
	}
	return ret;
}

static int call_delete(const struct keyval *k, struct ckpti_mpi_handle *object, int key,
		       struct ckpti_mpi_attr *a)
{
	int number = k->form == POINTER ? 0 : ckpti_mpi_c2f(k->kind, object), ret = MPI_SUCCESS;

	if (k->form == POINTER) {
		return ((delete_f *)k->delete)(object, key, as_pointer(a), k->extra);
	} else if (k->form == FINT) {
		int value = (int)as_number(a), extra = (int)k->extra_int;

		((void (*)(int *, int *, int *, int *, int *))k->delete)(&number, &key, &value,
									 &extra, &ret);
	} else {
		MPI_Aint value = as_number(a), extra = k->extra_int;

		((void (*)(int *, int *, MPI_Aint *, MPI_Aint *, int *))k->delete)(
			&number, &key, &value, &extra, &ret);
	}
	return ret;
}

/* ---- attributes ------------------------------------------------------------------------------ */

static struct ckpti_mpi_attr **attr_find(struct ckpti_mpi_handle *h, int key)
{
	struct ckpti_mpi_attr **at = &h->attrs;

	while (*at && (*at)->key != key)
		at = &(*at)->next;
	return at;
}

static int attr_delete(struct ckpti_mpi_handle *h, int key)
{
	struct ckpti_mpi_attr **at = attr_find(h, key), *a = *at;
	struct keyval *k;
	int ret = MPI_SUCCESS;

	if (!a)
		return MPI_ERR_KEYVAL;
	k = keyval_ref(key);
	if (k) {
		ret = call_delete(k, h, key, a);
		keyval_unref(key);
	}
	if (ret != MPI_SUCCESS)
		return ret;
	at = attr_find(h, key); /* the user's function may have changed the list */
	if (*at == a) {
		*at = a->next;
		free(a);
		keyval_unref(key);
	}
	return MPI_SUCCESS;
}

static int attr_set(struct ckpti_mpi_handle *h, int key, enum form form, void *pointer,
		    MPI_Aint number)
{
	struct ckpti_mpi_attr *a;
	struct keyval *k = h ? keyval_ref(key) : NULL;
	int ret = MPI_SUCCESS;

	if (!k)
		return MPI_ERR_KEYVAL;
	a = *attr_find(h, key);
	if (a) {
		ret = call_delete(k, h, key, a);
		keyval_unref(key);
	} else {
		a = calloc(1, sizeof(*a));
		if (!a) {
			keyval_unref(key);
			return MPI_ERR_NO_MEM;
		}
		a->key = key;
		a->next = h->attrs;
		h->attrs = a;
	}
	if (ret == MPI_SUCCESS) {
		a->form = form;
		a->pointer = pointer;
		a->number = number;
	}
	return ret;
}

int ckpti_mpi_attrs_copy(struct ckpti_mpi_handle *from, struct ckpti_mpi_handle *to)
{
	int ret = MPI_SUCCESS, flag;

	for (struct ckpti_mpi_attr *a = from->attrs; a && ret == MPI_SUCCESS; a = a->next) {
		struct ckpti_mpi_attr copy = {.key = a->key};
		struct keyval *k = keyval_ref(a->key);

		if (!k)
			continue;
		ret = call_copy(k, from, a->key, a, &copy, &flag);
		if (ret == MPI_SUCCESS && flag)
			ret = attr_set(to, a->key, copy.form, copy.pointer, copy.number);
		keyval_unref(a->key);
	}
	return ret;
}

int ckpti_mpi_attrs_delete(struct ckpti_mpi_handle *handle)
{
	int ret = MPI_SUCCESS;

	while (ret == MPI_SUCCESS && handle && handle->attrs)
		ret = attr_delete(handle, handle->attrs->key);
	return ret;
}

/* Of the predefined ones all but a window's base point to a number. */
static int predefined_get(struct ckpti_mpi_handle *h, int key, void **value, int *flag)
{
	static int number[FIRST_KEYVAL];
	static MPI_Aint window_size;
	void *theirs = NULL;
	int ret;

	if (h->kind == CKPTI_MPI_WIN) {
		ret = GUEST(MPI_Win_get_attr, h->real, key, &theirs, flag);
		if (ret != MPI_SUCCESS || !*flag)
			return ret;
		if (key == MPI_WIN_BASE) {
			*value = theirs;
		} else if (key == MPI_WIN_SIZE) {
			window_size = *(MPI_Aint *)theirs;
			*value = &window_size;
		} else {
			/* Open MPI says MPI_Win_create of what we have made with our own memory. */
			int word = *(int *)theirs;

			if (key == MPI_WIN_CREATE_FLAVOR && h->memory)
				word = MPI_WIN_FLAVOR_ALLOCATE;
			if (key == MPI_WIN_CREATE_FLAVOR && h->segment)
				word = MPI_WIN_FLAVOR_SHARED;
			h->words[(unsigned int)key % 5] = word;
			*value = &h->words[(unsigned int)key % 5];
		}
		return ret;
	}
	if (h->kind == CKPTI_MPI_COMM)
		ret = GUEST(MPI_Comm_get_attr, h->real, key, &theirs, flag);
	else
		ret = GUEST(MPI_Type_get_attr, h->real, key, &theirs, flag);
	if (ret == MPI_SUCCESS && *flag && key >= 0 && key < FIRST_KEYVAL) {
		number[key] = *(int *)theirs;
		*value = &number[key];
	}
	return ret;
}

static int attr_get(struct ckpti_mpi_handle *h, int key, void *value, int *flag)
{
	struct ckpti_mpi_attr *a;
	bool is_known;

	if (!h)
		return MPI_ERR_ARG;
	if (key < FIRST_KEYVAL)
		return predefined_get(h, key, value, flag);
	(void)pthread_mutex_lock(&lock);
	is_known = keyval_get(key) != NULL;
	(void)pthread_mutex_unlock(&lock);
	if (!is_known)
		return MPI_ERR_KEYVAL;
	a = *attr_find(h, key);
	*flag = a != NULL;
	if (a)
		*(void **)value = as_pointer(a);
	return MPI_SUCCESS;
}

static int attr_get_number(struct ckpti_mpi_handle *h, int key, MPI_Aint *number, int *flag)
{
	struct ckpti_mpi_attr *a;
	void *value = NULL;
	int ret;

	if (!h)
		return MPI_ERR_ARG;
	if (key >= FIRST_KEYVAL) {
		a = *attr_find(h, key);
		*flag = a != NULL;
		if (a)
			*number = as_number(a);
		return MPI_SUCCESS;
	}
	ret = predefined_get(h, key, &value, flag);
	if (ret != MPI_SUCCESS || !*flag)
		return ret;
	if (h->kind == CKPTI_MPI_WIN && key == MPI_WIN_BASE)
		*number = (MPI_Aint)value;
	else if (h->kind == CKPTI_MPI_WIN && key == MPI_WIN_SIZE)
		*number = *(MPI_Aint *)value;
	else
		*number = *(int *)value;
	return MPI_SUCCESS;
}

/* ---- MPI: the same for communicators, datatypes and windows ----------------------------------- */

#define ATTR_CALLS(Name, KIND, type)                                                          \
	int PMPI_##Name##_create_keyval(MPI_##Name##_copy_attr_function *copy,                \
					MPI_##Name##_delete_attr_function *delete, int *key,  \
					void *extra)                                          \
	{                                                                                     \
		return keyval_new(CKPTI_MPI_##KIND, (void *)copy, (void *)delete, key, extra, \
				  POINTER, 0);                                                \
	}                                                                                     \
	CKPTI_MPI_WEAK(MPI_##Name##_create_keyval)                                            \
	int PMPI_##Name##_free_keyval(int *key)                                               \
	{                                                                                     \
		return keyval_free(key);                                                      \
	}                                                                                     \
	CKPTI_MPI_WEAK(MPI_##Name##_free_keyval)                                              \
	int PMPI_##Name##_set_attr(type object, int key, void *value)                         \
	{                                                                                     \
		return attr_set((void *)object, key, POINTER, value, 0);                      \
	}                                                                                     \
	CKPTI_MPI_WEAK(MPI_##Name##_set_attr)                                                 \
	int PMPI_##Name##_get_attr(type object, int key, void *value, int *flag)              \
	{                                                                                     \
		return attr_get((void *)object, key, value, flag);                            \
	}                                                                                     \
	CKPTI_MPI_WEAK(MPI_##Name##_get_attr)                                                 \
	int PMPI_##Name##_delete_attr(type object, int key)                                   \
	{                                                                                     \
		return object ? attr_delete((void *)object, key) : MPI_ERR_ARG;               \
	}                                                                                     \
	CKPTI_MPI_WEAK(MPI_##Name##_delete_attr)

ATTR_CALLS(Comm, COMM, MPI_Comm)
ATTR_CALLS(Type, DATATYPE, MPI_Datatype)
ATTR_CALLS(Win, WIN, MPI_Win)

/* The names of MPI-1. */
int PMPI_Keyval_create(MPI_Copy_function *copy, MPI_Delete_function *delete, int *key, void *extra)
{
	return keyval_new(CKPTI_MPI_COMM, (void *)copy, (void *)delete, key, extra, POINTER, 0);
}
CKPTI_MPI_WEAK(MPI_Keyval_create)

int PMPI_Keyval_free(int *key)
{
	return keyval_free(key);
}
CKPTI_MPI_WEAK(MPI_Keyval_free)

int PMPI_Attr_put(MPI_Comm comm, int key, void *value)
{
	return attr_set((void *)comm, key, POINTER, value, 0);
}
CKPTI_MPI_WEAK(MPI_Attr_put)

int PMPI_Attr_get(MPI_Comm comm, int key, void *value, int *flag)
{
	return attr_get((void *)comm, key, value, flag);
}
CKPTI_MPI_WEAK(MPI_Attr_get)

int PMPI_Attr_delete(MPI_Comm comm, int key)
{
	return comm ? attr_delete((void *)comm, key) : MPI_ERR_ARG;
}
CKPTI_MPI_WEAK(MPI_Attr_delete)

/* ---- libmpi_mpifh and libmpi_cxx: what they call instead --------------------------------------- */

#define EXPORT __attribute__((visibility("default")))

/* A table of attributes is in their eyes a field of the object; ours leads to the handle. */
int ompi_attr_create_keyval(int type, void *copy, void *delete, int *key, void *extra, int flags,
			    void *bindings);
int ompi_attr_create_keyval_fint(int type, void *copy, void *delete, int *key, int extra, int flags,
				 void *bindings);
int ompi_attr_create_keyval_aint(int type, void *copy, void *delete, int *key, MPI_Aint extra,
				 int flags, void *bindings);
int ompi_attr_set_fint(int type, void *object, void **table, int key, int value, bool predefined);
int ompi_attr_set_aint(int type, void *object, void **table, int key, MPI_Aint value,
		       bool predefined);
int ompi_attr_get_fint(void *table, int key, int *value, int *flag);
int ompi_attr_get_aint(void *table, int key, MPI_Aint *value, int *flag);

EXPORT int ompi_attr_create_keyval(int type, void *copy, void *delete, int *key, void *extra,
				   int flags, void *bindings)
{
	(void)flags;
	(void)bindings;
	return keyval_new(kind_of_type(type), copy, delete, key, extra, POINTER, 0);
}

EXPORT int ompi_attr_create_keyval_fint(int type, void *copy, void *delete, int *key, int extra,
					int flags, void *bindings)
{
	(void)flags;
	(void)bindings;
	return keyval_new(kind_of_type(type), copy, delete, key, NULL, FINT, extra);
}

EXPORT int ompi_attr_create_keyval_aint(int type, void *copy, void *delete, int *key,
					MPI_Aint extra, int flags, void *bindings)
{
	(void)flags;
	(void)bindings;
	return keyval_new(kind_of_type(type), copy, delete, key, NULL, AINT, extra);
}

EXPORT int ompi_attr_set_fint(int type, void *object, void **table, int key, int value,
			      bool predefined)
{
	(void)type;
	(void)table;
	(void)predefined;
	return attr_set(object, key, FINT, NULL, value);
}

EXPORT int ompi_attr_set_aint(int type, void *object, void **table, int key, MPI_Aint value,
			      bool predefined)
{
	(void)type;
	(void)table;
	(void)predefined;
	return attr_set(object, key, AINT, NULL, value);
}

EXPORT int ompi_attr_get_fint(void *table, int key, int *value, int *flag)
{
	MPI_Aint number = 0;
	int ret = attr_get_number(table, key, &number, flag);

	if (ret == MPI_SUCCESS && *flag)
		*value = (int)number;
	return ret;
}

EXPORT int ompi_attr_get_aint(void *table, int key, MPI_Aint *value, int *flag)
{
	return attr_get_number(table, key, value, flag);
}
