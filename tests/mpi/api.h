/* SPDX-License-Identifier: BSD-3-Clause */
/* What the programs of api_*.c have in common: they print what calls of MPI give back. */
#ifndef TESTS_MPI_API_H
#define TESTS_MPI_API_H

/* What MPI-3 has removed is declared, too. */
#define OMPI_OMIT_MPI1_COMPAT_DECLS 0

#include <mpi.h>
#include <stdarg.h>
#include <stdio.h>

#include "persistent.h"

static int rank, size;
static MPI_Comm world = MPI_COMM_WORLD;

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void say(const char *format, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	printf("rank %d %s\n", rank, line);
}

static inline void show(const char *what, const int *v, int n)
{
	char line[512];
	int at = snprintf(line, sizeof(line), "%s:", what);

	for (int i = 0; i < n && at < (int)sizeof(line) - 16; i++)
		at += snprintf(line + at, sizeof(line) - (size_t)at, " %d", v[i]);
	say("%s", line);
}

static void api_begin(int *argc, char ***argv) __attribute__((unused));
static void api_begin(int *argc, char ***argv)
{
	MPI_Init(argc, argv);
	MPI_Comm_rank(world, &rank);
	MPI_Comm_size(world, &size);
}

#endif
