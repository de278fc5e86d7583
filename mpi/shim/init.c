/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Loads the guest at the program's first MPI call and starts MPI in it, and does the same again in a new
 * life (restart.c).  All signals stay blocked while that lasts, so the guest's threads are born with a
 * full mask and a checkpoint waits.
 */
#include "shim/shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "shim/cut.h"
#include "shim/request.h"
#include "shim/restart.h"

/* Beside the shim. */
#define GUEST_PROGRAM "mpi-guest"

struct ckpti_mpi_calls ckpti_mpi;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool loaded, forked;
static int loading;
static enum {
	BEFORE,
	RUNNING,
	ENDED
} state;
bool ckpti_mpi_running;

/* What a new life must do and find in the same way. */
static struct {
	bool threads; /* MPI_Init_thread, and what it was given */
	int required;
	int size, rank;
	pthread_t thread; /* who has called it */
	const struct ckpti_guest_thread *starter;
} first;
static int held_back; /* futex word */

/* Values that libmpi_mpifh reads. */
extern int ompi_mpi_state;
extern bool ompi_mpi_param_check;
#if OMPI_MAJOR_VERSION >= 5
extern int32_t ompi_instance_count;
#endif

/* OMPI_MPI_STATE_INIT_COMPLETED and OMPI_MPI_STATE_FINALIZE_COMPLETED */
static void tell_fortran(bool running)
{
	ompi_mpi_state = running ? 2 : 5;
#if OMPI_MAJOR_VERSION >= 5
	ompi_instance_count = running;
#endif
}

void ckpti_mpi_fatal(const char *format, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(text, sizeof(text), format, ap);
	va_end(ap);
	fprintf(stderr, "posix-ckpt: MPI: %s\n", text);
	exit(1);
}

bool ckpti_mpi_loading(void)
{
	return __atomic_load_n(&loading, __ATOMIC_SEQ_CST) != 0;
}

/* Called inside: in place of a function that this MPI library does not have. */
static int missing(void)
{
	return MPI_ERR_UNSUPPORTED_OPERATION;
}

/* What MPI has removed, extensions and tools may be missing. */
static bool may_miss(const char *name)
{
	static const char *const optional[] = {"PMPIX_",
					       "MPIX_",
					       "PMPI_T_",
					       "OMPI_",
					       "PMPI_Address",
					       "PMPI_Errhandler_create",
					       "PMPI_Errhandler_get",
					       "PMPI_Errhandler_set",
					       "PMPI_Type_extent",
					       "PMPI_Type_hindexed",
					       "PMPI_Type_hvector",
					       "PMPI_Type_lb",
					       "PMPI_Type_struct",
					       "PMPI_Type_ub",
					       "PMPI_Keyval_",
					       "PMPI_Attr_"};

	for (size_t i = 0; i < sizeof(optional) / sizeof(optional[0]); i++)
		if (strncmp(name, optional[i], strlen(optional[i])) == 0)
			return true;
	return false;
}

/* Handles of another series are other structs, and its functions may be others of the same name. */
static int check_version(void **table, struct ckpti_err *err)
{
	struct ckpti_mpi_calls calls;
	struct ckpti_guest_thread *self = ckpti_guest_self;
	char found[MPI_MAX_LIBRARY_VERSION_STRING] = "";
	int len = 0, ret;

	memcpy(&calls, table, sizeof(calls));
	if (!calls.MPI_Get_library_version)
		return 0; /* check_table() says so */
	ckpti_guest_enter(self);
	ret = calls.MPI_Get_library_version(found, &len);
	ckpti_guest_leave(self);
	found[sizeof(found) - 1] = '\0';
	if (ret == MPI_SUCCESS && strncmp(found, CKPTI_MPI_SERIES, strlen(CKPTI_MPI_SERIES)) == 0)
		return 0;
	found[strcspn(found, ",\n")] = '\0';
	return ckpti_err(
		err, -ENOTSUP,
		"the MPI library of this program is '%.80s', which is not known: only " CKPTI_MPI_SERIES
		"x is",
		found);
}

static int check_table(void **table, struct ckpti_err *err)
{
	size_t n = ckpti_mpi_ncalls + ckpti_mpi_nobjects;

	for (size_t i = 0; i < n; i++) {
		if (table[i])
			continue;
		if (i >= ckpti_mpi_ncalls || !may_miss(ckpti_mpi_names[i]))
			return ckpti_err(err, -ENOTSUP,
					 "the MPI library of this program has no '%s'",
					 ckpti_mpi_names[i]);
		table[i] = (void *)missing;
	}
	return 0;
}

/* The guest program lies beside the shim. */
static int own_directory(char *ret_dir, size_t size, struct ckpti_err *err)
{
	Dl_info info;
	char *slash;

	if (!dladdr((void *)ckpti_mpi_fatal, &info) || !info.dli_fname ||
	    strlen(info.dli_fname) >= size)
		return ckpti_err(err, -ENAMETOOLONG, "cannot tell where this library lies");
	(void)strcpy(ret_dir, info.dli_fname);
	slash = strrchr(ret_dir, '/');
	if (slash)
		*slash = '\0';
	else
		(void)strcpy(ret_dir, ".");
	return 0;
}

static void in_child(void)
{
	if (!loaded)
		return;
	loaded = false;
	forked = true;
	ckpti_mpi_running = false;
	(void)pthread_mutex_init(&lock, NULL);
	ckpti_mpi_handles_forked();
	ckpti_guest_drop();
}

static void flush_guest(void)
{
	struct ckpti_guest_thread *self = ckpti_guest_self;

	/* Only the thread that ends the process, and only if it has a guest's TCB. */
	if (!loaded || !self || self->depth)
		return;
	self->depth++;
	ckpti_guest_enter(self);
	ckpti_guest_port->flush();
	ckpti_guest_leave(self);
	self->depth--;
}

int ckpti_mpi_load(char *const *env, struct ckpti_err *err)
{
	size_t n = ckpti_mpi_ncalls + ckpti_mpi_nobjects;
	void **table = calloc(n, sizeof(*table));
	char dir[4000], program[sizeof(dir) + sizeof(GUEST_PROGRAM) + 1];
	char **chosen = NULL;
	static bool once;
	int r = table ? own_directory(dir, sizeof(dir), err)
		      : ckpti_err(err, -ENOMEM, "no memory for the table of functions");

	if (r == 0) {
		(void)snprintf(program, sizeof(program), "%s/" GUEST_PROGRAM, dir);
		chosen = ckpti_mpi_choose(env ? env : environ, dir);
		if (!chosen)
			r = ckpti_err(err, -ENOMEM, "no memory for the guest's environment");
	}
	if (r == 0)
		r = ckpti_guest_load(program, chosen, dir, ckpti_mpi_names, table, n, err);
	if (r == 0)
		r = ckpti_guest_check(err);
	if (r == 0)
		r = check_version(table, err);
	if (r == 0)
		r = check_table(table, err);
	if (r == 0)
		r = ckpti_guest_signals_guard(err);
	if (r == 0) {
		memcpy(&ckpti_mpi, table, sizeof(ckpti_mpi));
		ckpti_mpi_handles_begin(table + ckpti_mpi_ncalls, !once);
		if (!once) {
			(void)pthread_atfork(NULL, NULL, in_child);
			(void)atexit(flush_guest);
			ckpti_mpi_hooks_register();
		}
		once = true;
		__atomic_store_n(&loaded, true, __ATOMIC_RELEASE);
	}
	ckpti_mpi_choose_free(chosen);
	free(table);
	return r;
}

void ckpti_mpi_hold_back(bool on)
{
	__atomic_store_n(&held_back, on, __ATOMIC_SEQ_CST);
	if (!on)
		(void)syscall(SYS_futex, &held_back, FUTEX_WAKE_PRIVATE, 1 << 30, NULL, NULL, 0);
}

struct ckpti_guest_thread *ckpti_mpi_attach(void)
{
	struct ckpti_err err = {0};
	uint64_t mask;
	int r = 0;

	if (forked)
		ckpti_mpi_fatal("process %d was forked by an MPI process and cannot call MPI",
				(int)getpid());
	while (__atomic_load_n(&held_back, __ATOMIC_SEQ_CST))
		(void)syscall(SYS_futex, &held_back, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
	mask = ckpti_guest_signals_block();
	(void)pthread_mutex_lock(&lock);
	if (!loaded) {
		(void)__atomic_add_fetch(&loading, 1, __ATOMIC_SEQ_CST);
		r = ckpti_mpi_load(NULL, &err);
		(void)__atomic_sub_fetch(&loading, 1, __ATOMIC_SEQ_CST);
	}
	(void)pthread_mutex_unlock(&lock);
	if (r == 0 && !ckpti_guest_self)
		r = ckpti_guest_attach(&err);
	ckpti_guest_signals_restore(mask);
	if (r < 0)
		ckpti_mpi_fatal("%s", err.text);
	return ckpti_guest_self;
}

/* ---- MPI's start and end --------------------------------------------------------------------- */

/*
 * UCX gives the thread that starts it a signal stack of its own.  It lies in the guest, and handlers of
 * the application would run on it, that of checkpoints too.
 */
static stack_t app_stack;

/* Returns the signal mask; the two functions frame MPI's start. */
static uint64_t start_begin(void)
{
	struct ckpti_err err = {0};
	uint64_t mask;

	(void)__atomic_add_fetch(&loading, 1, __ATOMIC_SEQ_CST);
	mask = ckpti_guest_signals_block();
	(void)sigaltstack(NULL, &app_stack);
	(void)ckpti_mpi_self();
	if (ckpti_guest_check_begin(&err) < 0)
		ckpti_mpi_fatal("%s", err.text);
	return mask;
}

static void start_end(int ret, uint64_t mask)
{
	struct ckpti_err err = {0};

	if (ret == MPI_SUCCESS) {
		if (ckpti_mpi_control_start(&err) < 0)
			ckpti_mpi_fatal("%s", err.text);
		state = RUNNING;
		ckpti_mpi_running = true;
		tell_fortran(true);
		/* libmpi_mpifh would check our handles as if they were the guest's. */
		ompi_mpi_param_check = false;
		if (ckpti_guest_check(&err) < 0)
			ckpti_mpi_fatal("%s", err.text);
		ckpti_mpi_handles_number();
		ckpti_mpi_requests_begin();
		(void)PMPI_Comm_size(MPI_COMM_WORLD, &first.size);
		(void)PMPI_Comm_rank(MPI_COMM_WORLD, &first.rank);
		first.thread = pthread_self();
		first.starter = ckpti_guest_self;
	}
	(void)sigaltstack(&app_stack, NULL);
	ckpti_guest_signals_restore(mask);
	(void)__atomic_sub_fetch(&loading, 1, __ATOMIC_SEQ_CST);
}

int PMPI_Init_thread(int *argc, char ***argv, int required, int *provided)
{
	uint64_t mask = start_begin();
	int ret = GUEST(MPI_Init_thread, argc, argv, required, provided);

	first.threads = true;
	first.required = required;
	start_end(ret, mask);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Init_thread)

/* Not MPI_Init_thread: Open MPI lets the environment choose the level for this one. */
int PMPI_Init(int *argc, char ***argv)
{
	uint64_t mask = start_begin();
	int ret = GUEST(MPI_Init, argc, argv);

	start_end(ret, mask);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Init)

const struct ckpti_guest_thread *ckpti_mpi_starter(void)
{
	return first.starter;
}

static int check_launch(struct ckpti_err *err)
{
	MPI_Comm world = ckpti_mpi_real(MPI_COMM_WORLD);
	int size = -1, rank = -1;

	(void)GUEST(MPI_Comm_size, world, &size);
	(void)GUEST(MPI_Comm_rank, world, &rank);
	if (size != first.size)
		return ckpti_err(err, -EINVAL, "%d ranks were launched instead of %d", size,
				 first.size);
	if (rank != first.rank)
		return ckpti_err(err, -EINVAL, "this is rank %d and was launched as rank %d",
				 first.rank, rank);
	return 0;
}

/* The guest prints what fails in MPI_Init, and ends us. */
int ckpti_mpi_start_again(struct ckpti_err *err)
{
	uint64_t mask;
	int ret, provided, r;

	(void)__atomic_add_fetch(&loading, 1, __ATOMIC_SEQ_CST);
	mask = ckpti_guest_signals_block();
	(void)sigaltstack(NULL, &app_stack);
	if (first.threads)
		ret = GUEST(MPI_Init_thread, NULL, NULL, first.required, &provided);
	else
		ret = GUEST(MPI_Init, NULL, NULL);
	if (ret == MPI_SUCCESS)
		r = check_launch(err);
	else
		r = ckpti_err(err, -EIO, "MPI_Init failed with error %d", ret);
	if (r == 0)
		r = ckpti_mpi_control_start(err);
	if (r == 0)
		ckpti_mpi_requests_begin();
	(void)sigaltstack(&app_stack, NULL);
	ckpti_guest_signals_restore(mask);
	(void)__atomic_sub_fetch(&loading, 1, __ATOMIC_SEQ_CST);
	return r;
}

int PMPI_Is_thread_main(int *flag)
{
	/* In a new life another thread may have started the guest's MPI. */
	*flag = pthread_equal(first.thread, pthread_self());
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Is_thread_main)

int PMPI_Finalize(void)
{
	int ret = ckpti_mpi_attrs_delete((void *)MPI_COMM_SELF);

	if (ret == MPI_SUCCESS)
		ret = GUEST_COLL(MPI_COMM_WORLD, MPI_Finalize);
	if (ret == MPI_SUCCESS) {
		ckpti_mpi_running = false;
		state = ENDED;
		tell_fortran(false);
	}
	return ret;
}
CKPTI_MPI_WEAK(MPI_Finalize)

int PMPI_Initialized(int *flag)
{
	*flag = state != BEFORE;
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Initialized)

int PMPI_Finalized(int *flag)
{
	*flag = state == ENDED;
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Finalized)

int PMPI_Abort(MPI_Comm comm, int errorcode)
{
	return GUEST(MPI_Abort, ckpti_mpi_real(comm), errorcode);
}
CKPTI_MPI_WEAK(MPI_Abort)

/* For tools, which replace it. */
int PMPI_Pcontrol(const int level, ...)
{
	(void)level;
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Pcontrol)
