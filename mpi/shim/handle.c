/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The table of handles: see handle.h.  From ours to the guest's is one load.  The other way is a hash
 * table of all but requests and messages, and is needed only where the guest returns an object.
 */
#include "shim/coll.h"
#include "shim/remake.h"
#include "shim/shim.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS   4096u
#define SLAB      64
#define FIRST_OWN 1024 /* integers of created objects begin here: predefined ones have less */

struct table {
	struct ckpti_mpi_handle *null;         /* ours */
	struct ckpti_mpi_handle *first, *last; /* created */
	struct ckpti_mpi_handle **by_number;   /* Fortran */
	int nnumbers, room;
};

static struct table tables[CKPTI_MPI_KINDS];
static struct ckpti_mpi_handle *buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

__thread struct ckpti_mpi_handle *ckpti_mpi_spare;
static struct ckpti_mpi_handle *orphans; /* likewise, of threads that have ended */
static struct ckpti_mpi_handle *slabs;   /* the first one of each SLAB */
static pthread_key_t spare_key;
static pthread_once_t spare_once = PTHREAD_ONCE_INIT;

static unsigned int bucket(const void *real)
{
	return (unsigned int)(((uintptr_t)real * 0x9e3779b97f4a7c15ULL) >> 52) % BUCKETS;
}

static bool is_short(enum ckpti_mpi_kind kind)
{
	return kind == CKPTI_MPI_REQUEST || kind == CKPTI_MPI_MESSAGE;
}

/* Under the lock. */
static void hash_add(struct ckpti_mpi_handle *h)
{
	struct ckpti_mpi_handle **at = &buckets[bucket(h->real)];

	h->same_hash = *at;
	*at = h;
}

static void hash_remove(struct ckpti_mpi_handle *h)
{
	struct ckpti_mpi_handle **at = &buckets[bucket(h->real)];

	while (*at && *at != h)
		at = &(*at)->same_hash;
	if (*at)
		*at = h->same_hash;
}

/* An object that the guest makes later (MPI_Comm_idup) is not in the hash table yet. */
static struct ckpti_mpi_handle *find(const void *real)
{
	struct ckpti_mpi_handle *h = buckets[bucket(real)];

	while (h && h->real != real)
		h = h->same_hash;
	if (h)
		return h;
	for (h = tables[CKPTI_MPI_COMM].first; h && h->real != real; h = h->next)
		;
	return h;
}

static void init(struct ckpti_mpi_handle *h, enum ckpti_mpi_kind kind)
{
	memset(h, 0, is_short(kind) ? CKPTI_MPI_SHORT_HANDLE : sizeof(*h));
	h->kind = (uint8_t)kind;
	h->refs = 1;
	h->fortran = -1;
	h->callback = -1;
	h->size = h->rank = -1;
	h->grequest_is_c = true;
	if (!is_short(kind))
		h->type_self = h->win_self = h->comm_self = h;
}

/* Predefined objects may be shorter than the struct: groups and infos end at 256 bytes. */
static void init_predefined(struct ckpti_mpi_handle *h, enum ckpti_mpi_kind kind)
{
	h->kind = (uint8_t)kind;
	h->predefined = true;
	h->refs = 1;
	h->fortran = -1;
	h->callback = -1;
	h->size = h->rank = -1;
	if (kind == CKPTI_MPI_COMM)
		h->comm_self = h;
	if (kind == CKPTI_MPI_DATATYPE)
		h->type_self = h;
	if (kind == CKPTI_MPI_WIN)
		h->win_self = h;
}

void ckpti_mpi_handles_begin(void *const *real, bool first_life)
{
	static void *const null[CKPTI_MPI_KINDS] = {
		[CKPTI_MPI_COMM] = MPI_COMM_NULL,
		[CKPTI_MPI_DATATYPE] = MPI_DATATYPE_NULL,
		[CKPTI_MPI_OP] = MPI_OP_NULL,
		[CKPTI_MPI_GROUP] = MPI_GROUP_NULL,
		[CKPTI_MPI_REQUEST] = MPI_REQUEST_NULL,
		[CKPTI_MPI_WIN] = MPI_WIN_NULL,
		[CKPTI_MPI_FILE] = MPI_FILE_NULL,
		[CKPTI_MPI_INFO] = MPI_INFO_NULL,
		[CKPTI_MPI_ERRHANDLER] = MPI_ERRHANDLER_NULL,
		[CKPTI_MPI_MESSAGE] = MPI_MESSAGE_NULL,
	};

	(void)pthread_mutex_lock(&lock);
	memset(buckets, 0, sizeof(buckets));
	for (size_t i = 0; i < ckpti_mpi_nobjects; i++) {
		struct ckpti_mpi_handle *h = ckpti_mpi_objects[i].symbol;

		h->real = real[i];
		if (first_life)
			init_predefined(h, ckpti_mpi_objects[i].kind);
		hash_add(h);
	}
	for (int kind = 0; kind < CKPTI_MPI_KINDS; kind++)
		for (struct ckpti_mpi_handle *h = tables[kind].first; h; h = h->next)
			h->real = NULL;
	for (int kind = 0; kind < CKPTI_MPI_KINDS; kind++)
		tables[kind].null = null[kind];
	(void)pthread_mutex_unlock(&lock);
}

struct ckpti_mpi_handle *ckpti_mpi_handles(enum ckpti_mpi_kind kind)
{
	return tables[kind].first;
}

void ckpti_mpi_handle_again(struct ckpti_mpi_handle *h, void *real)
{
	(void)pthread_mutex_lock(&lock);
	h->real = real;
	hash_add(h);
	(void)pthread_mutex_unlock(&lock);
}

struct ckpti_mpi_handle *ckpti_mpi_find(const void *real)
{
	struct ckpti_mpi_handle *h;

	(void)pthread_mutex_lock(&lock);
	h = find(real);
	(void)pthread_mutex_unlock(&lock);
	return h;
}

/* ---- requests and messages ------------------------------------------------------------------- */

static void spare_leave(void *first)
{
	struct ckpti_mpi_handle *last = ckpti_mpi_spare;

	(void)first;
	if (!last)
		return;
	(void)pthread_mutex_lock(&lock);
	while (last->next)
		last = last->next;
	last->next = orphans;
	orphans = ckpti_mpi_spare;
	ckpti_mpi_spare = NULL;
	(void)pthread_mutex_unlock(&lock);
}

static void make_spare_key(void)
{
	(void)pthread_key_create(&spare_key, spare_leave);
}

/* Returns the first one. */
struct ckpti_mpi_handle *ckpti_mpi_spare_refill(void)
{
	char *slab;

	(void)pthread_once(&spare_once, make_spare_key);
	(void)pthread_setspecific(spare_key, &ckpti_mpi_spare);
	(void)pthread_mutex_lock(&lock);
	ckpti_mpi_spare = orphans;
	orphans = NULL;
	(void)pthread_mutex_unlock(&lock);
	if (ckpti_mpi_spare)
		return ckpti_mpi_spare;
	slab = malloc((size_t)SLAB * CKPTI_MPI_SHORT_HANDLE);
	if (!slab)
		ckpti_mpi_fatal("no memory for requests");
	for (size_t i = 0; i < SLAB; i++) {
		struct ckpti_mpi_handle *h = (void *)(slab + i * CKPTI_MPI_SHORT_HANDLE);

		init(h, CKPTI_MPI_REQUEST);
		h->next = ckpti_mpi_spare;
		ckpti_mpi_spare = h;
	}
	/* Short handles are in no list, so `prev` of each slab's first one leads to the next slab. */
	(void)pthread_mutex_lock(&lock);
	((struct ckpti_mpi_handle *)(void *)slab)->prev = slabs;
	slabs = (void *)slab;
	(void)pthread_mutex_unlock(&lock);
	return ckpti_mpi_spare;
}

static struct ckpti_mpi_handle *short_new(enum ckpti_mpi_kind kind, void *real)
{
	struct ckpti_mpi_handle *h = ckpti_mpi_request_take(kind);

	h->real = real;
	return h;
}

void *ckpti_mpi_request_new(void *real)
{
	struct ckpti_mpi_handle *h;

	if (real == tables[CKPTI_MPI_REQUEST].null->real)
		return tables[CKPTI_MPI_REQUEST].null;
	h = short_new(CKPTI_MPI_REQUEST, real);
	h->request.active = 1;
	h->request.operation = CKPTI_MPI_OTHER;
	return h;
}

void ckpti_mpi_requests_each(void (*fn)(struct ckpti_mpi_handle *h, void *arg), void *arg)
{
	for (struct ckpti_mpi_handle *slab = slabs; slab; slab = slab->prev)
		for (size_t i = 0; i < SLAB; i++) {
			struct ckpti_mpi_handle *h =
				(void *)((char *)slab + i * CKPTI_MPI_SHORT_HANDLE);

			if (h->request.operation != CKPTI_MPI_NOTHING)
				fn(h, arg);
		}
}

/* ---- creation and end ------------------------------------------------------------------------ */

static void list_add(struct table *t, struct ckpti_mpi_handle *h)
{
	h->prev = t->last;
	if (t->last)
		t->last->next = h;
	else
		t->first = h;
	t->last = h;
}

static void list_remove(struct table *t, struct ckpti_mpi_handle *h)
{
	if (h->prev)
		h->prev->next = h->next;
	else
		t->first = h->next;
	if (h->next)
		h->next->prev = h->prev;
	else
		t->last = h->prev;
}

static int number_new(struct table *t, struct ckpti_mpi_handle *h);

static struct ckpti_mpi_handle *new_locked(enum ckpti_mpi_kind kind)
{
	struct ckpti_mpi_handle *h = malloc(sizeof(*h));

	if (!h)
		ckpti_mpi_fatal("no memory for an MPI object");
	init(h, kind);
	list_add(&tables[kind], h);
	/* libmpi_mpifh reads it without asking. */
	if (kind == CKPTI_MPI_GROUP)
		(void)number_new(&tables[kind], h);
	return h;
}

struct ckpti_mpi_handle *ckpti_mpi_handle_new(enum ckpti_mpi_kind kind)
{
	struct ckpti_mpi_handle *h;

	(void)pthread_mutex_lock(&lock);
	h = new_locked(kind);
	h->real = tables[kind].null->real;
	(void)pthread_mutex_unlock(&lock);
	return h;
}

void *ckpti_mpi_out(enum ckpti_mpi_kind kind, void *real)
{
	struct ckpti_mpi_handle *h;

	if (!real)
		return NULL;
	if (kind == CKPTI_MPI_MESSAGE) {
		h = ckpti_mpi_find(real);
		return h ? h : short_new(kind, real);
	}
	(void)pthread_mutex_lock(&lock);
	h = find(real);
	if (!h) {
		h = new_locked(kind);
		h->real = real;
		hash_add(h);
	} else if (!h->predefined) {
		h->refs++;
	}
	(void)pthread_mutex_unlock(&lock);
	return h;
}

static void number_free(struct ckpti_mpi_handle *h)
{
	struct table *t = &tables[h->kind];

	if (h->fortran >= 0 && h->fortran < t->nnumbers && t->by_number[h->fortran] == h)
		t->by_number[h->fortran] = NULL;
}

static void arrays_free(void **array);

void ckpti_mpi_request_strip(struct ckpti_mpi_handle *h)
{
	if (h->fortran >= 0) {
		(void)pthread_mutex_lock(&lock);
		number_free(h);
		(void)pthread_mutex_unlock(&lock);
		h->fortran = -1;
	}
	arrays_free(h->scratch);
	h->scratch = NULL;
}

static void release(struct ckpti_mpi_handle *h)
{
	if (is_short(h->kind)) {
		ckpti_mpi_request_drop(h);
		return;
	}
	(void)pthread_mutex_lock(&lock);
	if (--h->refs > 0) {
		(void)pthread_mutex_unlock(&lock);
		return;
	}
	number_free(h);
	hash_remove(h);
	list_remove(&tables[h->kind], h);
	(void)pthread_mutex_unlock(&lock);
	if (h->callback >= 0)
		ckpti_mpi_callback_free(h);
	ckpti_mpi_recipe_drop(h);
	if (h->kind == CKPTI_MPI_COMM || h->kind == CKPTI_MPI_WIN || h->kind == CKPTI_MPI_FILE)
		ckpti_mpi_coll_drop(h);
	free(h->memory);
	free(h);
}

void *ckpti_mpi_null(enum ckpti_mpi_kind kind)
{
	return tables[kind].null;
}

void *ckpti_mpi_after(enum ckpti_mpi_kind kind, void *handle, void *real)
{
	struct ckpti_mpi_handle *h = handle, *null = tables[kind].null;

	if (!h || h == null || real == h->real)
		return h;
	if (real == null->real) {
		if (!h->predefined)
			release(h);
		return null;
	}
	h->real = real;
	return h;
}

void ckpti_mpi_requests_after(MPI_Request *request, MPI_Request *real, int n)
{
	for (int i = 0; i < n; i++)
		request[i] = ckpti_mpi_after(CKPTI_MPI_REQUEST, request[i], real[i]);
}

/* ---- arrays ---------------------------------------------------------------------------------- */

/* One word in front links those that wait for the same request. */
static void **array_alloc(int n, void **few)
{
	void **array;

	if (few && n <= CKPTI_MPI_FEW)
		return memset(few, 0, CKPTI_MPI_FEW * sizeof(*few));
	array = calloc((size_t)n + 1, sizeof(*array));
	return array ? array + 1 : NULL;
}

static void arrays_free(void **array)
{
	while (array) {
		void **next = array[-1];

		free(array - 1);
		array = next;
	}
}

void *ckpti_mpi_array_new(int n, void **few)
{
	return array_alloc(n, few);
}

void *ckpti_mpi_array_in(void *const *handle, int n, void **few)
{
	void **real = array_alloc(n, few);

	for (int i = 0; real && handle && i < n; i++)
		real[i] = ckpti_mpi_real(handle[i]);
	return real;
}

void ckpti_mpi_array_out(enum ckpti_mpi_kind kind, void **handle, void **real, int n)
{
	for (int i = 0; i < n; i++)
		if (real[i])
			handle[i] = ckpti_mpi_out(kind, real[i]);
}

void ckpti_mpi_array_free(void *array, void **few, MPI_Request request)
{
	struct ckpti_mpi_handle *h = (void *)request;
	void **words = array;

	if (few && array == few)
		return;
	if (h && !h->predefined) {
		words[-1] = h->scratch;
		h->scratch = words;
	} else {
		arrays_free(words);
	}
}

/* ---- Fortran --------------------------------------------------------------------------------- */

static int number_set(struct table *t, struct ckpti_mpi_handle *h, int number)
{
	struct ckpti_mpi_handle **more;
	int room = t->room ? t->room : FIRST_OWN;

	while (room <= number)
		room *= 2;
	if (room > t->room) {
		more = realloc(t->by_number, (size_t)room * sizeof(*more));
		if (!more)
			ckpti_mpi_fatal("no memory for Fortran's handles");
		memset(more + t->room, 0, (size_t)(room - t->room) * sizeof(*more));
		t->by_number = more;
		t->room = room;
	}
	t->by_number[number] = h;
	if (number >= t->nnumbers)
		t->nnumbers = number + 1;
	h->fortran = number;
	if (h->kind == CKPTI_MPI_REQUEST)
		h->request.number = number;
	return number;
}

static int number_new(struct table *t, struct ckpti_mpi_handle *h)
{
	int number = t->nnumbers > FIRST_OWN ? t->nnumbers : FIRST_OWN;

	/* Requests come and go: use their numbers again before the table grows. */
	if (number == t->room)
		for (int i = FIRST_OWN; i < t->nnumbers; i++)
			if (!t->by_number[i])
				return number_set(t, h, i);
	return number_set(t, h, number);
}

int ckpti_mpi_c2f(enum ckpti_mpi_kind kind, void *handle)
{
	struct ckpti_mpi_handle *h = handle;

	if (!h)
		return -1;
	if (h->fortran < 0) {
		(void)pthread_mutex_lock(&lock);
		if (h->fortran < 0)
			(void)number_new(&tables[kind], h);
		(void)pthread_mutex_unlock(&lock);
	}
	return h->fortran;
}

void *ckpti_mpi_f2c(enum ckpti_mpi_kind kind, int number)
{
	struct table *t = &tables[kind];
	struct ckpti_mpi_handle *h = NULL;

	(void)pthread_mutex_lock(&lock);
	if (number >= 0 && number < t->nnumbers)
		h = t->by_number[number];
	(void)pthread_mutex_unlock(&lock);
	return h ? h : t->null;
}

static int guest_number(enum ckpti_mpi_kind kind, void *real)
{
	switch (kind) {
	case CKPTI_MPI_COMM:
		return GUEST(MPI_Comm_c2f, real);
	case CKPTI_MPI_DATATYPE:
		return GUEST(MPI_Type_c2f, real);
	case CKPTI_MPI_OP:
		return GUEST(MPI_Op_c2f, real);
	case CKPTI_MPI_GROUP:
		return GUEST(MPI_Group_c2f, real);
	case CKPTI_MPI_REQUEST:
		return GUEST(MPI_Request_c2f, real);
	case CKPTI_MPI_WIN:
		return GUEST(MPI_Win_c2f, real);
	case CKPTI_MPI_FILE:
		return GUEST(MPI_File_c2f, real);
	case CKPTI_MPI_INFO:
		return GUEST(MPI_Info_c2f, real);
	case CKPTI_MPI_ERRHANDLER:
		return GUEST(MPI_Errhandler_c2f, real);
	case CKPTI_MPI_MESSAGE:
		return GUEST(MPI_Message_c2f, real);
	case CKPTI_MPI_KINDS:
		break;
	}
	return -1;
}

void ckpti_mpi_handles_number(void)
{
	for (size_t i = 0; i < ckpti_mpi_nobjects; i++) {
		const struct ckpti_mpi_object *o = &ckpti_mpi_objects[i];
		int number = guest_number(o->kind, ckpti_mpi_real(o->symbol));

		(void)pthread_mutex_lock(&lock);
		if (number >= 0 && number < FIRST_OWN)
			(void)number_set(&tables[o->kind], o->symbol, number);
		(void)pthread_mutex_unlock(&lock);
	}
}

void ckpti_mpi_handles_forked(void)
{
	(void)pthread_mutex_init(&lock, NULL);
}
