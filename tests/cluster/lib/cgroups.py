# SPDX-License-Identifier: BSD-3-Clause
"""A control group per node, in the version 1 hierarchies that Slurm works with, below one of the cluster.

The nodes are in cgroup namespaces and see their group as the root, so that clusters do not meet."""
import os
import time

ROOT = "/sys/fs/cgroup"
HIERARCHIES = ("freezer", "memory")


def missing():
    """The first hierarchy that the machine does not have, or None."""
    for hierarchy in HIERARCHIES:
        if not os.path.exists(f"{ROOT}/{hierarchy}/cgroup.procs"):
            return hierarchy
    return None


def create(group):
    for hierarchy in HIERARCHIES:
        os.makedirs(f"{ROOT}/{hierarchy}/{group}", exist_ok=True)


def join(group):
    for hierarchy in HIERARCHIES:
        with open(f"{ROOT}/{hierarchy}/{group}/cgroup.procs", "w", encoding="ascii") as file:
            file.write("0")


def remove(group, limit=5):
    """Remove a group without processes and all below it.  The kernel lets go of them with delay."""
    end = time.monotonic() + limit
    for hierarchy in HIERARCHIES:
        for path, _, _ in os.walk(f"{ROOT}/{hierarchy}/{group}", topdown=False):
            while True:
                try:
                    os.rmdir(path)
                    break
                except OSError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.02)
