# SPDX-License-Identifier: BSD-3-Clause
"""The daemons of Slurm on the nodes of a cluster, and what they say about the nodes."""
import os

from lib.process import ClusterError, tail, wait_for

DAEMONS = {"ctl": ("slurmctld", "/run/slurmctld/slurmctld.pid")}
SLURMD = ("slurmd", "/run/slurmd.pid")
QUERY = 10  # seconds that a command of Slurm may take


def daemon_of(name):
    return DAEMONS.get(name, SLURMD)


def log_of(cluster, name):
    return f"{cluster.state}/nodes/{name}/log/slurm/{daemon_of(name)[0]}.log"


def daemon_pid(cluster, name):
    """Its number on the node, or None when it does not run."""
    program, pid_file = daemon_of(name)
    node = cluster.node(name)
    try:
        with open(node.root(pid_file), encoding="ascii") as file:
            pid = int(file.read())
        with open(node.root(f"/proc/{pid}/comm"), encoding="ascii") as file:
            # A new Slurm starts itself anew to read its configuration, as slurmd-wlm in Debian.
            return pid if file.read().strip().partition("-")[0] == program else None
    except (OSError, ValueError):
        return None


def start(cluster, name):
    program = daemon_of(name)[0]
    if daemon_pid(cluster, name) is not None:
        raise ClusterError(f"{program} runs on {name} already")
    cluster.run(name, [program])

    def running():
        return daemon_pid(cluster, name)

    try:
        wait_for(f"{program} on {name}", running)
    except ClusterError as error:
        raise ClusterError(f"{error}\n{tail(log_of(cluster, name))}") from None


def stop(cluster, name):
    """As in a crash: what runs on the node stays."""
    program, pid_file = daemon_of(name)
    pid = daemon_pid(cluster, name)
    if pid is None:
        raise ClusterError(f"{program} does not run on {name}")
    cluster.run(name, ["sh", "-c", 'kill -KILL "$1" && rm -f "$2"', "sh", str(pid), pid_file])
    place = cluster.node(name).root(f"/proc/{pid}")
    wait_for(f"the end of {program} on {name}", lambda: not os.path.exists(place))


def node_states(cluster):
    """{node: state}, without the flags that sinfo puts after a state; empty when there is no answer."""
    try:
        status, text = cluster.run("ctl", ["sinfo", "-h", "-N", "-o", "%N %T"], check=False, limit=QUERY)
    except ClusterError:
        return {}
    if status != 0:
        return {}
    return {name: state.rstrip("*~#!%$@+^-") for name, state in map(str.split, text.splitlines())}


def wait_nodes(cluster, names, wanted, limit=None, watch=()):
    """Until each of the nodes is in one of the wanted states; no longer than the daemons on the nodes
    to watch live."""
    states = {}

    def reached():
        for name in watch:
            if daemon_pid(cluster, name) is None:
                raise ClusterError(
                    f"{daemon_of(name)[0]} on {name} has died:\n{tail(log_of(cluster, name))}")
        states.clear()
        states.update(node_states(cluster))
        return all(states.get(name) in wanted for name in names)

    try:
        wait_for(f"{' '.join(names)} to be {' or '.join(wanted)}", reached, limit, pause=0.1)
    except ClusterError as error:
        seen = " ".join(f"{name}={states.get(name, '?')}" for name in names)
        raise ClusterError(f"{error}\nstates: {seen}") from None
