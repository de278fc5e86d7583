# SPDX-License-Identifier: BSD-3-Clause
"""For tests of job steps: a cluster of the test's own with the plugin installed, jobs of alice, and an
oracle that tells a restored task from one that was started again.

A test is a program of functions case_NAME(); main() runs the one that the command line names.
"""
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
sys.path.insert(0, HERE)
# pylint: disable=wrong-import-position
import work

ROOT = os.path.dirname(os.path.dirname(HERE))
CLUSTER = f"{ROOT}/tests/cluster/cluster"
BIN = os.environ.get("CKPT_BIN", f"{ROOT}/build/dev/bin")
PYTHON = "/usr/bin/python3"
SKIP = 77
LIMIT = 60


class Failure(Exception):
    pass


class Skipped(Exception):
    pass


def expect(condition, text):
    if not condition:
        raise Failure(text)


def wait_for(what, condition, limit=LIMIT, every=0.1):
    end = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() >= end:
            raise Failure(f"waited {limit} s for {what() if callable(what) else what}")
        time.sleep(every)
    return value


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


class Cluster:
    """`config`: the lines of the site's YAML file; `plugin=False`: Slurm without us."""

    def __init__(self, nodes=2, config="", cgroup=False, plugin=True, arguments="", options=()):
        self.top = tempfile.mkdtemp(prefix="ckpt-step-", dir="/tmp")
        self.state = f"{self.top}/state"
        self.scratch = f"{self.state}/srv/scratch"
        self.home = f"{self.state}/srv/home/alice"
        binds = [f"--bind={path}" for path in sorted({BIN, ROOT}) if path.startswith(("/tmp/", "/var/tmp/"))]
        self.front("up", str(nodes), *(["--cgroup"] if cgroup else []), *binds, *options)
        with open(f"{self.state}/etc/slurm/ckpt.yaml", "w", encoding="utf-8") as file:
            file.write(config)
        if plugin:
            self.plugstack(f"optional {BIN}/spank_ckpt.so libexec={BIN} bindir={BIN} libdir={BIN} "
                           f"config=/etc/slurm/ckpt.yaml {arguments}")

    def plugstack(self, line):
        with open(f"{self.state}/etc/slurm/plugstack.conf", "w", encoding="utf-8") as file:
            file.write(line + "\n")

    def configure(self, text):
        """A new site file, in place at once."""
        path = f"{self.state}/etc/slurm/ckpt.yaml"
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(f"{path}.new", path)

    def down(self):
        self.front("down")
        with contextlib.suppress(OSError):
            os.rmdir(self.top)

    def run(self, *args, status=0, limit=LIMIT, env=None):
        """The front end; status None: any.  Returns (status, stdout, stderr)."""
        try:
            done = subprocess.run([CLUSTER, *args], env={**os.environ, **(env or {}), "CLUSTER_STATE": self.state},
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit,
                                  check=False)
        except subprocess.TimeoutExpired:
            raise Failure(f"'{' '.join(args)}' took more than {limit} s") from None
        expect(status is None or done.returncode == status,
               f"'{' '.join(args)}' gave {done.returncode}, not {status}:\n{done.stdout}{done.stderr}")
        return done.returncode, done.stdout, done.stderr

    def front(self, *args, **options):
        return self.run(*args, **options)[1]

    def user(self, *command, name="alice", host="ctl", **options):
        return self.run("exec", host, "-u", name, "--", *command, **options)

    def alice(self, *command, **options):
        """Standard output of a command of hers on the login node."""
        return self.user(*command, **options)[1]

    def start(self, *command, name="alice", host="ctl", stdout=None, stderr=None):
        """A command that goes on: a Popen."""
        return subprocess.Popen([CLUSTER, "exec", host, "-u", name, "--", *command],
                                env={**os.environ, "CLUSTER_STATE": self.state}, stdin=subprocess.DEVNULL,
                                stdout=stdout or subprocess.PIPE, stderr=stderr or subprocess.STDOUT, text=True)

    def checkpoint(self, verb, target, *args, name="alice", **options):
        """`scontrol checkpoint` through our front end: (status, stdout, stderr)."""
        return self.user(f"{BIN}/front/scontrol", "checkpoint", verb, str(target), *args, name=name, **options)

    def submit(self, script, *options, name="job"):
        """A batch job: its number.  The output is scratch/NAME.log."""
        return self.alice("sbatch", "--parsable", "-o", f"/srv/scratch/{name}.log", *options,
                          "--wrap", script).strip()

    def log(self, name="job"):
        return read(f"{self.scratch}/{name}.log")

    def job(self, number):
        """`scontrol show job` as a dictionary."""
        text = self.user("scontrol", "-o", "show", "job", str(number), status=None)[1]
        return dict(re.findall(r"(\w+)=(\S*)", text))

    def wait_job(self, number, *states, limit=LIMIT):
        return wait_for(lambda: f"job {number} to be {' or '.join(states)}; it is {self.job(number).get('JobState')}; "
                        f"its log: {self.log()}", lambda: (job := self.job(number)).get("JobState") in states and job,
                        limit)

    def work(self, out="out", ticks=60, pause=0.1):
        """The command of a task, see work.py."""
        return f"{PYTHON} {HERE}/work.py /srv/scratch/{out} {ticks} {pause}"

    def long_work(self, out="out", pause=0.1):
        """One that goes on until finish(), however long that takes."""
        return f"{self.work(out, 100000, pause)} until=/srv/scratch/finish"

    def finish(self):
        with open(f"{self.scratch}/finish", "w", encoding="ascii"):
            pass

    def progress(self, out="out", rank=0):
        lines = read(f"{self.scratch}/{out}.{rank}").splitlines()
        return int(lines[-1].split()[0]) if lines and lines[-1][0].isdigit() else 10**9 if lines else 0

    def generations(self, directory):
        """Committed generations of the step's directory (below scratch), ascending."""
        try:
            names = os.listdir(f"{self.scratch}/{directory}")
        except OSError:
            return []
        return sorted(int(name[4:]) for name in names if re.fullmatch(r"gen-\d+", name))

    def wait_generation(self, directory, number=1, limit=LIMIT, log="job"):
        return wait_for(lambda: f"generation {number} in {directory}; {self.log(log)}",
                        lambda: (g := self.generations(directory)) and g[-1] >= number and g[-1], limit)


def expect_restored(cluster, tasks, out="out", ticks=60, first=0):
    """Every task, from rank `first` on, did all its work once, in one memory: the hosts that it was on, by rank.
    ticks None: as much work as there was before finish()."""
    hosts = {}
    for rank in range(first, first + tasks):
        lines = [line.split() for line in read(f"{cluster.scratch}/{out}.{rank}").splitlines()]
        expect(lines and lines[-1][0] == "result", f"rank {rank} has no result: {lines[-3:]}")
        *ticked, (_, token, result) = lines
        count = len(ticked) if ticks is None else ticks
        expect([line[0] for line in ticked] == [str(i) for i in range(1, count + 1)],
               f"rank {rank}: the lines are {[line[0] for line in ticked]}")
        expect({line[1] for line in lines} == {token}, f"rank {rank} was started again")
        state = token
        for i in range(1, count + 1):
            state = work.step(state, i)
        expect(state == result, f"rank {rank}: wrong result")
        hosts[rank] = [line[2] for line in ticked]
    return hosts


def expect_not_restored(cluster, tasks, **options):
    try:
        expect_restored(cluster, tasks, **options)
    except Failure:
        return
    raise Failure("a fresh start passes for a restored one")


@contextlib.contextmanager
def preempted_once(cluster, job):
    """What follows a preemption.  Slurm 24.11 requeues such a job once more when it has ended well within the grace
    time of the first life, with and without us."""
    try:
        yield
    except Failure:
        version = subprocess.run(["slurmctld", "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
        if version.startswith("24.11.") and int(cluster.job(job).get("Restarts", 0)) > 1:
            raise Skipped(f"Slurm {version} has requeued a preempted job that had ended well") from None
        raise


def main(cases, **cluster):
    """usage: PROGRAM CASE [cgroup]; `cluster`: what all cases want to have.  `cgroup`: with proctrack/cgroup and
    task/cgroup, which some cases have anyway."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    case = cases.get(f"case_{name}")
    if not case or sys.argv[2:] not in ([], ["cgroup"]):
        sys.exit(f"usage: {sys.argv[0]} {'|'.join(sorted(c[5:] for c in cases if c.startswith('case_')))} [cgroup]")
    wanted = {**cluster, **getattr(case, "cluster", {}), **({"cgroup": True} if sys.argv[2:] else {})}
    check = [CLUSTER, "check", *(["--cgroup"] if wanted.get("cgroup") else [])]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"skipped: {(done.stdout + done.stderr).strip()}")
        sys.exit(SKIP if done.returncode == SKIP else 1)
    status, ours = 0, None
    try:
        ours = Cluster(**wanted)
        case(ours)
    except Skipped as reason:
        print(f"skipped: {reason}")
        status = SKIP
    except Failure as failure:
        print(f"failed: {failure}")
        if ours:
            print(ours.run("logs", "-n", "30", status=None)[1])
        status = 1
    finally:
        if ours:
            ours.down()
    sys.exit(status)


def on(**cluster):
    """Decorator: what cluster a case wants."""
    def mark(case):
        case.cluster = cluster
        return case
    return mark
