#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: bench/mpi_lammps.py [--pairs N] [--results DIR]

The time of LAMMPS' loop with two ranks, under the real library and under the shim in turns.  It is small enough
(864 atoms) that messages are a good part of it.  From the first step to the last the ranks run before all other
work of the machine, which needs root.  CKPT_MPI is the shim's directory (build/release/lib/ckpt-mpi).
"""
import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
SHIM = os.environ.get("CKPT_MPI", f"{ROOT}/build/release/lib/ckpt-mpi")
STEPS = 8000


def ranks_of(pid):
    """Those of mpirun's children that are LAMMPS."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        children = [int(word) for word in file.read().split()]
    found = []
    for child in children:
        with open(f"/proc/{child}/comm", encoding="ascii") as file:
            if file.read().strip() == "lmp":
                found.append(child)
    return found


def loop_seconds(folder, shim):
    env = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
           "OMP_NUM_THREADS": "1"}
    run = subprocess.Popen(["mpirun", "--bind-to", "core", "-np", "2", "-x",
                            f"LD_LIBRARY_PATH={SHIM if shim else ''}", "lmp", "-in", "input", "-log", "none"],
                           cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    ranks, seconds = [], None
    for line in run.stdout:
        if line.lstrip().startswith("Step"):
            ranks = ranks_of(run.pid)
            for pid in ranks:
                os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
        match = re.match(r"Loop time of ([\d.]+)", line)
        if match:
            seconds = float(match[1])
            for pid in ranks:
                os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0))
    if run.wait() or seconds is None or len(ranks) != 2:
        sys.exit("LAMMPS has failed")
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--results", default=f"{ROOT}/bench/results")
    options = parser.parse_args()
    with open(f"{ROOT}/tests/mpi/melt.lmp", encoding="ascii") as file:
        text = re.sub(r"^thermo .*\nrun .*", f"thermo {STEPS // 2}\nthermo_modify flush yes\nrun {STEPS}",
                      file.read(), flags=re.M)
    with tempfile.TemporaryDirectory() as folder:
        with open(f"{folder}/input", "w", encoding="ascii") as file:
            file.write(text)
        times = [(loop_seconds(folder, False), loop_seconds(folder, True)) for _ in range(options.pairs)]
    native, shim = zip(*times)
    ratios = [b / a for a, b in times]
    result = {"time": datetime.datetime.now().isoformat(timespec="seconds"), "unit": "s", "pairs": options.pairs,
              "native": statistics.median(native), "shim": statistics.median(shim),
              "ratio": round(statistics.median(ratios), 3), "ratios": [round(ratio, 3) for ratio in ratios],
              "ratio_of_shortest": round(min(shim) / min(native), 3)}
    print(f"native {result['native']:.2f} s, shim {result['shim']:.2f} s, ratio {result['ratio']} "
          f"(pairs {result['ratios']}), of the shortest {result['ratio_of_shortest']}")
    with open(f"{options.results}/mpi_lammps.json", "w", encoding="ascii") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    return 0


sys.exit(main())
