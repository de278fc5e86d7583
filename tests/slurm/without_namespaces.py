# SPDX-License-Identifier: BSD-3-Clause
"""usage: without_namespaces.py COMMAND…

Runs a command where user.max_user_namespaces is 0.  The limit belongs to a user namespace, so the command
gets one of its own, in which everybody is who he is outside; that of the machine is left alone.
"""
import ctypes
import os
import sys

CLONE_NEWUSER = 0x10000000


def main():
    ready, go = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        status = ctypes.CDLL(None).unshare(CLONE_NEWUSER)
        os.write(ready[1], b".")
        os.read(go[0], 1)
        if status == 0:
            with open("/proc/sys/user/max_user_namespaces", "w", encoding="ascii") as file:
                file.write("0")
            os.execvp(sys.argv[1], sys.argv[1:])
        sys.exit("no user namespace can be made")
    os.read(ready[0], 1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{pid}/{name}", "w", encoding="ascii") as file:
            file.write("0 0 65536\n")
    os.write(go[1], b".")
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


if __name__ == "__main__":
    main()
