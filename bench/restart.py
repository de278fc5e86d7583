#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: restart.py [--build DIR] [--dir DIR] [--sizes MIB,...] [--runs N] [--json FILE]

From the start of `cpr -r` to the first step of the program, eager and lazy, against reading the same bytes into
huge pages, all in turns.  `ratio` is (that reading + 20 ms) / restart: 0.9 is wanted.
"""
import argparse
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

from summary import summary

TOP = pathlib.Path(__file__).resolve().parent.parent
ALLOWED_MS = 20
WAIT_S = 120


class Bench:
    def __init__(self, build, base):
        self.cpr, self.beat = str(build / "bin/cpr"), str(build / "bench/beat")
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix="bench-restart-", dir=base))
        self.image, self.file = self.dir / "state", self.dir / "time"
        self.process = None

    def start(self, *command):
        self.process = subprocess.Popen([*command], stdin=subprocess.DEVNULL)
        return self.process

    def beaten(self):
        try:
            data = self.file.read_bytes()
        except FileNotFoundError:
            data = b""
        return struct.unpack("Q", data)[0] if len(data) == 8 else 0

    def await_beat(self, process, after):
        limit = time.monotonic() + WAIT_S
        while True:
            beaten = self.beaten()
            if beaten > after:
                return beaten
            if process.poll() is not None or time.monotonic() > limit:
                sys.exit("bench: the program does not run")
            time.sleep(0.0005)

    def create(self, mib):
        process = self.start(self.cpr, "run", "--", self.beat, str(mib), str(self.file))
        self.await_beat(process, 0)
        subprocess.run([self.cpr, "-c", str(self.image), "-p", str(process.pid), "-k", "-q"], check=True)
        process.wait(WAIT_S)

    def restart_ms(self, *options):
        start = time.time_ns()
        process = self.start(self.cpr, "-r", "-q", *options, str(self.image))
        beaten = self.await_beat(process, start)
        process.terminate()
        process.wait(WAIT_S)
        return (beaten - start) / 1e6

    def read_ms(self):
        return sum(int(subprocess.run([self.beat, "read", path], check=True, capture_output=True).stdout)
                   for path in self.image.glob("data-*")) / 1e6

    def end(self):
        # It would write for ever.
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT_S)
        shutil.rmtree(self.dir)


def measure(build, base, mib, runs):
    bench = Bench(build, base)
    try:
        bench.create(mib)
        turns = []
        for _ in range(runs + 1):
            turns.append((bench.read_ms(), bench.restart_ms(), bench.restart_ms("--lazy")))
    finally:
        bench.end()
    turns = turns[1:]  # the first one warms the page cache up
    return {"mib": mib, "read_ms": summary([t[0] for t in turns]), "eager_ms": summary([t[1] for t in turns]),
            "lazy_ms": summary([t[2] for t in turns]), "ratio": summary([(t[0] + ALLOWED_MS) / t[1] for t in turns])}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=TOP / "build/release", type=pathlib.Path)
    parser.add_argument("--dir", default="/var/tmp")
    parser.add_argument("--sizes", default="64,1024")
    parser.add_argument("--runs", default=5, type=int)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    rows = []
    for mib in map(int, args.sizes.split(",")):
        row = measure(args.build.resolve(), args.dir, mib, args.runs)
        rows.append(row)
        print(f"{mib:6} MiB: read {row['read_ms']['median']:.1f} ms, restart {row['eager_ms']['median']:.1f} ms, ratio "
              f"{row['ratio']['median']:.2f} ({row['ratio']['min']:.2f} to {row['ratio']['max']:.2f}), lazy "
              f"{row['lazy_ms']['median']:.1f} ms ({row['lazy_ms']['min']:.1f} to {row['lazy_ms']['max']:.1f})", flush=True)
    if args.json:
        args.json.write_text(json.dumps({"rows": rows}, indent=1) + "\n")


main()
