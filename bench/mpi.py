#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: bench/mpi.py [--blocks N] [--launches N] [--realtime] [--results DIR]

What the shim costs: times of MPI calls between two ranks on this machine, under the real library, under the
shim, and under the real library with two writes of FS base for each call, which is the floor: whatever calls
a guest makes them.  All three run at the same time and take turns, about a millisecond each
(programs/mpi_calls.c).  CKPT_MPI is the shim's directory (build/release/lib/ckpt-mpi).  Shown are the least of
all blocks, for other work on the machine only adds to it, and the median of the differences between
neighbours.  --realtime keeps other work off the processors during a block.
"""
import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
SHIM = os.environ.get("CKPT_MPI", f"{ROOT}/build/release/lib/ckpt-mpi")
LIMIT = 300
NATIVE, UNDER_SHIM, FLOOR = range(3)  # launches, see programs/mpi_calls.c


def launch(program, turns, index, options):
    env = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    return subprocess.Popen(["mpirun", "--bind-to", "core", "-np", "2", "-x",
                             f"LD_LIBRARY_PATH={SHIM if index == UNDER_SHIM else ''}", program, turns, str(index),
                             str(options.blocks), *["realtime"] * options.realtime], env=env, stdout=subprocess.PIPE, text=True)


def measure(program, folder, options, times):
    """Adds to times: {name: ([native], [shim], [floor])}."""
    with open(f"{folder}/turns", "wb") as file:
        file.write(bytes(4096))
    runs = [launch(program, f"{folder}/turns", index, options) for index in (NATIVE, UNDER_SHIM, FLOOR)]
    try:
        for index, run in enumerate(runs):
            text, _ = run.communicate(timeout=LIMIT)
            if run.returncode:
                sys.exit(f"mpirun has failed: {run.returncode}")
            for name, value in (line.split() for line in text.splitlines()):
                times.setdefault(name, ([], [], []))[index].append(float(value))
    finally:
        for run in runs:
            if run.poll() is None:
                run.terminate()
                run.wait(30)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--blocks", type=int, default=200)
    parser.add_argument("--launches", type=int, default=3)
    parser.add_argument("--realtime", action="store_true")
    parser.add_argument("--results", default=f"{ROOT}/bench/results")
    options = parser.parse_args()
    times = {}
    with tempfile.TemporaryDirectory() as folder:
        program = f"{folder}/mpi_calls"
        subprocess.run(["mpicc", "-O2", "-o", program, f"{ROOT}/bench/programs/mpi_calls.c"], check=True)
        for _ in range(options.launches):
            measure(program, folder, options, times)
    once = {name: times.pop(name) for name in ("load", "init", "memory")}
    result = {"time": datetime.datetime.now().isoformat(timespec="seconds"), "unit": "ns",
              "blocks": options.blocks * options.launches, "calls": {}}
    print(f"{'ns':24}{'native':>12}{'shim':>12}{'ratio':>8}{'more':>10}{'floor':>10}{'median':>10}")
    for name, (native, shim, floor) in times.items():
        median = statistics.median(b - a for a, b in zip(native, shim))
        low, high = min(native), min(shim)
        least = min(floor) - low
        result["calls"][name] = {"native": low, "shim": high, "ratio": round(high / low, 3),
                                 "more": round(high - low, 1), "floor": round(least, 1),
                                 "median_more": round(median, 1)}
        print(f"{name:24}{low:12.1f}{high:12.1f}{high / low:8.2f}{high - low:10.1f}{least:10.1f}{median:10.1f}")
    load = statistics.median(once["load"][1]) / 1e6
    init = [statistics.median(x) / 1e6 for x in once["init"][:2]]
    memory = [statistics.median(x) / 2**20 for x in once["memory"][:2]]
    result["once"] = {"load_ms": round(load, 2), "init_ms": [round(x, 1) for x in init],
                      "memory_mib": [round(x, 2) for x in memory]}
    print(f"load of the guest {load:.1f} ms; to the end of MPI_Init {init[0]:.0f} and {init[1]:.0f} ms; "
          f"memory of a rank {memory[0]:.1f} and {memory[1]:.1f} MiB")
    with open(f"{options.results}/mpi.json", "w", encoding="ascii") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    return 0


sys.exit(main())
