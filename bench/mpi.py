#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: bench/mpi.py [--rounds N] [--results DIR]

What the shim costs: times of MPI calls between two ranks on this machine, under the real library and under
the shim in turns.  CKPT_MPI is the shim's directory (build/release/lib/ckpt-mpi).  The least of all runs
counts, for other work on the machine only adds to it.
"""
import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
SHIM = os.environ.get("CKPT_MPI", f"{ROOT}/build/release/lib/ckpt-mpi")


def run(program, shim):
    env = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    text = subprocess.run(["mpirun", "--bind-to", "core", "-np", "2", "-x",
                           f"LD_LIBRARY_PATH={SHIM if shim else ''}", program],
                          env=env, check=True, capture_output=True, text=True, timeout=120).stdout
    return {name: float(ns) for name, ns in (line.split() for line in text.splitlines())}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", default=f"{ROOT}/bench/results")
    options = parser.parse_args()
    best = {False: {}, True: {}}
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/mpi_calls"
        subprocess.run(["mpicc", "-O2", "-o", program, f"{ROOT}/bench/programs/mpi_calls.c"], check=True)
        for _ in range(options.rounds):
            for shim in (False, True):
                for name, ns in run(program, shim).items():
                    best[shim][name] = min(ns, best[shim].get(name, ns))
    result = {"time": datetime.datetime.now().isoformat(timespec="seconds"), "unit": "ns",
              "rounds": options.rounds, "calls": {}}
    print(f"{'':24}{'native':>12}{'shim':>12}{'ratio':>8}")
    for name, native in best[False].items():
        shim = best[True][name]
        result["calls"][name] = {"native": native, "shim": shim, "ratio": round(shim / native, 3)}
        print(f"{name:24}{native:9.0f} ns{shim:9.0f} ns{shim / native:8.2f}")
    with open(f"{options.results}/mpi.json", "w", encoding="ascii") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    return 0


sys.exit(main())
