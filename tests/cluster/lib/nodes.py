# SPDX-License-Identifier: BSD-3-Clause
"""A cluster and its machines: one process 1 for the cluster, below it one for each node."""
import json
import os
import subprocess
import uuid

from lib import cgroups, config
from lib.process import KILL_LIMIT, ClusterError, Process, enter, run, tail, wait_for

HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
CLUSTER_FILE = "cluster.json"
# Covered in each node by something of its own.
COVERED = ("/run", "/srv", "/dev/shm", "/var/spool", "/var/log")


class NoCluster(ClusterError):
    """There is none where one was looked for."""


def read_process(path):
    """The process that an init script wrote down, or None."""
    try:
        with open(path, encoding="ascii") as file:
            pid, start = file.read().split()
    except (FileNotFoundError, ValueError):
        return None
    return Process(int(pid), int(start))


def remove_quietly(path):
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


class Cluster:
    """What is known about a cluster is in its state directory; a front end comes and goes."""

    def __init__(self, state):
        self.state = state
        try:
            with open(f"{state}/{CLUSTER_FILE}", encoding="utf-8") as file:
                self.settings = json.load(file)
        except FileNotFoundError:
            raise NoCluster(f"no cluster in {state}") from None
        self.nodes = [f"n{i}" for i in range(self.settings["nodes"])]
        self.names = ["ctl", *self.nodes]
        self.init = read_process(f"{state}/process")
        self.holder = None  # the `unshare` that is the parent of init, when it is a child of ours

    @classmethod
    def create(cls, state, settings):
        """An empty directory becomes that of a cluster which is not running yet."""
        for path in settings["binds"]:
            if any(path == top or path.startswith(top + "/") for top in COVERED):
                raise ClusterError(f"cannot bind {path}: nodes have their own {', '.join(COVERED)}")
        settings = {**settings, "uuid": uuid.uuid4().hex[:12]}
        config.write(f"{state}/{CLUSTER_FILE}", json.dumps(settings))
        return cls(state)

    def write_files(self):
        etc, srv = f"{self.state}/etc", f"{self.state}/srv"
        for path in (etc, srv, f"{self.state}/nodes"):
            os.mkdir(path)
        os.mkdir(f"{srv}/scratch")
        os.chmod(f"{srv}/scratch", 0o1777)
        config.write_accounts(etc, srv)
        config.write_hosts(etc, self.names)
        config.write_slurm(HERE, etc, self.settings["nodes"], self.settings["cpus"],
                           self.settings["memory"], self.settings["cgroup"])

    def start(self):
        log = f"{self.state}/init.log"
        with open(log, "wb") as output:
            self.holder = subprocess.Popen(
                ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child",
                 f"{HERE}/cluster-init", self.state],
                stdin=subprocess.PIPE, stdout=output, stderr=output, cwd="/", start_new_session=True)

        def started():
            return read_process(f"{self.state}/process")

        def ready():
            if self.holder.poll() is not None:
                raise ClusterError(f"the cluster did not start: {tail(log)}")
            return os.path.exists(self.init.root("/run/cluster-ready"))

        self.init = wait_for("process 1 of the cluster", started)
        self.holder.stdin.write(b"go\n")
        self.holder.stdin.close()
        wait_for("munged", ready)

    def stop(self):
        """End all processes of the cluster, and with them its mounts, links and namespaces."""
        if self.init is None and self.holder is not None:
            # It waits for a word that does not come.
            self.holder.stdin.close()
            self.holder.wait(KILL_LIMIT)
            self.init = read_process(f"{self.state}/process")
        if self.init is not None and self.init.alive():
            holder = self.init.parent()
            self.init.kill()
            if self.holder is not None:
                self.holder.wait(KILL_LIMIT)
            wait_for("the end of the cluster", lambda: not holder.alive(), KILL_LIMIT)
        if self.settings["cgroup"]:
            cgroups.remove(self.group())

    def group(self, name=""):
        """The control group of the cluster or of a node, as seen outside."""
        return os.path.join(f"ckpt-cluster-{self.settings['uuid']}", name)

    def node(self, name):
        """The process 1 of a node that must be on."""
        if name not in self.names:
            raise ClusterError(f"no node {name}; there are {' '.join(self.names)}")
        process = read_process(f"{self.state}/nodes/{name}/process")
        if process is None or not process.alive():
            raise ClusterError(f"node {name} is off")
        return process

    def is_on(self, name):
        process = read_process(f"{self.state}/nodes/{name}/process")
        return process is not None and process.alive()

    def run(self, name, argv, **options):
        """A short command on a node, as root."""
        return run(self.node(name), argv, before=self.join_group, **options)

    def enter(self, name):
        """Become a process on a node; see process.enter()."""
        enter(self.node(name))
        self.join_group()

    def join_group(self):
        """On the node, whose group is the root there."""
        if self.settings["cgroup"]:
            cgroups.join("")

    def power_on(self, names):
        for name in names:
            if self.is_on(name):
                raise ClusterError(f"node {name} is on")
            self._launch(name)
        for name in names:
            self._plug(name, self._wait_ready(name))

    def _launch(self, name):
        disk = f"{self.state}/nodes/{name}"
        os.makedirs(disk, exist_ok=True)
        remove_quietly(f"{disk}/process")
        if not os.path.exists(f"{disk}/hostname"):
            config.write(f"{disk}/hostname", f"{name}\n")
            config.write(f"{disk}/machine-id", f"{uuid.uuid4().hex}\n")
        hierarchies, before = "", None
        if self.settings["cgroup"]:
            cgroups.create(self.group(name))
            hierarchies = ",".join(cgroups.HIERARCHIES)

            def before():
                cgroups.join(self.group(name))

        # setsid forks, so that the child goes to the cluster's process 1.
        run(self.init,
            ["setsid", "--fork", "unshare", "--net", "--uts", "--ipc", "--cgroup", "--mount", "--pid",
             "--fork", "--kill-child", f"{HERE}/node-init", self.state, name, hierarchies,
             *self.settings["binds"]], before=before)

    def _wait_ready(self, name):
        disk = f"{self.state}/nodes/{name}"

        def ready():
            process = read_process(f"{disk}/process")
            if process is None:
                return None
            if not process.alive():
                raise ClusterError(f"node {name} did not start: {tail(f'{disk}/init.log')}")
            return process if os.path.exists(process.root("/run/node-ready")) else None

        return wait_for(f"node {name} to start", ready)

    def _plug(self, name, process):
        # Only the network namespace is entered, so numbers of processes are those of the host.
        run(self.init, ["ip", "-batch", "-"], namespaces=("net",), stdin=f"""\
link add {name} type veth peer name eth0 netns {process.pid}
link set {name} master switch up
""")
        run(process, ["ip", "-batch", "-"], namespaces=("net",), stdin=f"""\
link set lo up
addr add {config.address(name)}/16 dev eth0
link set eth0 up
""")

    def power_off(self, name):
        # First of all: a kernel that ends processes says goodbye to their peers, a machine without power does not.
        self.link(name, "down")
        self.node(name).kill()
        remove_quietly(f"{self.state}/nodes/{name}/process")
        # The kernel may be slower with it than the next start.
        run(self.init, ["ip", "link", "delete", name], namespaces=("net",), check=False)
        if self.settings["cgroup"]:
            cgroups.remove(self.group(name))

    def link(self, name, direction):
        self.node(name)
        run(self.init, ["ip", "link", "set", name, direction], namespaces=("net",))

    def link_state(self, name):
        _, text = run(self.init, ["ip", "-o", "link", "show", name], namespaces=("net",), check=False)
        return "up" if "state UP" in text else "down"
