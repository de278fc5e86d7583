# SPDX-License-Identifier: BSD-3-Clause
"""usage: odd.py WAY[,WAY…] OUT TICKS SECONDS

work.py, done by a program that treats signals in its own way.
"""
import ctypes
import os
import signal
import sys

import work

SIGCKPT, SIGCKPT_RESTART = 62, 61
SYS_rt_sigprocmask = 14


def ignore():
    """All that can be ignored."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(number, signal.SIG_IGN)


def handle():
    """Both of ours are used by the program, which sends them to itself, too."""
    for number in (SIGCKPT, SIGCKPT_RESTART):
        signal.signal(number, lambda *_: None)
        os.kill(os.getpid(), number)


def block():
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def raw_block():
    """Past libc, which we look over the shoulder of."""
    every = ctypes.c_uint64(2**64 - 1)
    ctypes.CDLL(None).syscall(SYS_rt_sigprocmask, signal.SIG_BLOCK, ctypes.byref(every), None, 8)


if __name__ == "__main__":
    for way in sys.argv.pop(1).split(","):
        globals()[way]()
    work.main()
