/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What MPI 4 has added and what Open MPI 5 has changed.  Open MPI 4.1 has nothing of it.
 */
#include "shim/openmpi.h"
#include "shim/shim.h"

#include <stdio.h>

int ckpti_mpi_unsupported(const char *name)
{
	fprintf(stderr, "posix-ckpt: MPI: '%s' is not there when MPI is checkpointed\n", name);
	return MPI_ERR_UNSUPPORTED_OPERATION;
}

#if OMPI_MAJOR_VERSION >= 5

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

#include "shim/request.h"

#define EXPORT __attribute__((visibility("default")))

/* ---- both ways at once -------------------------------------------------------------------------- */

/*
 * The request is the receive; the message goes as a copy that nobody waits for.  MPI asks no more: when
 * the operation has ended the buffer may be used again, whether the message has arrived or not.
 */
int PMPI_Isendrecv(const void *sendbuf, int sendcount, MPI_Datatype sendtype, int dest, int sendtag,
		   void *recvbuf, int recvcount, MPI_Datatype recvtype, int source, int recvtag,
		   MPI_Comm comm, MPI_Request *request)
{
	struct ckpti_guest_thread *self = ckpti_mpi_call_begin();
	struct ckpti_mpi_handle *in = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);
	struct ckpti_mpi_handle *out = ckpti_mpi_request_take(CKPTI_MPI_REQUEST);
	struct ckpti_mpi_coll *c = ckpti_mpi_coll(comm);
	int ret;

	ckpti_mpi_request_note(in, CKPTI_MPI_RECV, CKPTI_MPI_STANDARD, recvbuf, recvcount, recvtype,
			       source, recvtag, c);
	ckpti_mpi_request_note(out, CKPTI_MPI_SEND, CKPTI_MPI_STANDARD, sendbuf, sendcount,
			       sendtype, dest, sendtag, c);
	/* The copy first: a receive into the same buffer may end at once. */
	ret = ckpti_mpi_send_copy(self, out, false);
	if (ret == MPI_SUCCESS)
		ret = ckpti_mpi_request_post(self, in);
	if (ret == MPI_SUCCESS)
		*request = (MPI_Request)in;
	else
		ckpti_mpi_request_discard(in);
	ckpti_mpi_request_discard(out);
	ckpti_mpi_call_end(self);
	return ret;
}
CKPTI_MPI_WEAK(MPI_Isendrecv)

int PMPI_Isendrecv_replace(void *buf, int count, MPI_Datatype type, int dest, int sendtag,
			   int source, int recvtag, MPI_Comm comm, MPI_Request *request)
{
	return PMPI_Isendrecv(buf, count, type, dest, sendtag, buf, count, type, source, recvtag,
			      comm, request);
}
CKPTI_MPI_WEAK(MPI_Isendrecv_replace)

/* ---- status of Fortran 2008: C's words, in its order ---------------------------------------------- */

_Static_assert(sizeof(MPI_F08_status) == sizeof(MPI_Status), "Open MPI's mpi.h");

static int copy_status(const void *from, void *to)
{
	if (!from || !to || from == MPI_F_STATUS_IGNORE || to == MPI_F_STATUS_IGNORE ||
	    from == MPI_F_STATUSES_IGNORE || to == MPI_F_STATUSES_IGNORE)
		return MPI_ERR_IN_STATUS;
	memcpy(to, from, sizeof(MPI_Status));
	return MPI_SUCCESS;
}

int PMPI_Status_c2f08(const MPI_Status *c_status, MPI_F08_status *f08_status)
{
	return copy_status(c_status, f08_status);
}
CKPTI_MPI_WEAK(MPI_Status_c2f08)

int PMPI_Status_f082c(const MPI_F08_status *f08_status, MPI_Status *c_status)
{
	return copy_status(f08_status, c_status);
}
CKPTI_MPI_WEAK(MPI_Status_f082c)

int PMPI_Status_f2f08(const MPI_Fint *f_status, MPI_F08_status *f08_status)
{
	return copy_status(f_status, f08_status);
}
CKPTI_MPI_WEAK(MPI_Status_f2f08)

int PMPI_Status_f082f(const MPI_F08_status *f08_status, MPI_Fint *f_status)
{
	return copy_status(f08_status, f_status);
}
CKPTI_MPI_WEAK(MPI_Status_f082f)

/* ---- sessions: there is none (generate.py) --------------------------------------------------------- */

MPI_Fint PMPI_Session_c2f(const MPI_Session session)
{
	(void)session;
	return 0;
}
CKPTI_MPI_WEAK(MPI_Session_c2f)

MPI_Session PMPI_Session_f2c(MPI_Fint session)
{
	(void)session;
	return MPI_SESSION_NULL;
}
CKPTI_MPI_WEAK(MPI_Session_f2c)

/* ---- infos, for libmpi_mpifh ------------------------------------------------------------------------ */

/* Strings of libopen-pal, which that library has loaded, and frees them by itself. */
static void *string_new(const char *text)
{
	void *(*create)(const char *text) = NULL;
	void *pal = dlopen("libopen-pal.so.80", RTLD_LAZY | RTLD_NOLOAD);

	if (pal) {
		*(void **)&create = dlsym(pal, "opal_cstring_create");
		(void)dlclose(pal);
	}
	return create ? create(text) : NULL;
}

int ompi_info_get(MPI_Info info, const char *key, void **ret_string, int *flag);
EXPORT int ompi_info_get(MPI_Info info, const char *key, void **ret_string, int *flag)
{
	int len = 0, ret = PMPI_Info_get_valuelen(info, key, &len, flag);
	char *text;

	*ret_string = NULL;
	if (ret != MPI_SUCCESS || !*flag)
		return ret;
	text = malloc((size_t)len + 1);
	if (text)
		ret = PMPI_Info_get(info, key, len, text, flag);
	if (text && ret == MPI_SUCCESS && *flag)
		*ret_string = string_new(text);
	free(text);
	return ret == MPI_SUCCESS && *flag && !*ret_string ? MPI_ERR_NO_MEM : ret;
}

int ompi_info_get_valuelen(MPI_Info info, const char *key, int *len, int *flag);
EXPORT int ompi_info_get_valuelen(MPI_Info info, const char *key, int *len, int *flag)
{
	return PMPI_Info_get_valuelen(info, key, len, flag);
}

int ompi_info_get_nthkey(MPI_Info info, int n, void **ret_string);
EXPORT int ompi_info_get_nthkey(MPI_Info info, int n, void **ret_string)
{
	char key[MPI_MAX_INFO_KEY + 1];
	int ret = PMPI_Info_get_nthkey(info, n, key);

	*ret_string = ret == MPI_SUCCESS ? string_new(key) : NULL;
	return ret == MPI_SUCCESS && !*ret_string ? MPI_ERR_NO_MEM : ret;
}

#endif
