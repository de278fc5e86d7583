# SPDX-License-Identifier: BSD-3-Clause
"""For tests of the coordinator: a real munge and the real protocol.  The test plays srun's plugin, a Slurm
that says what is in a file, node agents that do as they are told, and clients."""
import ctypes
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, f"{os.path.dirname(os.path.dirname(HERE))}/lib")
# pylint: disable=wrong-import-position
from cprtest import Failure, Skip, as_user, for_all, need_root, wait_for, USER

JOB, LIMIT, BLOCK = 77, 15, 64
CLONE_NEWNS, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 4096, 16384, 1 << 18
SCONTROL = """#!/bin/sh
echo "$*" >>{top}/calls
case "$1 $2" in
"show job") cat {top}/job;;
"show config") echo "ClusterName = lab"; echo "SrunPortRange = 0-0"; echo "KillWait = 3 sec";;
"write batch_script") echo '#!/bin/sh' >"$4";;
esac
"""
JOB_TEXT = """JobId={job} JobName=night
   UserId=tester({uid}) GroupId=tester({uid}) MCS_label=N/A
   JobState={state} Reason=None Dependency=(null)
   Requeue={requeue} Restarts={restarts} BatchFlag={batch} Reboot=0 ExitCode=0:0
   SubmitTime=2026-11-24T10:04:41 EligibleTime=2026-11-24T10:04:41
   StartTime=2026-11-24T10:04:41 EndTime={end} Deadline=N/A
   PreemptEligibleTime=2026-11-24T10:04:41 PreemptTime={preempt}
   Partition=low AllocNode:Sid=localhost:0
   NodeList=n[0-1]
   BatchHost=n0
   Command=/srv/job.sh
   WorkDir=/srv
"""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def utc(seconds):
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class Peer:
    """A node's agent, or a client."""

    def __init__(self, world, *hello, port=None, uid=USER):
        self.world = world
        self.process = subprocess.Popen(
            [world.bin + "/coordinator_peer", "127.0.0.1", str(port or world.port), str(JOB), "0", str(USER), *hello],
            env=world.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, **as_user(uid))
        self.lines, self.seen = queue.Queue(), []
        threading.Thread(target=self.read, daemon=True).start()
        world.peers.append(self)

    def read(self):
        for line in self.process.stdout:
            name, *pairs = line.rstrip("\n").split("\t")
            self.lines.put((name, dict(pair.partition("=")[::2] for pair in pairs)))
        self.lines.put(("EOF", {}))

    def get(self, *names, limit=LIMIT):
        """The next frame, which must be one of these."""
        try:
            name, pairs = self.lines.get(timeout=limit)
        except queue.Empty:
            raise Failure(f"waited {limit} s for {' or '.join(names)} after {self.seen[-4:]}; "
                          f"stderr: {self.world.stderr()}") from None
        self.seen.append((name, pairs))
        expect(name in names, f"{name} {pairs} came instead of {' or '.join(names)}; stderr: {self.world.stderr()}")
        return pairs

    def gap(self):
        """The longest time without a heartbeat since it was last asked."""
        self.send("GAP")
        return int(self.get("GAP")["ms"]) / 1000

    def quiet(self, seconds=0.5):
        try:
            came = self.lines.get(timeout=seconds)
        except queue.Empty:
            return
        raise Failure(f"unwanted: {came}")

    def send(self, kind, **pairs):
        words = [kind, *(f"{key.replace('__', '.')}={value}" for key, value in pairs.items())]
        self.process.stdin.write("\t".join(words) + "\n")

    def close(self):
        self.process.kill()
        self.process.wait()


class Node(Peer):
    """Ranks: those of its tasks."""

    def __init__(self, world, node, ranks, nnodes, live=None, **more):
        self.node, self.ranks, self.part = node, ranks, 0
        live = len(ranks) if live is None else live
        super().__init__(world, "role=node", f"node={node}", f"host=n{node}", f"nnodes={nnodes}",
                         f"ntasks={world.ntasks}", f"tasks={len(ranks)}", f"live={live}",
                         f"ended={len(ranks) - live}", f"ranks={','.join(map(str, ranks))}",
                         *(f"{key}={value}" for key, value in more.items()))
        self.joined = self.get("JOINED")

    def durable(self, number):
        self.part += 1
        pairs = {"round": number}
        for rank in self.ranks:
            path = f"{self.world.dir}/life-{self.world.epoch}/task-{rank}"
            self.world.make_dir(path)
            # A header of a later release is good enough, and short.
            name = f"{path}/gen-{self.part:08d}"
            with open(name, "wb") as file:
                file.write(self.world.magic + b"\xff" * 120 + bytes(4096))
            os.chmod(name, 0o600)
            os.chown(name, USER, USER)
            pairs |= {f"task__{rank}__gen": self.part, f"task__{rank}__stored": 1 << 20,
                      f"task__{rank}__stop_us": 38000}
        self.send("DURABLE", **pairs)

    def end(self, status=0, ranks=None):
        ranks = self.ranks if ranks is None else ranks
        live = len(self.ranks) - len(ranks)
        self.send("TASKS", tasks=len(self.ranks), live=live, ended=len(ranks),
                  **{f"ended__{rank}": status for rank in ranks})


class World:
    """`config`: of the site.  `**job`: what Slurm says."""

    def __init__(self, config="", ntasks=4, user_config="", **job):
        need_root()
        self.top = tempfile.mkdtemp(prefix="ckpt-coord-", dir="/tmp")
        os.chmod(self.top, 0o755)
        self.home, self.work = f"{self.top}/home", f"{self.top}/work"
        for path in (self.home, self.work, f"{self.top}/bin"):
            os.mkdir(path)
            os.chown(path, USER, USER)
        self.bin = for_all(os.environ["COORDINATOR"], os.environ["PEER"])
        self.ntasks, self.peers, self.process, self.servers = ntasks, [], None, []
        self.site = f"{self.top}/ckpt.yaml"
        self.write(f"{self.top}/bin/scontrol", SCONTROL.format(top=self.top), 0o755)
        self.write(f"{self.top}/calls", "", 0o666)
        self.configure(config)
        if user_config:
            os.makedirs(f"{self.home}/.config")
            self.write(f"{self.home}/.config/ckpt.yaml", user_config.format(home=self.home), 0o600)
            os.chown(f"{self.home}/.config/ckpt.yaml", USER, USER)
        self.facts = {}
        self.job(**job)
        self.own_passwd()
        self.start_munge()
        self.env = {"PATH": f"{self.top}/bin:/usr/bin:/bin", "HOME": self.home, "CKPT_MUNGE_SOCKET": self.socket,
                    "SLURM_CLUSTER_NAME": "lab", "TZ": "UTC"}
        self.magic = magic()
        self.log, self.life, self.dir, self.epoch, self.port = 0, None, None, 0, 0

    # -- surroundings

    @staticmethod
    def write(path, text, mode=0o644):
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path + ".new", mode)
        os.rename(path + ".new", path)

    def configure(self, text):
        """The site's file; `text` comes first and wins."""
        usual = ("min_interval: 1s", "fence: 6s", "heartbeat: 1s", "silence: 2s", "log: none", "reserve: 0%")
        self.write(self.site, text + "".join(f"{line}\n" for line in usual if line.split()[0] not in text))

    def job(self, **facts):
        self.facts = {"job": JOB, "uid": USER, "state": "RUNNING", "requeue": 1, "restarts": 0, "batch": 1,
                      "end": "Unknown", "preempt": "None", **self.facts, **facts}
        self.write(f"{self.top}/job", JOB_TEXT.format(**self.facts))

    def own_passwd(self):
        """The registry lies in the home of the password database."""
        libc = ctypes.CDLL(None, use_errno=True)
        self.write(f"{self.top}/passwd", f"root:x:0:0::/root:/bin/sh\ntester:x:{USER}:{USER}::{self.home}:/bin/sh\n")
        expect(libc.unshare(CLONE_NEWNS) == 0 and libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None) == 0 and
               libc.mount(f"{self.top}/passwd".encode(), b"/etc/passwd", None, MS_BIND, None) == 0,
               f"no mount namespace: {os.strerror(ctypes.get_errno())}")

    def start_munge(self):
        top = f"{self.top}/munge"
        os.mkdir(top, 0o755)
        self.socket = f"{top}/socket"
        with open(f"{top}/key", "wb") as file:
            file.write(os.urandom(64))
        os.chmod(f"{top}/key", 0o600)
        self.munged = subprocess.Popen(["munged", "--foreground", "--force", f"--socket={self.socket}",
                                        *(f"--{name}-file={top}/{name}" for name in ("key", "log", "pid", "seed"))],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("munged", lambda: os.path.exists(self.socket))

    def share(self):
        """Home and working directory on a file system with a server, which can be stopped; the site's file, too."""
        if not os.path.exists("/dev/fuse") or not shutil.which("bindfs"):
            raise Skip("needs bindfs")
        for path in (self.home, self.work):
            os.rename(path, path + ".disk")
            os.mkdir(path)
            self.servers.append(subprocess.Popen(["bindfs", "-f", "-o", "attr_timeout=0,entry_timeout=0",
                                                  path + ".disk", path]))
            wait_for("bindfs", lambda path=path: os.path.ismount(path))
        self.site = f"{self.work}/ckpt.yaml"
        self.configure("")

    def freeze(self, frozen=True):
        for server in self.servers:
            server.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def make_dir(self, path):
        if not os.path.isdir(path):
            os.mkdir(path, 0o700)
            os.chown(path, USER, USER)

    def calls(self):
        with open(f"{self.top}/calls", encoding="utf-8") as file:
            return file.read().splitlines()

    def end(self):
        # Whoever waits for them gets an error.
        for server in self.servers:
            server.kill()
            server.wait()
        for path in (self.home, self.work)[:len(self.servers)]:
            subprocess.run(["umount", "-l", path], check=False)
        for peer in self.peers:
            peer.process.kill()
            peer.process.wait()
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.munged.kill()
        self.munged.wait()
        shutil.rmtree(self.top, ignore_errors=True)

    # -- the coordinator

    def start(self, *options, interval="none", command=("/bin/app", "arg"), name=None, lives=0, want="ready",
              env=None, directory="state"):
        """Status lines up to `want`."""
        self.job(restarts=lives)
        status, status_w = os.pipe()
        life_r, self.life = os.pipe()
        self.log += 1
        stderr = open(f"{self.top}/stderr.{self.log}", "wb")
        env = {**self.env, **({"SLURM_RESTART_COUNT": str(lives)} if lives else {}), **(env or {})}
        argv = [f"{self.bin}/ckpt-coordinator", "--job", str(JOB), "--step", "0", "--interval", interval, *options,
                *(["--dir", directory] if directory else []), *(["--name", name] if name else []),
                "--cwd", self.work, "--ntasks", str(self.ntasks), "--config", self.site,
                "--bindir", self.bin, "--status-fd", str(status_w), "--life-fd", str(life_r), "--", *command]
        self.process = subprocess.Popen(argv, env=env, pass_fds=(status_w, life_r), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=stderr, cwd=self.work, **as_user(USER))
        stderr.close()
        os.close(status_w)
        os.close(life_r)
        os.set_inheritable(self.life, False)
        self.status = os.fdopen(status, encoding="utf-8")
        lines = []
        for line in self.status:
            lines.append(line.rstrip("\n"))
            if lines[-1].split()[0] in ("ready", "error", "refuse"):
                break
        expect(lines and lines[-1].split()[0] == want, f"{lines} and not {want}; stderr: {self.stderr()}")
        values = dict(line[4:].split("=", 1) for line in lines if line.startswith("env "))
        if want == "ready":
            self.port = int(values["SLURM_CKPT_PORT"])
            self.dir, self.epoch = values["SLURM_CKPT_STEPDIR"], int(values["SLURM_CKPT_EPOCH"])
        else:
            self.process.wait(LIMIT)
        self.lines, self.values = lines, values
        return values

    def stderr(self):
        with open(f"{self.top}/stderr.{self.log}", encoding="utf-8", errors="replace") as file:
            return file.read()

    def told(self, text, limit=LIMIT):
        wait_for(f"'{text}' in {self.stderr()!r}", lambda: text in self.stderr(), limit)

    def srun_ends(self, text=b"exit\n"):
        """The exit status."""
        if text:
            os.write(self.life, text)
        os.close(self.life)
        return self.process.wait(LIMIT)

    def gens(self):
        return sorted(int(name[4:]) for name in os.listdir(self.dir) if re.fullmatch(r"gen-\d+", name))

    def nodes(self):
        """Two of them, with half of the tasks each."""
        half = self.ntasks // 2
        return [Node(self, 0, list(range(half)), 2), Node(self, 1, list(range(half, self.ntasks)), 2)]

    def client(self, verb=None, **pairs):
        peer = Peer(self, "role=client")
        peer.get("JOINED")
        if verb:
            peer.send("REQUEST", verb=verb, max_wait=pairs.pop("max_wait", 20), **pairs)
        return peer

    def ask(self, verb, **pairs):
        peer = self.client(verb, **pairs)
        result = peer.get("RESULT")
        peer.close()
        return result


def magic():
    path = f"{os.path.dirname(os.path.dirname(HERE))}/data/image-v1.ckpt"
    with open(path, "rb") as file:
        return file.read(8)


def to_barrier(nodes, barrier):
    """A round up to where the nodes have to answer: its number."""
    number = None
    for node in nodes:
        number = node.get("ROUND")["round"]
    if barrier == "ROUND":
        return number
    for node in nodes:
        node.send("PREPARED", round=number)
    for node in nodes:
        node.get("MUSTER")
    if barrier == "MUSTER":
        return number
    for node in nodes:
        node.send("CAPTURED", round=number)
    return number


def good_round(nodes, kill=False):
    number = to_barrier(nodes, "CAPTURED")
    for node in nodes:
        if not kill:
            node.get("RESUME")
        node.durable(number)
    return [node.get("COMMITTED") for node in nodes][0]


def with_checkpoint(world, *options, **more):
    """A step that has run and made a generation; its nodes."""
    world.start(*options, **more)
    nodes = world.nodes()
    client = world.client("create")
    good_round(nodes)
    client.get("PROGRESS")
    expect(client.get("RESULT")["rc"] == "0", client.seen)
    client.close()
    return nodes


def finish(world, nodes, status=0, well=False):
    """In order; `well`: all tasks with exit code 0."""
    for node in nodes:
        node.end(status=0 if well else 9)
    for node in nodes:
        node.send("PING")
    time.sleep(0.3)
    for node in nodes:
        node.close()
    expect(world.srun_ends() == status, "exit status")
