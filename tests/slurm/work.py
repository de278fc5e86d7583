# SPDX-License-Identifier: BSD-3-Clause
"""usage: work.py OUT TICKS SECONDS

One task of a step that can be told from one that was started again: a token that is made at the start
and lies in memory only stands in every line of OUT.<rank>, and goes into the result.
"""
import hashlib
import os
import secrets
import socket
import sys
import time


def step(state, i):
    return hashlib.sha256(f"{state} {i}".encode()).hexdigest()


def main():
    out, ticks, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    rank = os.environ["SLURM_PROCID"]
    token = state = secrets.token_hex(8)
    with open(f"{out}.{rank}", "a", encoding="ascii", buffering=1) as file:
        for i in range(1, ticks + 1):
            time.sleep(pause)
            state = step(state, i)
            file.write(f"{i} {token} {socket.gethostname()}\n")
        file.write(f"result {token} {state}\n")
    print(f"rank {rank} is done", flush=True)


if __name__ == "__main__":
    main()
