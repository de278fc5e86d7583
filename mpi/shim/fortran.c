/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What Open MPI's Fortran libraries expect from libmpi.so.40 besides MPI: integers for handles, which
 * are ours and so survive a restart; strings, which they free() themselves; functions that a Fortran
 * program names.
 */
#include "shim/shim.h"

#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

#define NUMBERS(Name, KIND, type)                                       \
	int PMPI_##Name##_c2f(type object)                              \
	{                                                               \
		(void)ckpti_mpi_self();                                 \
		return ckpti_mpi_c2f(CKPTI_MPI_##KIND, (void *)object); \
	}                                                               \
	CKPTI_MPI_WEAK(MPI_##Name##_c2f)                                \
	type PMPI_##Name##_f2c(int number)                              \
	{                                                               \
		(void)ckpti_mpi_self();                                 \
		return ckpti_mpi_f2c(CKPTI_MPI_##KIND, number);         \
	}                                                               \
	CKPTI_MPI_WEAK(MPI_##Name##_f2c)

NUMBERS(Comm, COMM, MPI_Comm)
NUMBERS(Type, DATATYPE, MPI_Datatype)
NUMBERS(Op, OP, MPI_Op)
NUMBERS(Group, GROUP, MPI_Group)
NUMBERS(Request, REQUEST, MPI_Request)
NUMBERS(Win, WIN, MPI_Win)
NUMBERS(File, FILE, MPI_File)
NUMBERS(Info, INFO, MPI_Info)
NUMBERS(Errhandler, ERRHANDLER, MPI_Errhandler)
NUMBERS(Message, MESSAGE, MPI_Message)

/* ---- status ---------------------------------------------------------------------------------- */

int PMPI_Status_c2f(const MPI_Status *c_status, int *f_status)
{
	if (!c_status || !f_status || f_status == MPI_F_STATUS_IGNORE ||
	    f_status == MPI_F_STATUSES_IGNORE)
		return MPI_ERR_IN_STATUS;
	memcpy(f_status, c_status, sizeof(*c_status));
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Status_c2f)

int PMPI_Status_f2c(const int *f_status, MPI_Status *c_status)
{
	if (!f_status || !c_status || f_status == MPI_F_STATUS_IGNORE ||
	    f_status == MPI_F_STATUSES_IGNORE)
		return MPI_ERR_IN_STATUS;
	memcpy(c_status, f_status, sizeof(*c_status));
	return MPI_SUCCESS;
}
CKPTI_MPI_WEAK(MPI_Status_f2c)

/* ---- strings: OMPI_SUCCESS is 0, OMPI_ERR_OUT_OF_RESOURCE -2 ------------------------------------ */

#define NO_MEMORY (-2)

int ompi_fortran_string_f2c(const char *fortran, int len, char **ret_c);
int ompi_fortran_string_c2f(const char *c, char *fortran, int len);
int ompi_fortran_argv_blank_f2c(const char *array, int string_len, int advance, char ***ret_argv);
int ompi_fortran_argv_count_f2c(const char *array, int count, int string_len, int advance,
				char ***ret_argv);
int ompi_fortran_multiple_argvs_f2c(int count, const char *array, int string_len,
				    char ****ret_argv);

/* Blanks at both ends are no part of it. */
EXPORT int ompi_fortran_string_f2c(const char *fortran, int len, char **ret_c)
{
	int begin = 0;

	while (len > 0 && fortran[len - 1] == ' ')
		len--;
	while (begin < len && fortran[begin] == ' ')
		begin++;
	*ret_c = strndup(fortran + begin, (size_t)(len - begin));
	return *ret_c ? 0 : NO_MEMORY;
}

EXPORT int ompi_fortran_string_c2f(const char *c, char *fortran, int len)
{
	size_t n = strlen(c), room = len > 0 ? (size_t)len : 0;

	n = n < room ? n : room;
	memcpy(fortran, c, n);
	memset(fortran + n, ' ', room - n);
	return 0;
}

/* The list ends with count strings, or, when that is negative, with a blank one. */
static int strings_f2c(const char *array, int count, int string_len, int advance, char ***ret_argv)
{
	char **argv = calloc(1, sizeof(*argv)), **more, *s;
	int n = 0;

	for (; argv && (count < 0 || n < count); n++, array += advance) {
		if (ompi_fortran_string_f2c(array, string_len, &s) != 0)
			break;
		if (count < 0 && !*s) {
			free(s);
			*ret_argv = argv;
			return 0;
		}
		more = realloc(argv, ((size_t)n + 2) * sizeof(*argv));
		if (!more)
			break;
		argv = more;
		argv[n] = s;
		argv[n + 1] = NULL;
	}
	*ret_argv = argv;
	return argv && n == count ? 0 : NO_MEMORY;
}

EXPORT int ompi_fortran_argv_blank_f2c(const char *array, int string_len, int advance,
				       char ***ret_argv)
{
	return strings_f2c(array, -1, string_len, advance, ret_argv);
}

EXPORT int ompi_fortran_argv_count_f2c(const char *array, int count, int string_len, int advance,
				       char ***ret_argv)
{
	return strings_f2c(array, count, string_len, advance, ret_argv);
}

EXPORT int ompi_fortran_multiple_argvs_f2c(int count, const char *array, int string_len,
					   char ****ret_argv)
{
	char ***argvs = calloc((size_t)count + 1, sizeof(*argvs));
	int ret = argvs ? 0 : NO_MEMORY;

	for (int i = 0; ret == 0 && i < count; i++)
		ret = strings_f2c(array + (size_t)i * (size_t)string_len, -1, string_len,
				  count * string_len, &argvs[i]);
	*ret_argv = argvs;
	return ret;
}

/* ---- a datatype by its size --------------------------------------------------------------------- */

/* libmpi_mpifh calls it with Fortran's size; the type is predefined. */
const void *ompi_datatype_match_size(int size, uint16_t class, uint16_t language);
EXPORT const void *ompi_datatype_match_size(int size, uint16_t class, uint16_t language)
{
	MPI_Datatype type = MPI_DATATYPE_NULL;
	int typeclass = class == CKPTI_MPI_DATA_INT       ? MPI_TYPECLASS_INTEGER
			: class == CKPTI_MPI_DATA_COMPLEX ? MPI_TYPECLASS_COMPLEX
							  : MPI_TYPECLASS_REAL;

	(void)language;
	(void)PMPI_Type_match_size(typeclass, size, &type);
	return type;
}

/* ---- functions that programs name ------------------------------------------------------------------ */

#define COPY(name, type)                                                                   \
	EXPORT int name(type object, int key, void *extra, void *in, void *out, int *flag) \
	{                                                                                  \
		(void)object;                                                              \
		(void)key;                                                                 \
		(void)extra;                                                               \
		(void)in;                                                                  \
		(void)out;                                                                 \
		*flag = 0;                                                                 \
		return MPI_SUCCESS;                                                        \
	}
#define DUP(name, type)                                                                    \
	EXPORT int name(type object, int key, void *extra, void *in, void *out, int *flag) \
	{                                                                                  \
		(void)object;                                                              \
		(void)key;                                                                 \
		(void)extra;                                                               \
		*(void **)out = in;                                                        \
		*flag = 1;                                                                 \
		return MPI_SUCCESS;                                                        \
	}
#define DELETE(name, type)                                              \
	EXPORT int name(type object, int key, void *value, void *extra) \
	{                                                               \
		(void)object;                                           \
		(void)key;                                              \
		(void)value;                                            \
		(void)extra;                                            \
		return MPI_SUCCESS;                                     \
	}

COPY(OMPI_C_MPI_COMM_NULL_COPY_FN, MPI_Comm)
COPY(OMPI_C_MPI_TYPE_NULL_COPY_FN, MPI_Datatype)
COPY(OMPI_C_MPI_WIN_NULL_COPY_FN, MPI_Win)
COPY(OMPI_C_MPI_NULL_COPY_FN, MPI_Comm)
DUP(OMPI_C_MPI_COMM_DUP_FN, MPI_Comm)
DUP(OMPI_C_MPI_TYPE_DUP_FN, MPI_Datatype)
DUP(OMPI_C_MPI_WIN_DUP_FN, MPI_Win)
DUP(OMPI_C_MPI_DUP_FN, MPI_Comm)
DELETE(OMPI_C_MPI_COMM_NULL_DELETE_FN, MPI_Comm)
DELETE(OMPI_C_MPI_TYPE_NULL_DELETE_FN, MPI_Datatype)
DELETE(OMPI_C_MPI_WIN_NULL_DELETE_FN, MPI_Win)
DELETE(OMPI_C_MPI_NULL_DELETE_FN, MPI_Comm)

/* Each under the names that compilers may give it; in C the upper case ones are macros. */
#undef MPI_COMM_NULL_COPY_FN
#undef MPI_TYPE_NULL_COPY_FN
#undef MPI_WIN_NULL_COPY_FN
#undef MPI_NULL_COPY_FN
#undef MPI_COMM_DUP_FN
#undef MPI_TYPE_DUP_FN
#undef MPI_WIN_DUP_FN
#undef MPI_DUP_FN
#undef MPI_COMM_NULL_DELETE_FN
#undef MPI_TYPE_NULL_DELETE_FN
#undef MPI_WIN_NULL_DELETE_FN
#undef MPI_NULL_DELETE_FN
#undef MPI_CONVERSION_FN_NULL
#define ALIAS(name, other) extern EXPORT __typeof__(name) other __attribute__((weak, alias(#name)));
#define FORTRAN_NAMES(lower, UPPER) \
	ALIAS(lower##_f, UPPER)     \
	ALIAS(lower##_f, lower)     \
	ALIAS(lower##_f, lower##_)  \
	ALIAS(lower##_f, lower##__)

#define F_COPY(lower, UPPER, word, dup)                                                           \
	static void lower##_f(int *object, int *key, word *extra, word *in, word *out, int *flag, \
			      int *error)                                                         \
	{                                                                                         \
		(void)object;                                                                     \
		(void)key;                                                                        \
		(void)extra;                                                                      \
		*flag = dup;                                                                      \
		if (dup)                                                                          \
			*out = *in;                                                               \
		*error = MPI_SUCCESS;                                                             \
	}                                                                                         \
	FORTRAN_NAMES(lower, UPPER)
#define F_DELETE(lower, UPPER, word)                                                       \
	static void lower##_f(int *object, int *key, word *value, word *extra, int *error) \
	{                                                                                  \
		(void)object;                                                              \
		(void)key;                                                                 \
		(void)value;                                                               \
		(void)extra;                                                               \
		*error = MPI_SUCCESS;                                                      \
	}                                                                                  \
	FORTRAN_NAMES(lower, UPPER)

F_COPY(mpi_comm_null_copy_fn, MPI_COMM_NULL_COPY_FN, MPI_Aint, 0)
F_COPY(mpi_type_null_copy_fn, MPI_TYPE_NULL_COPY_FN, MPI_Aint, 0)
F_COPY(mpi_win_null_copy_fn, MPI_WIN_NULL_COPY_FN, MPI_Aint, 0)
F_COPY(mpi_null_copy_fn, MPI_NULL_COPY_FN, int, 0)
F_COPY(mpi_comm_dup_fn, MPI_COMM_DUP_FN, MPI_Aint, 1)
F_COPY(mpi_type_dup_fn, MPI_TYPE_DUP_FN, MPI_Aint, 1)
F_COPY(mpi_win_dup_fn, MPI_WIN_DUP_FN, MPI_Aint, 1)
F_COPY(mpi_dup_fn, MPI_DUP_FN, int, 1)
F_DELETE(mpi_comm_null_delete_fn, MPI_COMM_NULL_DELETE_FN, MPI_Aint)
F_DELETE(mpi_type_null_delete_fn, MPI_TYPE_NULL_DELETE_FN, MPI_Aint)
F_DELETE(mpi_win_null_delete_fn, MPI_WIN_NULL_DELETE_FN, MPI_Aint)
F_DELETE(mpi_null_delete_fn, MPI_NULL_DELETE_FN, int)

/* Never called: its address says that nothing is to be converted. */
EXPORT int mpi_conversion_fn_null_f(void *user, int *type, int *count, void *file,
				    MPI_Offset *position, MPI_Aint *extra, int *error);
EXPORT int mpi_conversion_fn_null_f(void *user, int *type, int *count, void *file,
				    MPI_Offset *position, MPI_Aint *extra, int *error)
{
	(void)user;
	(void)type;
	(void)count;
	(void)file;
	(void)position;
	(void)extra;
	*error = MPI_SUCCESS;
	return MPI_SUCCESS;
}
FORTRAN_NAMES(mpi_conversion_fn_null, MPI_CONVERSION_FN_NULL)

static double mpi_wtime_f90_f(void)
{
	return PMPI_Wtime();
}
FORTRAN_NAMES(mpi_wtime_f90, MPI_WTIME_F90)

static double mpi_wtick_f90_f(void)
{
	return PMPI_Wtick();
}
FORTRAN_NAMES(mpi_wtick_f90, MPI_WTICK_F90)

static MPI_Aint mpi_aint_add_f90_f(MPI_Aint *base, MPI_Aint *disp)
{
	return *base + *disp;
}
FORTRAN_NAMES(mpi_aint_add_f90, MPI_AINT_ADD_F90)

static MPI_Aint mpi_aint_diff_f90_f(MPI_Aint *a, MPI_Aint *b)
{
	return *a - *b;
}
FORTRAN_NAMES(mpi_aint_diff_f90, MPI_AINT_DIFF_F90)
