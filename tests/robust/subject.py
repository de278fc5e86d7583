# SPDX-License-Identifier: BSD-3-Clause
"""The program `subject` at work, and cpr applied to it."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)) + "/../lib")
sys.dont_write_bytecode = True
# pylint: disable=wrong-import-position
from cprtest import (Failure, Skip, as_user, cpr_path, describe, for_all, kill_set, main, members,
                     need_root, new_set, plain_user, slurp, wait_for)

CPR = cpr_path()
SUBJECT = for_all(os.environ["SUBJECT"]) + "/robust.subject"


class Subject:
    """A context manager: everything is gone at the end.  `image` is the statefile directory."""

    def __init__(self, mib, children=0, uid=None):
        self.uid = os.getuid() if uid is None else uid
        self.top = tempfile.mkdtemp(prefix="robust-", dir="/tmp")
        self.dir, self.image = self.top + "/work", self.top + "/image"
        os.mkdir(self.dir)
        for path in self.top, self.dir:
            os.chown(path, self.uid, self.uid)
        self.set_id, self.children = new_set(), children
        self.env = {"PATH": os.environ["PATH"], "HOME": self.dir, "LC_ALL": "C",
                    "CKPT_SET": self.set_id}
        self.command = [SUBJECT, str(mib), str(children)]
        self.process = None
        self.token = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        kill_set(self.set_id)
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.top, ignore_errors=True)

    def popen(self, command, env=None, **options):
        return subprocess.Popen(command, cwd=self.dir, env=env or self.env, stdin=subprocess.DEVNULL,
                                **{**as_user(self.uid), **options})

    def start_logged(self, command, name, **how):
        """Its own log: an output file of the test would be one of the program's files."""
        log = f"{self.top}/{name}.log"
        with open(log, "wb") as file:
            os.fchown(file.fileno(), self.uid, self.uid)
            self.process = self.popen(command, stdout=file, stderr=file, **how)
        return log

    def start(self, **how):
        self.start_logged([CPR, "run", *self.command], "begin", **how)
        wait_for("the program to be ready", lambda: slurp(self.dir + "/ready"))
        self.token = slurp(self.dir + "/ready")
        return self

    @property
    def pid(self):
        return self.process.pid

    def popen_cpr(self, *arguments, **how):
        """With the set's identity in its environment, another cpr would take it for one of the set."""
        outside = {key: value for key, value in self.env.items() if key != "CKPT_SET"}
        return self.popen([CPR, *arguments], env=outside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **how)

    def create(self, *options, image=None, **how):
        """cpr -c, started."""
        return self.popen_cpr("-c", image or self.image, "-f", "-p", str(self.pid), *options, **how)

    def call(self, *arguments, **options):
        """cpr ARGUMENTS: exit status and what it printed."""
        return self.finish(self.popen_cpr(*arguments, **options))

    @staticmethod
    def finish(process, limit=30):
        try:
            output = process.communicate(timeout=limit)[0]
        except subprocess.TimeoutExpired:
            # Not read to its end: what cpr has started may hold the pipe open.
            process.kill()
            process.wait()
            raise Failure(f"cpr did not end within {limit} s") from None
        return process.returncode, output

    def checkpoint(self, *options, image=None):
        status, output = self.finish(self.create(*options, image=image))
        if status != 0:
            raise Failure(f"cpr -c ended with {status}: {output}")
        return output

    def steps(self):
        return [int.from_bytes(slurp(f"{self.dir}/alive.{n}")[:8], "little")
                for n in range(self.children + 1)]

    def must_go_on(self):
        """Every process makes steps."""
        before = self.steps()

        def all_moved():
            return self.process.poll() is None and all(a > b for a, b in zip(self.steps(), before))

        try:
            wait_for("the program to go on", lambda: all_moved() or self.process.poll() is not None)
        except Failure:
            describe(self.set_id)
            raise
        if self.process.poll() is not None:
            raise Failure(f"the program ended with {self.process.returncode}")

    def must_verify(self):
        status, output = self.call("verify", self.image)
        if status != 0:
            raise Failure(f"cpr verify ended with {status}: {output}")

    def must_restart(self, *options, image=None, check=None):
        """Kill what runs, restart, let it end: it finds its memory as it was.  check() is called while
        it runs."""
        kill_set(self.set_id)
        self.process.wait()
        for name in "intact", "end":
            if os.path.exists(f"{self.dir}/{name}"):
                os.unlink(f"{self.dir}/{name}")
        log = self.start_logged([CPR, "-r", *options, image or self.image], "restart")
        wait_for("the restart", lambda: re.search(rb"^cpr: restarted ", slurp(log), re.M) or
                 self.process.poll() is not None)
        time.sleep(0.1)
        if check:
            check()
        self.must_end(log)

    def must_end(self, log=None):
        with open(self.dir + "/end", "w", encoding="ascii"):
            pass
        try:
            status = self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            describe(self.set_id)
            raise Failure("the program does not end") from None
        if status != 0:
            raise Failure(f"the program ended with {status}: "
                          f"{slurp(log).decode(errors='replace') if log else ''}")
        if slurp(self.dir + "/intact") != self.token:
            raise Failure("this is not the program that was checkpointed")


def one_line(output, pattern):
    """A failure is told in one line that names the cause."""
    lines = output.strip().splitlines()
    if len(lines) != 1 or not lines[0].startswith("cpr: ") or not re.search(pattern, lines[0]):
        raise Failure(f"not one line with '{pattern}': {output!r}")
    return lines[0]


def kill(process):
    try:
        os.kill(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
