#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: bench/mpi_apps.py [--pairs N] [--results DIR] [lammps|hpcc|pw]...

Wall time of whole programs of Debian with two ranks, from mpirun's start to its end, under the real library and
under the shim in turns.  The ratio is the median of those of the pairs.  Programs that are not installed are left
out.  CKPT_MPI is the shim's directory (build/release/lib/ckpt-mpi).
"""
import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
SHIM = os.environ.get("CKPT_MPI", f"{ROOT}/build/release/lib/ckpt-mpi")
INPUTS = f"{ROOT}/tests/mpi/apps"
LIMIT = 300
# Command; files, in which {n} is how much there is to do; n
PROGRAMS = {
    "lammps": (["lmp", "-in", "lmp.in", "-log", "none"], ["lmp.in"], 6000),
    "hpcc": (["hpcc"], ["hpccinf.txt"], 1500),
    "pw": (["pw.x", "-in", "silicon.in"], ["silicon.in", "Si.gth"], 0),
}


def seconds(command, folder, shim):
    env = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
           "OMP_NUM_THREADS": "1"}
    start = time.monotonic()
    subprocess.run(["mpirun", "--bind-to", "core", "-np", "2", "-x", f"LD_LIBRARY_PATH={SHIM if shim else ''}",
                    *command], cwd=folder, env=env, check=True, timeout=LIMIT, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def measure(name, pairs):
    command, files, n = PROGRAMS[name]
    with tempfile.TemporaryDirectory() as folder:
        for file in files:
            with open(f"{INPUTS}/{file}", encoding="utf-8") as text:
                content = text.read().replace("{n}", str(n))
            with open(f"{folder}/{file}", "w", encoding="utf-8") as copy:
                copy.write(content)
        seconds(command, folder, False)  # what it reads is in memory then
        times = [(seconds(command, folder, False), seconds(command, folder, True)) for _ in range(pairs)]
    native, shim = zip(*times)
    return {"native_s": round(statistics.median(native), 2), "shim_s": round(statistics.median(shim), 2),
            "ratio": round(statistics.median(b / a for a, b in times), 3),
            "least": round(min(shim) / min(native), 3), "pairs": pairs}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--results", default=f"{ROOT}/bench/results")
    parser.add_argument("program", nargs="*", choices=[[], *PROGRAMS], default=[])
    options = parser.parse_args()
    result = {"time": datetime.datetime.now().isoformat(timespec="seconds"), "programs": {}}
    for name in options.program or PROGRAMS:
        if not shutil.which(PROGRAMS[name][0][0]):
            print(f"{name}: not installed")
            continue
        row = result["programs"][name] = measure(name, options.pairs)
        print(f"{name:8} native {row['native_s']:6.2f} s, shim {row['shim_s']:6.2f} s, ratio {row['ratio']:.3f}; "
              f"of the shortest {row['least']:.3f}")
    with open(f"{options.results}/mpi_apps.json", "w", encoding="ascii") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    return 0


sys.exit(main())
