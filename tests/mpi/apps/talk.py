# SPDX-License-Identifier: BSD-3-Clause
"""usage: talk.py STEPS [SECONDS]

What a program in Python does with mpi4py, and a digest of all that has arrived.  SECONDS: pause in each step.
"""
import hashlib
import sys
import time

import numpy
from mpi4py import MPI

world = MPI.COMM_WORLD
rank, size = world.rank, world.size
right, left = (rank + 1) % size, (rank - 1) % size
digest = hashlib.sha256()


def took(*things):
    for thing in things:
        digest.update(thing.tobytes() if isinstance(thing, numpy.ndarray) else repr(thing).encode())


def longest(a, b, _type):
    """A reduction in Python, called from inside of MPI."""
    a, b = (numpy.frombuffer(memory, dtype="d") for memory in (a, b))
    numpy.maximum(a, b, out=b)


def main(steps, pause=0.0):
    if rank == 0:
        print("begin", flush=True)
    half = world.Split(rank % 2, -rank)
    other = world.Dup()
    op = MPI.Op.Create(longest, commute=True)
    column = MPI.DOUBLE.Create_vector(64, 1, 64).Commit()
    # Open MPI 4.1 has no windows over TCP.
    window = None
    if world.Split_type(MPI.COMM_TYPE_SHARED).size == size:
        window = MPI.Win.Allocate(8 * 64, 8, comm=world)
        seen = numpy.frombuffer(window.tomemory(), dtype="d")
        seen[:] = 0
    grid, work = numpy.random.default_rng(rank).random((64, 64)), numpy.empty(64)
    again = world.Send_init([grid, 1, column], right, 7), world.Recv_init(work, left, 7)
    for step in range(1, steps + 1):
        time.sleep(pause)
        # Objects of Python.
        took(world.sendrecv({"step": step, "of": rank, "list": list(range(step % 50))}, right, 1, source=left))
        took(other.bcast(("from", step) if rank == step % size else None, step % size))
        took(world.allgather(f"{rank}:{step}"))
        request = other.isend([step] * (step % 3000), right, 2)
        took(other.recv(source=MPI.ANY_SOURCE, tag=2))
        request.wait()
        # Arrays.
        sums = numpy.empty(64)
        requests = [world.Irecv(work, left, 3), world.Isend(grid[step % 64], right, 3),
                    half.Iallreduce(grid[0], sums, MPI.SUM)]
        MPI.Request.Waitall(requests)
        took(work, sums)
        world.Allreduce(grid[1], sums, op)
        MPI.Prequest.Startall(list(again))
        MPI.Prequest.Waitall(list(again))
        took(work, sums)
        grid[step % 64] = numpy.cos(grid @ work)
        # Memory of others.
        if window:
            window.Fence()
            window.Put(grid[step % 64], right)
            window.Fence()
            took(seen)
        if step % (steps // 20) == 0:
            text = world.gather(digest.hexdigest())
            if rank == 0:
                print("step", step, *(word[:16] for word in text), flush=True)
    if window:
        del seen
        window.Free()
    for thing in (*again, op, column, half, other):
        getattr(thing, "Free")()


main(int(sys.argv[1]), *map(float, sys.argv[2:]))
