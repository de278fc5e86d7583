# SPDX-License-Identifier: BSD-3-Clause
"""What tests that drive cpr from the outside have in common: waiting, looking at and ending the
processes of a set, and the ways a test ends."""
import atexit
import ctypes
import glob
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
# pylint: disable=wrong-import-position
from namespaces import FORBIDDEN, user_namespaces

SKIP = 77
USER = 1000  # the plain user that root tests as


class Failure(Exception):
    pass


class Skip(Exception):
    pass


def wait_for(what, condition, limit=20.0):
    end = time.monotonic() + limit
    while not condition():
        if time.monotonic() > end:
            raise Failure(f"waited {limit:g} s for {what}")
        time.sleep(0.01)


def slurp(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""


def new_set():
    return f"{random.getrandbits(64) | 1:016x}"


def members(set_id):
    """The living processes of a set, by the identity that fork and exec hand on, and what they have started: some
    programs write their title over their environment."""
    mark, parent, found = b"CKPT_SET=" + set_id.encode(), {}, set()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        stat = slurp(f"/proc/{name}/stat").rpartition(b")")[2].split()
        if len(stat) > 1 and stat[0] != b"Z":
            parent[int(name)] = int(stat[1])
            if mark in slurp(f"/proc/{name}/environ").split(b"\0"):
                found.add(int(name))
    while more := {pid for pid, ppid in parent.items() if ppid in found} - found:
        found |= more
    return sorted(found)


def describe(set_id):
    """What keeps the processes of a set busy."""
    for pid in members(set_id):
        status = slurp(f"/proc/{pid}/status").decode()
        fields = re.findall(r"^((?:Name|State|PPid|NSpid|SigBlk|SigPnd|ShdPnd):.*)", status, re.M)
        print(pid, *fields, *(slurp(f"/proc/{pid}/{name}").decode().strip()
                              for name in ("wchan", "syscall")))


def signal_all(pids, number):
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            pass


def kill_set(set_id):
    """As when the power fails: nobody sees another one die, and tidies up."""
    def gone():
        pids = members(set_id)
        signal_all(pids, signal.SIGSTOP)
        signal_all(pids, signal.SIGKILL)
        return not pids

    wait_for("the killed processes to go", gone, 10.0)


def as_user(uid):
    """Options of subprocess for a process of that user."""
    return {} if uid == os.getuid() else {"user": uid, "group": uid, "extra_groups": []}


def plain_user(cpr):
    """The plain user for a test: whoever runs it, or USER for root."""
    if not user_namespaces():
        raise Skip(FORBIDDEN)
    if os.getuid() != 0:
        return os.getuid()
    try:
        subprocess.run([cpr, "--version"], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, **as_user(USER))
    except (OSError, subprocess.CalledProcessError):
        raise Skip(f"user {USER} may not run {cpr}") from None
    return USER


def need_root():
    if os.getuid() != 0:
        raise Skip("needs root")


def for_all(*paths):
    """A directory with copies of these files, as long as the test runs.  A plain user that root tests as
    may not reach the trees where they lie."""
    top = tempfile.mkdtemp(prefix="cprtest-", dir="/tmp")
    atexit.register(shutil.rmtree, top, ignore_errors=True)
    os.chmod(top, 0o755)
    for path in paths:
        shutil.copy(path, top)
    return top


def cpr_path():
    cpr = os.path.realpath(os.environ["CPR"])
    if os.getuid() == 0:
        return for_all(cpr, *glob.glob(os.path.dirname(cpr) + "/libckpt.so*")) + "/cpr"
    return cpr


def main(test):
    """Run the test and end as ctest expects it."""
    # What whoever starts the tests has open is not part of the programs.
    os.closerange(3, 4096)
    # Orphans of killed programs come to us and not to an init that may not reap them.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
    try:
        test()
    except Skip as skip:
        print(f"skipped: {skip}")
        sys.exit(SKIP)
    except Failure as failure:
        print(f"failed: {failure}")
        sys.exit(1)
    sys.exit(0)
