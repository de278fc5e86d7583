#!/usr/bin/python3 -SEB
# SPDX-License-Identifier: BSD-3-Clause
"""usage: bench/slurm.py [--quick] [--results DIR]

What the Slurm side costs, and how long a job is away when it loses a node, on a cluster of tests/cluster.
CKPT_BIN is the build's bin directory (build/release/bin).  What is compared is measured in turns.  Times
that are Slurm's own depend on its settings: here failures are noticed in seconds, on sites in minutes.
"""
import argparse
import datetime
import json
import os
import re
import statistics
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
os.environ.setdefault("CKPT_BIN", f"{ROOT}/build/release/bin")
sys.path.insert(0, f"{ROOT}/tests/slurm/lib")
# pylint: disable=wrong-import-position
from steptest import BIN, PYTHON, Cluster, Failure, expect, read, wait_for

FENCE = 6
SITE = f"fence: {FENCE}s\nmin_interval: 1s\n"
# Times its own child, so that the way into the cluster does not count.
TIMER = "import subprocess, sys, time; t = time.monotonic(); subprocess.run(sys.argv[1:], check=True, " \
        "capture_output=True); print(time.monotonic() - t)"


def timed(cluster, *command):
    """Milliseconds of a command of alice's on the login node."""
    return 1000 * float(cluster.alice(PYTHON, "-c", TIMER, *command))


def summary(values, unit):
    return {"median": round(statistics.median(values), 2), "min": round(min(values), 2),
            "max": round(max(values), 2), "n": len(values), "unit": unit}


def start_cost(cluster, runs):
    """srun of nothing: without us, with us unasked, and with checkpoints asked for."""
    ours = read(f"{cluster.state}/etc/slurm/plugstack.conf").strip()
    ways = {"without": ("", []), "unasked": (ours, []),
            "asked": (ours, ["--checkpoint=1h", "--checkpoint-dir=/srv/scratch/state"])}
    times = {way: [] for way in ways}
    for number in range(runs + 1):
        for way, (line, options) in ways.items():
            cluster.plugstack(line)
            took = timed(cluster, "srun", "-N2", "-n2", *options, "true")
            if number:  # the first ones read everything from disk
                times[way].append(took)
    cluster.plugstack(ours)
    found = {f"srun true, {way}": summary(values, "ms") for way, values in times.items()}
    for way in ("unasked", "asked"):
        found[f"srun true, {way} - without"] = summary(
            [a - b for a, b in zip(times[way], times["without"])], "ms")
    return found


def create_latency(cluster, runs):
    """scontrol checkpoint create, from its start to its end, on two nodes."""
    job = cluster.submit(f"exec srun --checkpoint=1h --checkpoint-dir=/srv/scratch/state "
                         f"{cluster.work(out='create', ticks=100000)} ballast=16", "-N2", "-n4")
    wait_for("the step", lambda: cluster.progress("create", 3) > 5)
    whole, stopped = [], []
    for number in range(runs + 1):
        took = timed(cluster, f"{BIN}/front/scontrol", "checkpoint", "create", job)
        if number:
            whole.append(took)
    cluster.alice("scancel", job)
    cluster.wait_job(job, "CANCELLED")
    for milliseconds in re.findall(r"stopped ([\d.]+) ms", cluster.log())[1:]:
        stopped.append(float(milliseconds))
    found = {"scontrol checkpoint create, 4 tasks of 30 MB": summary(whole, "ms")}
    if stopped:
        found["of that the program stood still"] = summary(stopped, "ms")
    return found


def second_life(cluster, job):
    """When the script of a job began for the second time, and when each task had written something there."""

    def back():
        firsts = []
        for rank in range(4):
            files = [name for name in os.listdir(cluster.scratch) if name.startswith(f"lost.{job}.{rank}.n")]
            starts = sorted(int(text.split()[0]) for name in files if (text := read(f"{cluster.scratch}/{name}")))
            if len(starts) < 2:
                return None
            firsts.append(starts[1] / 1e9)
        return max(firsts)

    again = wait_for(f"the restart of job {job}; {cluster.log()}", back, limit=90)
    starts = [float(line) for line in read(f"{cluster.scratch}/starts.{job}").split()]
    expect(len(starts) == 2, f"lives of job {job}: {starts}")
    cluster.alice("scancel", job)
    return starts[1], again


def start_job(cluster):
    job = cluster.submit("date +%s.%N >>/srv/scratch/starts.$SLURM_JOB_ID; exec srun --checkpoint=2s "
                         "--checkpoint-dir=/srv/scratch/state "
                         f"{cluster.work(out='lost.$SLURM_JOB_ID', ticks=100000, pause=0.05)} lives",
                         "-N2", "-n4", "--requeue")
    cluster.wait_generation(f"state/{job}.0", 2)
    return job


def requeue(cluster):
    """Slurm's own requeue: the life before is known to be over."""
    job = start_job(cluster)
    cluster.alice("scontrol", "requeue", job)
    start, again = second_life(cluster, job)
    return {"requeue; ours: from the start of the script until all tasks run again": again - start}


def node_loss(cluster):
    job = start_job(cluster)
    facts = cluster.job(job)
    nodes = cluster.alice("scontrol", "show", "hostnames", facts["NodeList"]).split()
    node = next(node for node in nodes if node != facts["BatchHost"])
    lost = time.time()
    cluster.front("kill-node", node)
    start, again = second_life(cluster, job)
    noticed = re.search(rf"\[(\S+)\] requeue job JobId={job} due to failure",
                        read(f"{cluster.state}/nodes/ctl/log/slurm/slurmctld.log"))
    expect(noticed, f"Slurm has not noticed that {node} was lost")
    seen = datetime.datetime.fromisoformat(noticed[1]).timestamp()
    cluster.front("boot-node", node)
    cluster.front("wait", node, "idle")
    return {"node lost; Slurm: until it takes the node for dead": seen - lost,
            "node lost; Slurm: until it starts the script again": start - seen,
            f"node lost; ours: until all tasks run again (fence {FENCE} s)": again - start,
            "node lost; in all": again - lost}


def recovery(cluster, runs):
    found = {}
    for way in (requeue, node_loss):
        lives = [way(cluster) for _ in range(runs)]
        found.update({part: summary([life[part] for life in lives], "s") for part in lives[0]})
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[2])
    parser.add_argument("--quick", action="store_true", help="few runs")
    parser.add_argument("--results", metavar="DIR", default=f"{ROOT}/bench/results")
    args = parser.parse_args()
    cluster = Cluster(nodes=3, config=SITE)
    try:
        found = {**start_cost(cluster, 5 if args.quick else 20), **create_latency(cluster, 5 if args.quick else 20),
                 **recovery(cluster, 1 if args.quick else 5)}
    except Failure as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1
    finally:
        cluster.down()
    for name, value in found.items():
        print(f"{name:70} {value['median']:8.2f} {value['unit']:2}  "
              f"({value['min']:.2f} to {value['max']:.2f}, n={value['n']})")
    path = f"{args.results}/slurm-{time.strftime('%Y%m%d-%H%M%S')}-{os.uname().nodename}.json"
    with open(path, "w", encoding="utf-8") as file:
        json.dump(found, file, indent=1)
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
