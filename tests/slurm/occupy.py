# SPDX-License-Identifier: BSD-3-Clause
"""usage: occupy.py NUMBER…

Starts processes with these numbers, as root in the pid namespace that it is run in.  Prints those that
could be had; the others are taken already.
"""
import ctypes
import os
import struct
import sys

SYS_clone3, SIGCHLD = 435, 17


def main():
    libc = ctypes.CDLL(None, use_errno=True)
    for number in map(int, sys.argv[1:]):
        wanted = ctypes.c_int(number)
        # struct clone_args: exit_signal, set_tid and set_tid_size are the 5th, 9th and 10th
        args = struct.pack("11Q", 0, 0, 0, 0, SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1, 0)
        pid = libc.syscall(SYS_clone3, args, len(args))
        if pid == 0:
            os.setsid()
            null = os.open("/dev/null", os.O_RDWR)
            for fd in range(3):
                os.dup2(null, fd)
            os.execvp("sleep", ["sleep", "300"])
        if pid > 0:
            print(number)


if __name__ == "__main__":
    main()
