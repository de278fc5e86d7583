# SPDX-License-Identifier: BSD-3-Clause
"""For tests of programs below `mpirun cpr run`: jobs of a test, checkpoints of all their ranks at the same
time, new lives in a new launch.  Nothing of them outlives the test.
"""
import contextlib
import glob
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

from launch import environment

LIMIT = float(os.environ.get("CKPT_LIMIT", "55"))
CPR = os.environ["CPR"]
# The image of a rank has the number of its rank in the new launch.
RESTART = 'exec "$0" -q -r "${1:-state}.$OMPI_COMM_WORLD_RANK"'


class Failed(Exception):
    pass


class Round:
    """One checkpoint of some ranks, by image: none goes on before all are saved, since it might write into the
    memory of another one."""

    def __init__(self, pids, deadline):
        self.deadline, self.parts, self.start, self.agreed = deadline, [], time.time(), 0.0
        for image, pid in pids.items():
            ours, theirs = socket.socketpair()
            cpr = subprocess.Popen(
                [CPR, "-c", "-f", "-q", "--drive", str(theirs.fileno()), "-p", str(pid), image],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT)
            theirs.close()
            self.parts.append((ours, cpr))

    def barrier(self, word):
        for part, _ in self.parts:
            line = b""
            while not line.endswith(b"\n"):
                left = self.deadline - time.time()
                if left < 0 or not select.select([part], [], [], left)[0]:
                    return False
                more = part.recv(1)
                if not more:
                    return False
                line += more
            if line.split()[0] != word:
                return False
        return True

    def tell(self, word):
        for part, _ in self.parts:
            try:
                part.sendall(word)
            except OSError:
                pass

    def run(self):
        """(taken, what cpr has said)"""
        good = self.barrier(b"prepared")
        self.agreed = time.time() - self.start
        if good:
            self.tell(b"go\n")
            good = self.barrier(b"captured")
            if good:
                self.tell(b"go\n")
        if not good:
            self.tell(b"abort the other ranks cannot\n")
        texts = []
        for _, cpr in self.parts:
            texts.append(cpr.communicate(timeout=30)[0].decode(errors="replace"))
            good = good and cpr.returncode == 0
        for part, _ in self.parts:
            part.close()
        return good, "".join(texts)


class Jobs:
    def __init__(self, limit=LIMIT):
        self.cwd = tempfile.mkdtemp(prefix="ckpt-restart-")
        self.limit, self.deadline = limit, time.time() + limit
        self.jobs, self.pids = [], []
        self.env = environment(self.cwd)

    def launch(self, ranks, *command):
        """A job of mpirun, and the file that has its output."""
        path = f"{self.cwd}/log.{len(self.jobs)}"
        with open(path, "wb") as log:
            job = subprocess.Popen(["mpirun", "--oversubscribe", "-np", str(ranks), *command],
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.cwd,
                                   env=self.env, start_new_session=True)
        self.jobs.append(job)
        return job, path

    def end_of(self, job, path):
        """Status and output."""
        try:
            status = job.wait(max(0.1, self.deadline - time.time()))
        except subprocess.TimeoutExpired:
            raise Failed(f"not ended within {self.limit:.0f} s:\n{text_of(path)}") from None
        return status, text_of(path)

    def wait(self, what, condition):
        while not (value := condition()):
            if time.time() > self.deadline:
                raise Failed(f"waited too long for {what}:\n" +
                             "\n".join(text_of(path) for path in glob.glob(f"{self.cwd}/log.*")))
            time.sleep(0.02)
        return value

    def ranks_of(self, ranks, path):
        """Process numbers of the ranks whose program is `path`, by rank."""
        pids = {}
        for exe in glob.glob("/proc/[0-9]*/exe"):
            pid = exe.split("/")[2]
            try:
                if os.readlink(exe) != path or os.stat(f"/proc/{pid}/cwd").st_ino != os.stat(self.cwd).st_ino:
                    continue
                with open(f"/proc/{pid}/environ", "rb") as file:
                    rank = re.search(rb"(?:^|\0)OMPI_COMM_WORLD_RANK=(\d+)\0", file.read())
            except OSError:
                continue
            if rank:
                pids[int(rank[1])] = int(pid)
        return pids if len(pids) == ranks else None

    def checkpoint(self, pids, name="state"):
        """All ranks at the same time, as they agree on a cut."""
        self.pids += pids.values()
        images = {f"{self.cwd}/{name}.{rank}": pid for rank, pid in pids.items()}
        good, text = Round(images, min(self.deadline, time.time() + 30)).run()
        if not good:
            raise Failed(f"cpr -c:\n{text}")

    def kill(self, job, pids):
        for pid in pids.values():
            # mpirun ends the others when one has ended.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.end_job(job)

    @staticmethod
    def end_job(job):
        try:
            os.killpg(job.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        job.wait()

    def end(self):
        for job in self.jobs:
            self.end_job(job)
        for exe in glob.glob("/proc/[0-9]*/cwd"):
            try:
                if os.readlink(exe).startswith(self.cwd):
                    os.kill(int(exe.split("/")[2]), signal.SIGKILL)
            except OSError:
                pass
        shutil.rmtree(self.cwd, ignore_errors=True)


def text_of(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def table_of(text):
    """The thermodynamic output of lmp."""
    return [line for line in text.splitlines() if re.fullmatch(r"\s*\d+(\s+-?[\d.]+){5}\s*", line)]
