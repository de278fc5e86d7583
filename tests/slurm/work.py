# SPDX-License-Identifier: BSD-3-Clause
"""usage: work.py OUT TICKS SECONDS [lives] [until=FILE] [ballast=MIB] [crash=segv|exit|memory] [aside=PATH,...] [launch]

One task of a step that can be told from one that was started again: a token that is made at the start
and lies in memory only stands in every line of OUT.<rank>, and goes into the result.

lives: writes the time and the number of each tick to OUT.<rank>.<host>-<start time of the process>, too,
which is another file after each restart.  until: ends well before, when there is FILE.  crash: ends so as
soon as it sees that it was restarted.  aside: has a count in each PATH.<rank>, too, which it does not hold
open; one that is not that of its memory is an error.  launch: writes to OUT.<rank>.launch what its environment says of
the launch, what the file of the present one does, and what a shell finds there.
"""
import hashlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time


def step(state, i):
    return hashlib.sha256(f"{state} {i}".encode()).hexdigest()


def process(known=[0, ""]):  # pylint: disable=dangerous-default-value
    """Who we are, other than in our memory.  Asked only when our processor time has begun anew: a file of /proc
    that is open at the wrong moment makes a checkpoint fail."""
    used = time.process_time_ns()
    if used < known[0] or not known[1]:
        with open("/proc/self/stat", encoding="ascii") as file:
            known[1] = f"{socket.gethostname()}-{file.read().rpartition(')')[2].split()[19]}"
    known[0] = used
    return known[1]


def tell(path, i):
    """Opened each time, so that no restart winds it back."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.write(file, f"{time.time_ns()} {i}\n".encode())
    os.close(file)


def aside(path, token, i):
    """The file says what it did at the last tick, and then what it does at this one."""
    if i > 1:
        try:
            with open(path, encoding="ascii") as file:
                found = file.read()
        except OSError as error:
            found = str(error)
        if found != f"{token} {i - 1}":
            sys.exit(f"{path}: '{found}' at tick {i}")
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{token} {i}")


NAMES = ("SLURM_NODELIST", "SLURMD_NODENAME", "SLURM_JOB_ID", "CKPT_RESTART_COUNT", "CKPT_GENERATION")
SHELL = '. "$CKPT_LAUNCH_FILE.sh"; echo "$TOKEN" ' + " ".join(f"${name}" for name in NAMES)


def launch(path, token):
    with open(os.environ["CKPT_LAUNCH_FILE"], encoding="utf-8") as file:
        now = dict(pair.split("=", 1) for pair in file.read().split("\0")[:-1])
    said = subprocess.run(["bash", "-c", SHELL], check=True, capture_output=True, text=True,
                          env={**os.environ, "TOKEN": token}).stdout
    with open(path, "a", encoding="ascii") as file:
        file.write(f"{token} {' '.join(os.environ.get(name, '-') for name in NAMES)}\n"
                   f"{token} {' '.join(now.get(name, '-') for name in NAMES)}\n{said}")


def crash(how):
    if how == "segv":
        signal.signal(signal.SIGSEGV, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGSEGV)
    hoard = []
    while how == "memory":
        hoard.append(secrets.token_bytes(1 << 20))
    sys.exit(1)


def main():
    out, ticks, pause = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    more = dict(word.partition("=")[::2] for word in sys.argv[4:])
    rank = os.environ["SLURM_PROCID"]
    token = state = secrets.token_hex(8)
    ballast = secrets.token_bytes(int(more.get("ballast", 0)) << 20)
    first = process()
    with open(f"{out}.{rank}", "a", encoding="ascii", buffering=1) as file:
        for i in range(1, ticks + 1):
            time.sleep(pause)
            if os.path.exists(more.get("until", "")):
                break
            if "crash" in more and process() != first:
                crash(more["crash"])
            state = step(state, i)
            for path in filter(None, more.get("aside", "").split(",")):
                aside(f"{path}.{rank}", token, i)
            if "launch" in more:
                launch(f"{out}.{rank}.launch", token)
            file.write(f"{i} {token} {socket.gethostname()}\n")
            if "lives" in more:
                tell(f"{out}.{rank}.{process()}", i)
        file.write(f"result {token} {state}\n")
    print(f"rank {rank} is done", flush=True)
    del ballast


if __name__ == "__main__":
    main()
