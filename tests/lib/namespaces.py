# SPDX-License-Identifier: BSD-3-Clause
"""Are there user namespaces here?  In a chroot, in many containers and where the administrator says so
there are none, and a plain user gets no process back with its old number."""
import ctypes
import os

FORBIDDEN = "user namespaces are forbidden here"
CLONE_NEWUSER, CLONE_NEWPID = 0x10000000, 0x20000000


def user_namespaces():
    pid = os.fork()
    if pid == 0:
        os._exit(ctypes.CDLL(None).unshare(CLONE_NEWUSER | CLONE_NEWPID) != 0)
    return os.waitpid(pid, 0)[1] == 0
