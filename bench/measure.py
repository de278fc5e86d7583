#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""What a checkpoint and a restart cost, as ratios to what the machine does at best.

Everything that is compared is measured in turns within the same minute, so that a ratio survives a
busy machine better than its parts do.  Times are medians of RUNS runs; minimum and maximum show how
far to trust them.  Phases come from CKPT_TRACE (docs/developer/trace.md).
"""
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

WARM_UP = 2  # rounds until data files are recycled instead of created
WAIT_S = 60

# name, what it must be, which way round
BARS = [
    ("write_recycled_vs_pwrite", 0.8, "at least"),
    ("stop_8_threads_64_mib_ms", 50.0, "at most"),
]


class Bench:
    def __init__(self, args):
        self.cpr = args.cpr
        self.programs = pathlib.Path(args.programs)
        self.dir = pathlib.Path(args.dir)
        self.runs = args.runs
        self.image = self.dir / "state"
        self.trace = self.dir / "trace.jsonl"
        self.plain_file = self.dir / "plain"
        self.running = []

    # ---- processes under test ------------------------------------------------------------

    def start_idle(self, threads, mib):
        p = subprocess.Popen([self.cpr, "run", self.programs / "idle", str(threads), str(mib),
                              self.plain_file], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        self.running.append(p)
        if p.stdout.readline() != b"ready\n":
            sys.exit("bench: the idle program did not start")
        # A pipe to us cannot be in an image; the program has said all that it will.
        p.stdout.close()
        return p

    def stop(self, p):
        p.kill()
        p.wait(WAIT_S)

    def clean_up(self):
        for p in self.running:
            if p.poll() is None:
                p.terminate()  # cpr -r hands it on to what it restarted
                p.wait(WAIT_S)
        shutil.rmtree(self.dir, ignore_errors=True)

    def traced(self, command, **kwargs):
        self.trace.unlink(missing_ok=True)
        return subprocess.Popen([self.cpr, *command], stdin=subprocess.DEVNULL,
                                env=dict(os.environ, CKPT_TRACE=str(self.trace)), **kwargs)

    def phases(self):
        try:
            lines = self.trace.read_text().splitlines()
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines]

    def checkpoint(self, pid, *options):
        """The answer of cpr and {phase: (ns, bytes)}."""
        p = self.traced(["-c", str(self.image), "-p", str(pid), "-f", "--json", *options],
                        stdout=subprocess.PIPE)
        out = p.communicate(timeout=WAIT_S)[0]
        if p.returncode:
            sys.exit(f"bench: the checkpoint failed with status {p.returncode}")
        phases = {t["phase"]: (t["end_ns"] - t["start_ns"], t["bytes"]) for t in self.phases()}
        return json.loads(out), phases

    # ---- what it is compared with --------------------------------------------------------

    def fresh(self):
        shutil.rmtree(self.image, ignore_errors=True)
        self.plain_file.unlink(missing_ok=True)

    def pwrite_ns(self, p):
        """The process writes the same memory itself, with pwrite()."""
        answer = self.plain_file.with_suffix(".ns")
        answer.unlink(missing_ok=True)
        p.send_signal(signal.SIGUSR1)
        limit = time.monotonic() + WAIT_S
        while not answer.exists():
            if p.poll() is not None or time.monotonic() > limit:
                sys.exit("bench: the plain write failed")
            time.sleep(0.005)
        return int(answer.read_text())

    def dd_ns(self, size):
        start = time.monotonic_ns()
        subprocess.run(["dd", "if=/dev/zero", f"of={self.plain_file}", "bs=8M", f"count={size}",
                        "iflag=count_bytes", "conv=notrunc", "status=none"], check=True)
        took = time.monotonic_ns() - start
        self.flush([self.plain_file])
        return took

    def flush(self, files, drop=False):
        for path in files:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            os.fsync(fd)
            if drop:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)

    # ---- the measurements ----------------------------------------------------------------

    def stop_against_threads(self, counts):
        result = {}
        for threads in counts:
            p = self.start_idle(threads, 1)
            stops = [self.checkpoint(p.pid)[0]["stop_ns"] / 1e6
                     for _ in range(WARM_UP + self.runs)][WARM_UP:]
            self.stop(p)
            self.fresh()
            result[threads] = {"stop_ms": summary(stops)}
        one = result[counts[0]]["stop_ms"]["median"]
        for threads in counts:
            result[threads]["vs_first"] = result[threads]["stop_ms"]["median"] / one
        return result

    def stop_against_memory(self, sizes):
        result = {}
        for mib in sizes:
            p = self.start_idle(1, mib)
            stops, ratios = [], []
            for i in range(WARM_UP + self.runs):
                answer, _ = self.checkpoint(p.pid)
                plain = self.pwrite_ns(p)
                if i >= WARM_UP:
                    stops.append(answer["stop_ns"] / 1e6)
                    ratios.append(answer["stop_ns"] / plain)
            self.stop(p)
            self.fresh()
            result[mib] = {"stop_ms": summary(stops), "vs_pwrite": summary(ratios)}
        return result

    def write_rate(self, mib, recycled):
        """Rates relative to pwrite and dd of as many bytes into a file of the same history."""
        p = self.start_idle(1, mib)
        rates, vs_pwrite, vs_dd = [], [], []
        for i in range(self.runs + (WARM_UP if recycled else 0)):
            if not recycled:
                self.fresh()
            _, phases = self.checkpoint(p.pid)
            took, size = phases["write"]
            plain = self.pwrite_ns(p)
            if not recycled:
                self.plain_file.unlink()
            dd = self.dd_ns(mib << 20)
            if recycled and i < WARM_UP:
                continue
            rate = size / took
            rates.append(rate * 1e3)
            vs_pwrite.append(rate / ((mib << 20) / plain))
            vs_dd.append(rate / ((mib << 20) / dd))
        self.stop(p)
        self.fresh()
        return {"mib": mib, "mb_per_s": summary(rates), "vs_pwrite": summary(vs_pwrite),
                "vs_dd": summary(vs_dd)}

    def restart(self, mib, cold):
        """Time until everybody runs again, relative to reading the files of the image."""
        times, ratios, parts = [], [], {}
        for _ in range(self.runs):
            self.fresh()
            p = self.start_idle(8, mib)
            self.checkpoint(p.pid, "-k")
            p.wait(WAIT_S)
            files = [f for f in self.image.iterdir() if f.is_file()]
            if cold:
                self.flush(files, drop=True)
            start = time.monotonic_ns()
            for f in files:
                with open(f, "rb", buffering=0) as src:
                    while src.readinto(READ_BUFFER):
                        pass
            reading = time.monotonic_ns() - start
            if cold:
                self.flush(files, drop=True)
            took, phases = self.one_restart()
            times.append(took / 1e6)
            ratios.append(took / reading)
            for name, ns in phases.items():
                parts.setdefault(name, []).append(ns / 1e6)
        self.fresh()
        return {"ms": summary(times), "vs_read": summary(ratios),
                "phase_ms": {name: summary(v) for name, v in parts.items()}}

    def one_restart(self):
        p = self.traced(["-r", str(self.image), "-q"])
        self.running.append(p)
        limit = time.monotonic() + WAIT_S
        while True:
            phases = self.phases()
            if phases and phases[-1]["phase"] == "settle":
                break
            if p.poll() is not None or time.monotonic() > limit:
                sys.exit("bench: the restart failed")
            time.sleep(0.005)
        p.send_signal(signal.SIGTERM)
        p.wait(WAIT_S)
        return (phases[-1]["end_ns"] - phases[0]["start_ns"],
                {t["phase"]: t["end_ns"] - t["start_ns"] for t in phases})

    def idle_stop(self):
        p = self.start_idle(8, 64)
        stops, parts = [], {}
        for i in range(WARM_UP + self.runs):
            answer, phases = self.checkpoint(p.pid)
            if i < WARM_UP:
                continue
            stops.append(answer["stop_ns"] / 1e6)
            for name, (ns, _) in phases.items():
                parts.setdefault(name, []).append(ns / 1e6)
        self.stop(p)
        self.fresh()
        return {"stop_ms": summary(stops),
                "phase_ms": {name: summary(v) for name, v in parts.items()}}

    def between_checkpoints(self, kind):
        """Slow-down of a loop by `cpr run` alone."""
        program = str(self.programs / "loop")
        without, ratios = [], []
        for _ in range(self.runs):
            times = [float(subprocess.run([*prefix, program, kind], check=True, timeout=WAIT_S,
                                          capture_output=True, text=True).stdout)
                     for prefix in ([], [self.cpr, "run"])]
            without.append(times[0])
            ratios.append(times[1] / times[0])
        return {"ns_without": summary(without), "ratio": summary(ratios)}


READ_BUFFER = bytearray(8 << 20)


def machine(directory):
    def first(path, key):
        for line in pathlib.Path(path).read_text().splitlines():
            if line.startswith(key):
                return line.split(":", 1)[1].strip()
        return ""

    fs = subprocess.run(["stat", "-f", "-c", "%T", directory], capture_output=True, text=True)
    return {"host": platform.node(), "kernel": platform.release(),
            "cpu": first("/proc/cpuinfo", "model name"), "cpus": len(os.sched_getaffinity(0)),
            "memory": first("/proc/meminfo", "MemTotal"), "file_system": fs.stdout.strip(),
            "load": os.getloadavg(), "user": os.getuid()}


def measurements(bench, quick):
    sizes = [16, 64] if quick else [16, 64, 256, 1024]
    threads = [1, 8, 64] if quick else [1, 8, 64, 256, 512]
    large = 64 if quick else 256
    return {
        "idle_stop": bench.idle_stop,
        "stop_against_threads": lambda: bench.stop_against_threads(threads),
        "stop_against_memory": lambda: bench.stop_against_memory(sizes),
        "write_recycled": lambda: bench.write_rate(large, True),
        "write_new": lambda: bench.write_rate(large, False),
        "restart_warm": lambda: bench.restart(large, False),
        "restart_cold": lambda: bench.restart(large, True),
        **{f"loop_{kind}": lambda kind=kind: bench.between_checkpoints(kind)
           for kind in ("compute", "syscall", "wrapped", "thread", "spawn")},
    }


def print_tree(value, prefix):
    if "median" in value:
        print(f"{prefix:48} {value['median']:12.3f}  ({value['min']:.3f} … {value['max']:.3f})",
              flush=True)
        return
    for key, sub in value.items():
        if isinstance(sub, dict):
            print_tree(sub, f"{prefix}.{key}")
        else:
            print(f"{prefix + '.' + str(key):48} {sub:12.3f}", flush=True)


def judge(result):
    got = {}
    if "write_recycled" in result:
        got["write_recycled_vs_pwrite"] = result["write_recycled"]["vs_pwrite"]["median"]
    if "idle_stop" in result:
        got["stop_8_threads_64_mib_ms"] = result["idle_stop"]["stop_ms"]["median"]
    verdicts = []
    for name, bar, way in BARS:
        if name in got:
            ok = got[name] >= bar if way == "at least" else got[name] <= bar
            verdicts.append({"name": name, "value": got[name], "bar": bar, "way": way, "ok": ok})
    return verdicts


def main():
    parser = argparse.ArgumentParser(prog="bench/run.sh")
    parser.add_argument("--cpr", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--programs", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--results", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--dir", help="directory of the images, by default a new one in TMPDIR")
    parser.add_argument("--runs", type=int, default=7, help="at least 5")
    parser.add_argument("--only", action="append", metavar="NAME", help="these measurements only")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    args = parser.parse_args()
    if args.runs < 5:
        parser.error("fewer than 5 runs say nothing")
    # What else the caller has open would be inherited by the processes under test.
    os.closerange(3, 1024)
    os.makedirs(args.dir or tempfile.gettempdir(), exist_ok=True)
    args.dir = tempfile.mkdtemp(prefix="ckpt-bench-", dir=args.dir)
    bench = Bench(args)
    result = {}
    try:
        facts = machine(args.dir)
        todo = measurements(bench, args.quick)
        for name in args.only or todo:
            if name not in todo:
                parser.error(f"no measurement '{name}'; there are: {', '.join(todo)}")
            result[name] = todo[name]()
            print_tree(result[name], name)
    finally:
        bench.clean_up()
    verdicts = judge(result)
    for v in verdicts:
        print(f"{'ok  ' if v['ok'] else 'MISS'} {v['name']}: {v['value']:.3f}, "
              f"{v['way']} {v['bar']}")
    out = pathlib.Path(args.results) / f"{time.strftime('%Y%m%d-%H%M%S')}-{platform.node()}.json"
    out.write_text(json.dumps({"machine": facts, "results": result, "bars": verdicts}, indent=1)
                   + "\n")
    print(f"written to {out}")
    return 0 if all(v["ok"] for v in verdicts) else 1


sys.exit(main())
