#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What an incremental checkpoint stores and how long it takes, against one that stores everything.

One program, one page in a hundred changed between two checkpoints; the two kinds in turns, into two
directories.  Prints a table and leaves results/incremental.json."""
import argparse
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from summary import summary

WARM_UP = 3  # until data files are recycled
EVERY = 100
WAIT_S = 60
BARS = {"stored_vs_changed": 1.1}  # with 1 MiB taken off first


def wait_for_line(path, line):
    end = time.monotonic() + WAIT_S
    while line not in path.read_text(encoding="ascii").splitlines():
        if time.monotonic() > end:
            sys.exit(f"waited {WAIT_S} s for '{line}'")
        time.sleep(0.01)


def measure(args, directory, program, log):
    changed = args.mib * 256 // EVERY * 4096
    results = {"stored_vs_changed": [], "durable_vs_full": [], "stop_vs_full": []}
    number = 0
    for turn in range(args.runs + WARM_UP):
        got = {}
        for mode in "auto", "off":
            # Each finds one page in a hundred changed since its own last one.
            out = subprocess.run([args.cpr, "-c", str(directory / mode), "-f", "--json",
                                  "--incremental", mode, "-p", str(program.pid)],
                                 check=True, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL).stdout
            got[mode] = json.loads(out)
        os.kill(program.pid, signal.SIGUSR1)
        number += 1
        wait_for_line(log, f"round {number}")
        if turn < WARM_UP or not got["auto"]["reused_bytes"]:
            continue
        results["stored_vs_changed"].append(
            max(0, got["auto"]["stored_bytes"] - (1 << 20)) / changed)
        for name in "durable", "stop":
            results[f"{name}_vs_full"].append(got["auto"][f"{name}_ns"] / got["off"][f"{name}_ns"])
    return {name: summary(values) for name, values in results.items()}


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=here.parent / "build/release")
    parser.add_argument("--dir", help="where the checkpoints go; its file system is what counts")
    parser.add_argument("--mib", type=int, default=512)
    parser.add_argument("--runs", type=int, default=7)
    args = parser.parse_args()
    args.cpr = str(args.build / "bin/cpr")
    subprocess.run(["cmake", "--build", args.build, "--target", "bench_programs"], check=True,
                   stdout=subprocess.DEVNULL)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="bench-incremental-", dir=args.dir))
    log = directory / "log"
    try:
        with open(log, "wb") as file, subprocess.Popen(
                [args.cpr, "run", args.build / "bench/dirty", str(args.mib), str(EVERY)],
                stdout=file, stdin=subprocess.DEVNULL) as program:
            try:
                wait_for_line(log, "round 0")
                results = measure(args, directory, program, log)
            finally:
                program.kill()
    finally:
        shutil.rmtree(directory)
    for name, value in results.items():
        print(f"{name:20} {value['median']:.3f}  ({value['min']:.3f} .. {value['max']:.3f})")
    report = {"mib": args.mib, "changed": f"1/{EVERY}", "cpus": os.cpu_count(),
              "kernel": platform.release(), "results": results}
    (here / "results").mkdir(exist_ok=True)
    (here / "results/incremental.json").write_text(json.dumps(report, indent=1) + "\n", encoding="ascii")
    return any(results[name]["median"] > bar for name, bar in BARS.items())


sys.exit(main())
