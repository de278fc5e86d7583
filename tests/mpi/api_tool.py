#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: api_tool.py GENERATE LIBMPI OUTPUT INCLUDEDIR...

Writes a tool of the kind that MPI's profiling interface is made for: it has every function MPI_x of mpi.h,
which notes that it was called and calls PMPI_x.  At the end it writes into the directory $API_CALLED which
ones were.  `functions.txt` beside OUTPUT has all names.  GENERATE: the shim's generate.py, which reads mpi.h.
"""
import importlib.util
import os
import sys

HEAD = """/* Made by api_tool.py. */
#define OMPI_OMIT_MPI1_COMPAT_DECLS 0
#include <mpi.h>
#include <mpi-ext.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static unsigned char called[%d];
static const char *const name[] = {
%s};

__attribute__((destructor)) static void tell(void)
{
	char path[4096];
	FILE *f;

	snprintf(path, sizeof(path), "%%s/%%d", getenv("API_CALLED"), getpid());
	f = fopen(path, "w");
	if (!f)
		return;
	for (unsigned int i = 0; i < sizeof(called); i++)
		if (called[i])
			fprintf(f, "%%s\\n", name[i]);
	fclose(f);
}
"""


def main(generate, library, output, *includes):
    spec = importlib.util.spec_from_file_location("generate", generate)
    shim = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shim)
    known = shim.prototypes(includes)
    functions, _ = shim.symbols(library)
    names = sorted(n for n in known if n.startswith("MPI") and n in functions)
    # What has no second name cannot be in front of itself.
    profiled = [n for n in names if "P" + n in functions]
    with open(output, "w", encoding="ascii") as file:
        file.write(HEAD % (len(profiled), "".join(f'\t"{n}",\n' for n in profiled)))
        for i, n in enumerate(profiled):
            ret, text = known[n]
            text = text.replace(", ...", "")
            parameters = shim.split_parameters(text)
            declared = ", ".join(p[3] for p in parameters) or "void"
            given = ", ".join(p[1] for p in parameters)
            more = ", ..." if n == "MPI_Pcontrol" else ""
            file.write(f"\n{ret} {n}({declared}{more})\n{{\n\tcalled[{i}] = 1;\n\treturn P{n}({given});\n}}\n")
    with open(os.path.join(os.path.dirname(output), "functions.txt"), "w", encoding="ascii") as file:
        file.write("".join(f"{n}\n" for n in profiled))


main(*sys.argv[1:])
