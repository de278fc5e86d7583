#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: scale.py [--build DIR] [--nodes N,...] [--tasks-per-node N] [--rounds N] [--json FILE]

How a round grows with the number of nodes: the coordinator, with munge and real connections, and as many
agents as are wanted in one process, which answer at once and have nothing to write.  Coordinator, agents and
munge share this machine's processors.  Needs to be root.
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import resource
import subprocess
import sys
import time

from summary import summary

TOP = pathlib.Path(__file__).resolve().parent.parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(TOP / "tests/slurm/coordinator"), str(TOP / "tests/lib")]
CONFIG = "heartbeat: 30s\nsilence: 300s\nfence: 600s\nmuster_timeout: 60s\n"


def status(pid):
    """Processor time in seconds and resident memory in MiB."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        pages = int(file.read().split()[1])
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), pages / 256


class Agents:
    def __init__(self, world, nodes):
        self.process = subprocess.Popen(
            [f"{world.bin}/agents", "127.0.0.1", str(world.port), "77", "0", str(world.user), str(nodes), str(world.ntasks)],
            env=world.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, **world.as_user)
        self.joined = float(self.line("joined")[0])

    def line(self, kind):
        words = self.process.stdout.readline().split()
        if not words or words[0] != kind:
            raise RuntimeError(f"scale: '{' '.join(words)}' came instead of {kind}")
        return words[1:]

    def round(self):
        """Milliseconds of the round, and from the wish to the answer."""
        self.process.stdin.write("\n")
        seen = {}
        while len(seen) < 2:
            kind, *words = self.process.stdout.readline().split() or [""]
            if kind not in ("round", "result") or (kind == "result" and words[1] != "0"):
                raise RuntimeError(f"scale: the round failed: {kind} {' '.join(words)}")
            seen[kind] = float(words[0])
        return seen["round"], seen["result"]

    def end(self):
        self.process.stdin.close()
        self.process.wait(60)


def measure(nodes, per_node, rounds):
    import coordtest  # pylint: disable=import-outside-toplevel
    world = coordtest.World(CONFIG, ntasks=nodes * per_node)
    world.user, world.as_user = coordtest.USER, coordtest.as_user(coordtest.USER)
    try:
        world.start()
        _, empty = status(world.process.pid)
        agents = Agents(world, nodes)
        agents.round()
        cpu, _ = status(world.process.pid)
        results = []
        for _ in range(rounds):
            results.append(agents.round())
            time.sleep(1.1)  # old generations are removed meanwhile
        cpu = (status(world.process.pid)[0] - cpu) / rounds
        memory = status(world.process.pid)[1]
        agents.end()
    finally:
        world.end()
    return {"nodes": nodes, "tasks": nodes * per_node, "round_ms": summary([r[0] for r in results]),
            "answer_ms": summary([r[1] for r in results]), "coordinator_cpu_ms": 1000 * cpu,
            "join_s": agents.joined, "coordinator_mib": memory, "kib_per_node": 1024 * (memory - empty) / nodes}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", default=TOP / "build/release", type=pathlib.Path)
    parser.add_argument("--nodes", default="100,1000,10000")
    parser.add_argument("--tasks-per-node", default=1, type=int)
    parser.add_argument("--rounds", default=5, type=int)
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.environ["COORDINATOR"] = str(args.build / "bin/ckpt-coordinator")
    os.environ["PEER"] = str(args.build / "bench/agents")
    rows = []
    # Each in a process of its own, for the sake of the mount namespace that it makes.
    pool = multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1)
    for nodes in map(int, args.nodes.split(",")):
        row = pool.apply(measure, (nodes, args.tasks_per_node, args.rounds))
        rows.append(row)
        print(f"{row['nodes']:6} nodes {row['tasks']:7} tasks: round {row['round_ms']['median']:8.1f} ms "
              f"({row['round_ms']['min']:.1f} to {row['round_ms']['max']:.1f}), answer "
              f"{row['answer_ms']['median']:.1f} ms, coordinator {row['coordinator_cpu_ms']:.0f} ms of processor and "
              f"{row['coordinator_mib']:.1f} MiB, joined in {row['join_s']:.1f} s", flush=True)
    first, last = rows[0], rows[-1]
    slope = (last["round_ms"]["median"] - first["round_ms"]["median"]) / max(last["nodes"] - first["nodes"], 1)
    print(f"slope {slope * 1000:.1f} us a node")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "slope_us": slope * 1000}, indent=1) + "\n")


main()
