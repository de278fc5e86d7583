/* SPDX-License-Identifier: BSD-3-Clause */
/* A libmpi.so.40 of another time: the shim must refuse it by its name, and call nothing else of it. */
#include <stdlib.h>
#include <string.h>

int PMPI_Get_library_version(char *version, int *len);
int PMPI_Init(int *argc, char ***argv);

int PMPI_Get_library_version(char *version, int *len)
{
	strcpy(version, "Open MPI v6.1.0, package: none, ident: 6.1.0");
	*len = (int)strlen(version);
	return 0;
}

int PMPI_Init(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	abort();
}
