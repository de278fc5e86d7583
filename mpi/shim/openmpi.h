/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the shim knows of the inside of Open MPI, because the Fortran and C++ libraries that run on top of
 * it do, and what of that differs from one version to the next.  Everything else is in mpi.h.
 */
#ifndef CKPT_MPI_OPENMPI_H
#define CKPT_MPI_OPENMPI_H

#include <mpi.h>

#define CKPTI_MPI_STRING_(x) #x
#define CKPTI_MPI_STRING(x)  CKPTI_MPI_STRING_(x)
/* As the library calls itself; within a series all is the same. */
#define CKPTI_MPI_SERIES                                                        \
	"Open MPI v" CKPTI_MPI_STRING(OMPI_MAJOR_VERSION) "." CKPTI_MPI_STRING( \
		OMPI_MINOR_VERSION) "."

/*
 * Where in a communicator its table of attributes is; the languages of an error handler; and what keeps
 * the transport of a node from looking for memory by process number.
 */
#if OMPI_MAJOR_VERSION == 4 && OMPI_MINOR_VERSION == 1
#define CKPTI_MPI_COMM_TABLE 0x110
#define CKPTI_MPI_NO_PIDS    "OMPI_MCA_btl_vader_single_copy_mechanism=emulated"
enum {
	CKPTI_MPI_LANG_FORTRAN = 2
};
#elif OMPI_MAJOR_VERSION == 5 && OMPI_MINOR_VERSION == 0
#define CKPTI_MPI_COMM_TABLE 0x120
#define CKPTI_MPI_NO_PIDS    "OMPI_MCA_smsc=^cma"
enum {
	CKPTI_MPI_LANG_FORTRAN = 1
};
#else
#error "this version of Open MPI is not known: see docs/limits.md"
#endif

/* ompi/errhandler/errhandler.h: what an error handler is of. */
enum {
	CKPTI_MPI_TYPE_WIN = 2,
	CKPTI_MPI_TYPE_FILE = 3
};

/* ompi/attribute/attribute.h: what an attribute is of. */
enum {
	CKPTI_MPI_ATTR_COMM = 1,
	CKPTI_MPI_ATTR_TYPE = 2
};

/* ompi/datatype/ompi_datatype.h: what ompi_datatype_match_size() is to find. */
enum {
	CKPTI_MPI_DATA_INT = 0x1000,
	CKPTI_MPI_DATA_COMPLEX = 0x3000 /* else a real number */
};

#endif
