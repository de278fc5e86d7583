#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: symbols.py LIBMPI SHIM

The shim exports what programs and Open MPI's Fortran and C++ libraries use of the real library: the same
names, data of the same size, MPI_ weak where it is weak there; nothing besides but what is listed here.
"""
import os
import re
import subprocess
import sys

PUBLIC = re.compile(r"^(P?MPIX?_|mpi_|OMPI_C_|OMPI_Aff|ompi_mpi_)")
# Parts of the library that only its own plug-ins use.
PRIVATE = re.compile(r"^ompi_mpi_(init|finalize|abort|dynamics_\w+|errclass_add|errcode_\w+|errcodes|"
                     r"errnum_add_string|register_params|thread_level|\w+_(class|mutex|hashtable|convertor)|"
                     r"errors_(are_fatal|return|abort)_(comm|file|win|instance)_handler|"
                     r"instance_(init|finalize|release|retain))$")
# Libraries of Open MPI that are linked with libmpi.so.40 and run on top of the shim.
ABOVE = ("libmpi_mpifh.so.40", "libmpi_usempif08.so.40", "libmpi_usempi_ignore_tkr.so.40",
         "libmpi_cxx.so.40")


def symbols(path, defined=True):
    text = subprocess.run(["readelf", "-W", "--dyn-syms", path], capture_output=True, text=True,
                          check=True).stdout
    found = {}
    for line in text.splitlines():
        word = line.split()
        if len(word) >= 8 and word[0] != "Num:" and (word[6] != "UND") == defined and \
                word[4] in ("GLOBAL", "WEAK"):
            found[word[7].split("@")[0]] = (word[3], word[4], int(word[2], 0))
    return found


def main(library, shim):
    real, ours = symbols(library), symbols(shim)
    wanted = {n for n in real if PUBLIC.match(n) and not PRIVATE.match(n)}
    folder = os.path.dirname(os.path.realpath(library))
    above = 0
    for name in ABOVE:
        path = os.path.join(folder, name)
        if os.path.exists(path):
            above += 1
            wanted |= {n for n in symbols(path, defined=False) if n in real}
    bad = [f"'{n}' is missing" for n in sorted(wanted - set(ours))]
    bad += [f"'{n}' is exported and not of the real library" for n in sorted(set(ours) - set(real))]
    for name in sorted(wanted & set(ours)):
        kind, bind, size = real[name]
        if ours[name][0] != kind:
            bad.append(f"'{name}' is {ours[name][0]}, not {kind}")
        elif kind == "OBJECT" and ours[name][2] != size:
            bad.append(f"'{name}' has {ours[name][2]} bytes, not {size}")
        elif kind == "FUNC" and name.startswith("MPI_") and re.match(r"MPI_[A-Z][a-z]", name) and \
                ours[name][1] != bind:
            bad.append(f"'{name}' is {ours[name][1]}, not {bind}")
    if len(wanted) < 1000 or not above:
        bad.append(f"only {len(wanted)} names to compare, {above} libraries above")
    print("\n".join(bad) or f"{len(wanted)} names agree")
    return 1 if bad else 0


sys.exit(main(*sys.argv[1:]))
