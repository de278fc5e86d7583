/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest calls functions of the application: reductions, error handlers, generalized requests, data
 * representations.  It calls one of ours, on the guest's FS base; that goes over to the application's,
 * translates handles and calls the user's function, which may call MPI again.
 *
 * Functions that the guest calls must not touch thread-local data before they have crossed.  They are
 * marked "called inside".
 */
#include "shim/shim.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>

#include "shim/remake.h"
#include "shim/request.h"

#define THUNKS     1024
#define THUNK_SIZE 16

/*
 * A function of the application, for good: MPI may call it long after the op or error handler was
 * freed.  There are as many as the program has functions, for each gets one only.
 */
struct user_function {
	void *function;                  /* NULL: free */
	void *cxx;                       /* of an op: the C++ function that the first one calls */
	struct ckpti_mpi_handle *handle; /* the newest op of it that is not freed */
	enum ckpti_mpi_kind kind;        /* of the object that an error handler is for */
	bool fortran;
	void *real; /* the guest's error handler that calls it; there is one, and it stays */
};

struct thunks {
	struct user_function user[THUNKS];
	const char *code;
};

extern const char ckpti_mpi_op_thunks[], ckpti_mpi_error_thunks[];
static struct thunks ops = {.code = ckpti_mpi_op_thunks};
static struct thunks errors = {.code = ckpti_mpi_error_thunks};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct ckpti_guest_thread *caller(void)
{
	struct ckpti_guest_thread *thread =
		*(struct ckpti_guest_thread **)(ckpti_fs_get() +
						(uint64_t)ckpti_guest_port->thread_offset);

	/* Nothing of the guest's own calls user functions from a thread of its own. */
	if (!thread)
		__builtin_trap();
	return thread;
}

static int thunk_take(struct thunks *t, void *function, enum ckpti_mpi_kind kind, bool fortran)
{
	int found = -1;

	(void)pthread_mutex_lock(&lock);
	for (int i = 0; found < 0 && i < THUNKS; i++) {
		struct user_function *u = &t->user[i];

		if (!u->function) {
			u->kind = kind;
			u->fortran = fortran;
			u->function = function;
			found = i;
		} else if (u->function == function && u->kind == kind && u->fortran == fortran &&
			   !u->cxx) {
			found = i;
		}
	}
	(void)pthread_mutex_unlock(&lock);
	return found;
}

static void *thunk_code(const struct thunks *t, int number)
{
	return (void *)(t->code + (size_t)number * THUNK_SIZE);
}

/* Under the lock.  What libmpi_mpifh has written into the handle outlives it. */
static void op_let_go(struct user_function *u)
{
	if (u->handle && (u->handle->op_flags & CKPTI_MPI_OP_FORTRAN))
		u->fortran = true;
	u->handle = NULL;
}

void ckpti_mpi_callback_free(struct ckpti_mpi_handle *handle)
{
	if (handle->kind != CKPTI_MPI_OP)
		return;
	(void)pthread_mutex_lock(&lock);
	if (ops.user[handle->callback].handle == handle)
		op_let_go(&ops.user[handle->callback]);
	(void)pthread_mutex_unlock(&lock);
}

void *ckpti_mpi_op_thunk(int number)
{
	return thunk_code(&ops, number);
}

/* ---- reductions ------------------------------------------------------------------------------ */

static bool op_is_fortran(struct user_function *u)
{
	bool ret;

	(void)pthread_mutex_lock(&lock);
	ret = u->fortran || (u->handle && (u->handle->op_flags & CKPTI_MPI_OP_FORTRAN));
	(void)pthread_mutex_unlock(&lock);
	return ret;
}

static void op_call(struct user_function *u, void *in, void *into, int *len, MPI_Datatype *type)
{
	struct ckpti_mpi_handle stray = {.real = *type, .kind = CKPTI_MPI_DATATYPE};
	struct ckpti_mpi_handle *found = ckpti_mpi_find(*type);
	MPI_Datatype ours = (MPI_Datatype)(found ? found : &stray);
	int number;

	if (u->cxx) {
		((void (*)(void *, void *, int *, MPI_Datatype *, void *))u->function)(
			in, into, len, &ours, u->cxx);
	} else if (op_is_fortran(u)) {
		number = ckpti_mpi_c2f(CKPTI_MPI_DATATYPE, ours);
		((void (*)(void *, void *, int *, int *))u->function)(in, into, len, &number);
	} else {
		((MPI_User_function *)u->function)(in, into, len, &ours);
	}
}

/* Called inside. */
void ckpti_mpi_op_called(void *in, void *into, int *len, MPI_Datatype *type, unsigned int number);
void ckpti_mpi_op_called(void *in, void *into, int *len, MPI_Datatype *type, unsigned int number)
{
	struct ckpti_guest_thread *thread = caller();
	uint64_t fs = ckpti_fs_get();

	ckpti_fs_set(thread->app_fs);
	op_call(&ops.user[number], in, into, len, type);
	ckpti_fs_set(fs);
}

int PMPI_Op_create(MPI_User_function *function, int commute, MPI_Op *op)
{
	int number = thunk_take(&ops, (void *)function, CKPTI_MPI_OP, false), ret;
	struct ckpti_mpi_handle *h;
	MPI_Op real = NULL;

	if (number < 0)
		return MPI_ERR_OTHER;
	ret = GUEST(MPI_Op_create, thunk_code(&ops, number), commute, &real);
	if (ret != MPI_SUCCESS)
		return ret;
	h = ckpti_mpi_out(CKPTI_MPI_OP, real);
	h->callback = number;
	(void)pthread_mutex_lock(&lock);
	op_let_go(&ops.user[number]);
	ops.user[number].handle = h;
	(void)pthread_mutex_unlock(&lock);
	*op = (MPI_Op)h;
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Op_create)

#if OMPI_MAJOR_VERSION == 4
/* libmpi_cxx: the op's function calls this one. */
void ompi_op_set_cxx_callback(MPI_Op op, MPI_User_function *function);
__attribute__((visibility("default"))) void ompi_op_set_cxx_callback(MPI_Op op,
								     MPI_User_function *function)
{
	struct ckpti_mpi_handle *h = (void *)op;

	if (h->callback >= 0)
		ops.user[h->callback].cxx = (void *)function;
}
#endif

/* ---- error handlers -------------------------------------------------------------------------- */

static void error_call(struct user_function *u, void **object, int *code, void *more)
{
	struct ckpti_mpi_handle stray = {.real = *object, .kind = (uint8_t)u->kind};
	struct ckpti_mpi_handle *found = ckpti_mpi_find(*object);
	void *ours = found ? found : &stray;
	int number;

	if (u->fortran) {
		number = ckpti_mpi_c2f(u->kind, ours);
		((void (*)(int *, int *))u->function)(&number, code);
	} else {
		((void (*)(void **, int *, ...))u->function)(&ours, code, more, NULL);
	}
}

/* Called inside. */
void ckpti_mpi_error_called(void **object, int *code, void *more, void *end, unsigned int number);
void ckpti_mpi_error_called(void **object, int *code, void *more, void *end, unsigned int number)
{
	struct ckpti_guest_thread *thread = caller();
	uint64_t fs = ckpti_fs_get();

	(void)end;
	ckpti_fs_set(thread->app_fs);
	error_call(&errors.user[number], object, code, more);
	ckpti_fs_set(fs);
}

static void *guest_handler(enum ckpti_mpi_kind kind, int number)
{
	void *code = thunk_code(&errors, number);
	MPI_Errhandler real = NULL;
	int ret = MPI_ERR_OTHER;

	if (kind == CKPTI_MPI_COMM)
		ret = GUEST(MPI_Comm_create_errhandler, code, &real);
	else if (kind == CKPTI_MPI_WIN)
		ret = GUEST(MPI_Win_create_errhandler, code, &real);
	else if (kind == CKPTI_MPI_FILE)
		ret = GUEST(MPI_File_create_errhandler, code, &real);
	return ret == MPI_SUCCESS ? real : NULL;
}

int ckpti_mpi_error_thunk_of(const void *real)
{
	for (int i = 0; i < THUNKS; i++)
		if (errors.user[i].function && errors.user[i].real == real)
			return i;
	return -1;
}

void *ckpti_mpi_error_thunk(int number)
{
	return number < 0 ? NULL : errors.user[number].real;
}

int ckpti_mpi_error_thunks_again(struct ckpti_err *err)
{
	for (int i = 0; i < THUNKS; i++) {
		struct user_function *u = &errors.user[i];

		if (!u->function)
			continue;
		u->real = guest_handler(u->kind, i);
		if (!u->real)
			return ckpti_err(err, -EIO, "an error handler cannot be made again");
	}
	return 0;
}

static int error_create(enum ckpti_mpi_kind kind, void *function, bool fortran,
			MPI_Errhandler *errhandler)
{
	int number = thunk_take(&errors, function, kind, fortran);
	struct ckpti_mpi_handle *h;
	void *real;

	if (number < 0)
		return MPI_ERR_OTHER;
	real = errors.user[number].real;
	if (!real)
		real = errors.user[number].real = guest_handler(kind, number);
	if (!real)
		return MPI_ERR_OTHER;
	h = ckpti_mpi_out(CKPTI_MPI_ERRHANDLER, real);
	h->callback = number;
	*errhandler = (MPI_Errhandler)h;
	return MPI_SUCCESS;
}

/* The guest's stays: communicators that have it may be made again in a new life. */
int PMPI_Errhandler_free(MPI_Errhandler *errhandler)
{
	struct ckpti_mpi_handle *h = errhandler ? (void *)*errhandler : NULL;

	if (!h || h == ckpti_mpi_null(CKPTI_MPI_ERRHANDLER))
		return MPI_ERR_ARG;
	*errhandler = ckpti_mpi_after(CKPTI_MPI_ERRHANDLER, h, ckpti_mpi_real(MPI_ERRHANDLER_NULL));
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Errhandler_free)

int PMPI_Comm_create_errhandler(MPI_Comm_errhandler_function *function, MPI_Errhandler *errhandler)
{
	return error_create(CKPTI_MPI_COMM, (void *)function, false, errhandler);
}
CKPTI_MPI_WEAK(MPI_Comm_create_errhandler)

int PMPI_Errhandler_create(MPI_Handler_function *function, MPI_Errhandler *errhandler)
{
	return error_create(CKPTI_MPI_COMM, (void *)function, false, errhandler);
}
CKPTI_MPI_WEAK(MPI_Errhandler_create)

int PMPI_Win_create_errhandler(MPI_Win_errhandler_function *function, MPI_Errhandler *errhandler)
{
	return error_create(CKPTI_MPI_WIN, (void *)function, false, errhandler);
}
CKPTI_MPI_WEAK(MPI_Win_create_errhandler)

int PMPI_File_create_errhandler(MPI_File_errhandler_function *function, MPI_Errhandler *errhandler)
{
	return error_create(CKPTI_MPI_FILE, (void *)function, false, errhandler);
}
CKPTI_MPI_WEAK(MPI_File_create_errhandler)

/* libmpi_mpifh and libmpi_cxx */
MPI_Errhandler ompi_errhandler_create(int type, void *function, int language);
__attribute__((visibility("default"))) MPI_Errhandler ompi_errhandler_create(int type,
									     void *function,
									     int language)
{
	MPI_Errhandler made = NULL;
	enum ckpti_mpi_kind kind = type == CKPTI_MPI_TYPE_WIN    ? CKPTI_MPI_WIN
				   : type == CKPTI_MPI_TYPE_FILE ? CKPTI_MPI_FILE
								 : CKPTI_MPI_COMM;

	if (error_create(kind, function, language == CKPTI_MPI_LANG_FORTRAN, &made) != MPI_SUCCESS)
		return NULL;
	return made;
}

int ompi_errhandler_invoke(void *errhandler, void *object, int type, int code, const char *message);
__attribute__((visibility("default"))) int ompi_errhandler_invoke(void *errhandler, void *object,
								  int type, int code,
								  const char *message)
{
	(void)errhandler;
	(void)message;
	if (type == CKPTI_MPI_TYPE_WIN)
		(void)GUEST(MPI_Win_call_errhandler, ckpti_mpi_real(object), code);
	else if (type == CKPTI_MPI_TYPE_FILE)
		(void)GUEST(MPI_File_call_errhandler, ckpti_mpi_real(object), code);
	else
		(void)GUEST(MPI_Comm_call_errhandler,
			    ckpti_mpi_real(object ? object : (void *)MPI_COMM_WORLD), code);
	return code;
}

void ompi_mpi_errors_are_fatal_comm_handler(MPI_Comm *comm, int *code, ...);
__attribute__((visibility("default"))) void ompi_mpi_errors_are_fatal_comm_handler(MPI_Comm *comm,
										   int *code, ...)
{
	(void)ompi_errhandler_invoke(NULL, comm ? (void *)*comm : NULL, 0, *code, NULL);
	ckpti_mpi_fatal("error %d in an MPI call", *code);
}

/* ---- generalized requests -------------------------------------------------------------------- */

struct grequest {
	MPI_Grequest_query_function *query;
	MPI_Grequest_free_function *free;
	MPI_Grequest_cancel_function *cancel;
	void *extra;
	struct ckpti_mpi_handle *handle;
	bool is_fortran;
	bool complete; /* the program has said so, and nobody has waited yet */
};

/* libmpi_mpifh says so after it has started the request, in the handle. */
static bool grequest_is_fortran(struct grequest *g)
{
	if (g->handle && !g->handle->grequest_is_c)
		g->is_fortran = true;
	return g->is_fortran;
}

static int query_call(struct grequest *g, MPI_Status *status)
{
	int words[sizeof(MPI_Status) / sizeof(int)], ret = MPI_SUCCESS;

	if (!grequest_is_fortran(g))
		return g->query(g->extra, status);
	(void)PMPI_Status_c2f(status, words);
	((void (*)(void *, int *, int *))(void *)g->query)(g->extra, words, &ret);
	(void)PMPI_Status_f2c(words, status);
	return ret;
}

static int free_call(struct grequest *g)
{
	int ret = MPI_SUCCESS;

	if (grequest_is_fortran(g))
		((void (*)(void *, int *))(void *)g->free)(g->extra, &ret);
	else
		ret = g->free(g->extra);
	free(g);
	return ret;
}

static int cancel_call(struct grequest *g, int complete)
{
	int ret = MPI_SUCCESS;

	if (!grequest_is_fortran(g))
		return g->cancel(g->extra, complete);
	((void (*)(void *, int *, int *))(void *)g->cancel)(g->extra, &complete, &ret);
	return ret;
}

/* Called inside, as the two that follow. */
static int grequest_query(void *extra, MPI_Status *status)
{
	struct ckpti_guest_thread *thread = caller();
	uint64_t fs = ckpti_fs_get();
	int ret;

	ckpti_fs_set(thread->app_fs);
	ret = query_call(extra, status);
	ckpti_fs_set(fs);
	return ret;
}

static int grequest_free(void *extra)
{
	struct ckpti_guest_thread *thread = caller();
	uint64_t fs = ckpti_fs_get();
	int ret;

	ckpti_fs_set(thread->app_fs);
	ret = free_call(extra);
	ckpti_fs_set(fs);
	return ret;
}

static int grequest_cancel(void *extra, int complete)
{
	struct ckpti_guest_thread *thread = caller();
	uint64_t fs = ckpti_fs_get();
	int ret;

	ckpti_fs_set(thread->app_fs);
	ret = cancel_call(extra, complete);
	ckpti_fs_set(fs);
	return ret;
}

int PMPI_Grequest_start(MPI_Grequest_query_function *query_fn, MPI_Grequest_free_function *free_fn,
			MPI_Grequest_cancel_function *cancel_fn, void *extra_state,
			MPI_Request *request)
{
	struct grequest *g = calloc(1, sizeof(*g));
	MPI_Request real = NULL;
	int ret;

	if (!g)
		return MPI_ERR_NO_MEM;
	*g = (struct grequest){
		.query = query_fn, .free = free_fn, .cancel = cancel_fn, .extra = extra_state};
	ret = GUEST(MPI_Grequest_start, grequest_query, grequest_free, grequest_cancel, g, &real);
	if (ret != MPI_SUCCESS) {
		free(g);
		return ret;
	}
	g->handle = ckpti_mpi_request_new(real);
	g->handle->request.operation = CKPTI_MPI_GENERAL;
	g->handle->request.buf = g;
	*request = (MPI_Request)g->handle;
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Grequest_start)

int PMPI_Grequest_complete(MPI_Request request)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *h = (void *)request;
	int ret;

	if (h && !h->predefined && h->request.operation == CKPTI_MPI_GENERAL && h->request.active)
		((struct grequest *)h->request.buf)->complete = true;
	ret = GUEST(MPI_Grequest_complete, ckpti_mpi_real(h));
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Grequest_complete)

int ckpti_mpi_grequest_again(struct ckpti_mpi_handle *h)
{
	struct grequest *g = h->request.buf;
	MPI_Request real = NULL;
	int ret;

	ret = GUEST(MPI_Grequest_start, grequest_query, grequest_free, grequest_cancel, g, &real);
	h->real = real;
	if (ret == MPI_SUCCESS && g->complete)
		ret = GUEST(MPI_Grequest_complete, real);
	return ret;
}

/* ---- data representations -------------------------------------------------------------------- */

struct datarep {
	MPI_Datarep_conversion_function *read, *write;
	MPI_Datarep_extent_function *extent;
	void *extra;
};

static int convert_call(MPI_Datarep_conversion_function *f, void *user, MPI_Datatype type,
			int count, void *file, MPI_Offset position, void *extra)
{
	struct ckpti_mpi_handle stray = {.real = type, .kind = CKPTI_MPI_DATATYPE};
	struct ckpti_mpi_handle *found = ckpti_mpi_find(type);

	return f(user, (MPI_Datatype)(found ? found : &stray), count, file, position, extra);
}

static int extent_call(struct datarep *d, MPI_Datatype type, MPI_Aint *extent)
{
	struct ckpti_mpi_handle stray = {.real = type, .kind = CKPTI_MPI_DATATYPE};
	struct ckpti_mpi_handle *found = ckpti_mpi_find(type);

	return d->extent((MPI_Datatype)(found ? found : &stray), extent, d->extra);
}

/* Called inside, as the two that follow. */
static int datarep_read(void *user, MPI_Datatype type, int count, void *file, MPI_Offset position,
			void *extra)
{
	struct ckpti_guest_thread *thread = caller();
	struct datarep *d = extra;
	uint64_t fs = ckpti_fs_get();
	int ret;

	ckpti_fs_set(thread->app_fs);
	ret = convert_call(d->read, user, type, count, file, position, d->extra);
	ckpti_fs_set(fs);
	return ret;
}

static int datarep_write(void *user, MPI_Datatype type, int count, void *file, MPI_Offset position,
			 void *extra)
{
	struct ckpti_guest_thread *thread = caller();
	struct datarep *d = extra;
	uint64_t fs = ckpti_fs_get();
	int ret;

	ckpti_fs_set(thread->app_fs);
	ret = convert_call(d->write, user, type, count, file, position, d->extra);
	ckpti_fs_set(fs);
	return ret;
}

static int datarep_extent(MPI_Datatype type, MPI_Aint *extent, void *extra)
{
	struct ckpti_guest_thread *thread = caller();
	uint64_t fs = ckpti_fs_get();
	int ret;

	ckpti_fs_set(thread->app_fs);
	ret = extent_call(extra, type, extent);
	ckpti_fs_set(fs);
	return ret;
}

/* Lives as long as the process, as the representation does. */
int PMPI_Register_datarep(const char *datarep, MPI_Datarep_conversion_function *read_conversion_fn,
			  MPI_Datarep_conversion_function *write_conversion_fn,
			  MPI_Datarep_extent_function *dtype_file_extent_fn, void *extra_state)
{
	struct datarep *d = malloc(sizeof(*d));
	int ret;

	if (!d)
		return MPI_ERR_NO_MEM;
	*d = (struct datarep){read_conversion_fn, write_conversion_fn, dtype_file_extent_fn,
			      extra_state};
	/* MPI_CONVERSION_FN_NULL is a null pointer and stays one. */
	ret = GUEST(MPI_Register_datarep, datarep, read_conversion_fn ? datarep_read : NULL,
		    write_conversion_fn ? datarep_write : NULL, datarep_extent, d);
	if (ret != MPI_SUCCESS)
		free(d);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Register_datarep)
