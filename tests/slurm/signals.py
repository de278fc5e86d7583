# SPDX-License-Identifier: BSD-3-Clause
"""usage: signals.py OUT

A task that writes the names of the signals that it gets to OUT.<rank>; it ends with 7 after SIGTERM.
"""
import os
import signal
import sys
import time

ended = False


def note(number, _frame):
    global ended
    with open(f"{sys.argv[1]}.{os.environ['SLURM_PROCID']}", "a", encoding="ascii") as file:
        file.write(f"{signal.Signals(number).name}\n")
    ended = number == signal.SIGTERM


for signum in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(signum, note)
while not ended:
    time.sleep(0.1)
sys.exit(7)
