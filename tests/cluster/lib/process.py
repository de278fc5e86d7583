# SPDX-License-Identifier: BSD-3-Clause
"""Processes of the cluster as the host sees them: who they are, ending them, running commands in their
namespaces.

A number alone does not name a process, it may have been given to somebody else; with the start time it
does.  Nothing here signals a process that was not looked at through a pidfd first.
"""
import ctypes
import os
import select
import signal
import subprocess
import tempfile
import time

LIMIT = float(os.environ.get("CLUSTER_TIMEOUT", "60"))  # seconds that any single wait may take
KILL_LIMIT = 60  # seconds from SIGKILL to the end, which CLUSTER_TIMEOUT must not cut short
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
CLEAN_ENV = {"PATH": PATH, "LC_ALL": "C.UTF-8"}
# mnt comes last: the others are opened by names that it may change.  pid counts for children only.
NAMESPACES = ("net", "uts", "ipc", "cgroup", "pid", "mnt")
PR_SET_PDEATHSIG = 1
FORWARDED = {signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}

libc = ctypes.CDLL(None, use_errno=True)


class ClusterError(Exception):
    """Something failed; the text is for the user."""


def wait_for(what, condition, limit=None, pause=0.02):
    """Returns the first true value of condition()."""
    limit = LIMIT if limit is None else limit
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise ClusterError(f"waited {limit:g} s for {what}")
        time.sleep(pause)


def tail(path, lines=10):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:]).rstrip()
    except OSError as error:
        return f"({error.strerror})"


class Process:
    """A process on the host, identified by number and start time."""

    def __init__(self, pid, start=None):
        self.pid = pid
        self.start = start if start is not None else (self._stat() or (None, None))[1]

    def _stat(self):
        """State letter and start time, or None."""
        try:
            with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            return None
        return fields[0], int(fields[19])

    def alive(self):
        stat = self._stat()
        return stat is not None and stat[0] not in "ZX" and stat[1] == self.start

    def parent(self):
        with open(f"/proc/{self.pid}/stat", encoding="utf-8", errors="replace") as file:
            return Process(int(file.read().rpartition(")")[2].split()[1]))

    def root(self, path):
        """The name here of a file that the process calls path."""
        return f"/proc/{self.pid}/root{path}"

    def kill(self):
        """SIGKILL, and wait for the end: of a process 1 it is the end of its pid namespace."""
        try:
            fd = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if not self.alive():
                return
            signal.pidfd_send_signal(fd, signal.SIGKILL)
            if not select.select([fd], [], [], KILL_LIMIT)[0]:
                raise ClusterError(f"process {self.pid} did not end within {KILL_LIMIT} s of SIGKILL")
        finally:
            os.close(fd)


def enter(leader, namespaces=NAMESPACES):
    """Go where the process `leader` is.  Only a child can be in its pid namespace, so this returns in a
    new process there; the one that called waits for it and exits as it did."""
    fds = [os.open(f"/proc/{leader.pid}/ns/{name}", os.O_RDONLY) for name in namespaces]
    for fd, name in zip(fds, namespaces):
        if libc.setns(fd, 0) != 0:
            error = os.strerror(ctypes.get_errno())
            raise ClusterError(f"cannot enter {name} namespace of process {leader.pid}: {error}")
        os.close(fd)
    if "pid" not in namespaces:
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED | {signal.SIGCHLD})
    child = os.fork()
    if child != 0:
        # A pipe that the caller waits on must not stay open here.
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        os._exit(_attend(child))
    die_with_parent()
    for number in FORWARDED | {signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def die_with_parent():
    """Has to be repeated after a change of user."""
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _attend(child):
    """Pass on what others send and return the exit status of the child, as a shell has it."""
    while True:
        info = signal.sigwaitinfo(FORWARDED | {signal.SIGCHLD})
        if info.si_signo != signal.SIGCHLD:
            # What a terminal sends (si_code > 0) the child has had as well.
            if info.si_code <= 0:
                os.kill(child, info.si_signo)
            continue
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def run(leader, argv, namespaces=NAMESPACES, limit=None, stdin="", before=None, check=True):
    """Run a short command where `leader` is; returns (status, output).  before() is called in the new
    process."""
    limit = LIMIT if limit is None else limit

    def prepare():
        enter(leader, namespaces)
        if before is not None:
            before()

    # A file and not a pipe: what a daemon holds open must not be waited for.
    with tempfile.TemporaryFile("w+", errors="replace") as output, \
            tempfile.TemporaryFile("w+") as given:
        given.write(stdin)
        given.seek(0)
        try:
            status = subprocess.run(
                argv, stdin=given, stdout=output, stderr=output, env=CLEAN_ENV, cwd="/",
                preexec_fn=prepare, timeout=limit, check=False).returncode
        except subprocess.TimeoutExpired:
            raise ClusterError(f"'{' '.join(argv)}' took more than {limit:g} s") from None
        except subprocess.SubprocessError:
            raise ClusterError(f"cannot enter the namespaces of process {leader.pid}") from None
        output.seek(0)
        text = output.read()
    if check and status != 0:
        raise ClusterError(f"'{' '.join(argv)}' failed with status {status}: {text.strip()}")
    return status, text
