#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: bench/mpi_pause.py [--rounds N] [--mib N] [--results DIR]

For how long two ranks stand still at a checkpoint, as they see it themselves: the longest time between two
steps of a loop of MPI_Allreduce (programs/mpi_pause.c), in spans with a checkpoint and, in turns with them,
without one.  BUILD is the folder that has cpr and the shim (build/release).
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
BUILD = os.environ.get("BUILD", f"{ROOT}/build/release")
CPR = f"{BUILD}/bin/cpr"
WAIT_S = 30
SPAN_S = 0.5


class Job:
    def __init__(self, folder, mib):
        self.folder = folder
        env = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
               "OMPI_MCA_btl_vader_backing_directory": folder}
        self.child = subprocess.Popen(
            ["mpirun", "-np", "2", "-x", f"LD_LIBRARY_PATH={BUILD}/lib/ckpt-mpi", CPR, "run", "--",
             f"{folder}/mpi_pause", str(mib)], cwd=folder, env=env, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True)
        self.pids = [self.wait_pid(rank) for rank in range(2)]
        self.rounds = 0

    def wait_pid(self, rank):
        until = time.time() + WAIT_S
        while not os.path.exists(f"{self.folder}/ready.{rank}"):
            if time.time() > until or self.child.poll() is not None:
                sys.exit(f"rank {rank} was not ready within {WAIT_S} s")
            time.sleep(0.02)
        with open(f"{self.folder}/ready.{rank}", encoding="ascii") as file:
            return int(file.read())

    def span(self, act):
        """The longest pause in ms while act() runs and a little longer."""
        self.ask()
        act()
        time.sleep(SPAN_S)
        return self.ask()

    def ask(self):
        with open(f"{self.folder}/round.{self.rounds}", "wb"):
            self.rounds += 1
        return float(self.child.stdout.readline())

    def checkpoint(self):
        takes = [subprocess.Popen([CPR, "-q", "-c", f"{self.folder}/state.{rank}", "-f", "-p", str(pid)])
                 for rank, pid in enumerate(self.pids)]
        if any(take.wait(WAIT_S) for take in takes):
            sys.exit("a checkpoint has failed")

    def end(self):
        with open(f"{self.folder}/end", "wb"):
            pass
        try:
            self.child.wait(WAIT_S)
        except subprocess.TimeoutExpired:
            self.child.terminate()
            self.child.wait(WAIT_S)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[1])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--mib", type=int, default=100)
    parser.add_argument("--results", default=f"{ROOT}/bench/results")
    options = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="ckpt-pause-", dir="/var/tmp")
    spans = {"with": [], "without": []}
    try:
        subprocess.run(["mpicc", "-O2", "-o", f"{folder}/mpi_pause", f"{ROOT}/bench/programs/mpi_pause.c"],
                       check=True)
        job = Job(folder, options.mib)
        try:
            job.checkpoint()  # the first one makes its files
            for _ in range(options.rounds):
                spans["without"].append(job.span(lambda: None))
                spans["with"].append(job.span(job.checkpoint))
        finally:
            job.end()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result = {"time": datetime.datetime.now().isoformat(timespec="seconds"), "unit": "ms",
              "ranks": 2, "mib": options.mib, "rounds": options.rounds}
    for name, values in spans.items():
        result[name] = {"min": min(values), "median": statistics.median(values), "max": max(values)}
        print(f"longest pause {name} a checkpoint: {min(values):.1f} to {max(values):.1f} ms, "
              f"median {statistics.median(values):.1f}")
    with open(f"{options.results}/mpi_pause.json", "w", encoding="ascii") as file:
        json.dump(result, file, indent=1)
        file.write("\n")
    return 0


sys.exit(main())
