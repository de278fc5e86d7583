# SPDX-License-Identifier: BSD-3-Clause
"""usage: file.py STEPS: one HDF5 file that all ranks write and read, and a digest of all of it.

Data sets are added as it goes on, and one of them grows.
"""
import hashlib
import os
import sys

from mpi4py import MPI
import h5py
import numpy

world = MPI.COMM_WORLD
WIDTH = 512


def values(step, rank):
    return (numpy.arange(WIDTH) * 31 + step * 1009 + rank * 7) % 65521


def check(got, step, rank):
    if not numpy.array_equal(got, values(step, rank)):
        raise SystemExit(f"rank {world.rank} step {step}: not what rank {rank} has written")


def main(steps):
    rank, size = world.rank, world.size
    assert h5py.get_config().mpi
    if rank == 0:
        print("begin", flush=True)
    with h5py.File("data.h5", "w", driver="mpio", comm=world) as file:
        grows = file.create_dataset("grows", (1, size, WIDTH), "i8", maxshape=(None, size, WIDTH),
                                    chunks=(16, 1, WIDTH))
        for step in range(steps):
            if step >= grows.shape[0]:
                grows.resize(step + 16, 0)
            with grows.collective:
                grows[step, rank] = values(step, rank)
            if step % 20 == 0:
                one = file.create_dataset(f"group{step // 200}/set{step}", (size, WIDTH), "i8")
                one.attrs["step"] = step
                one[rank] = values(step, rank)
            # What another one has written is there after both of these.
            file.flush()
            world.Barrier()
            check(grows[step, (rank + 1) % size], step, (rank + 1) % size)
            check(grows[step // 2, rank - 1], step // 2, (rank - 1) % size)
            if rank == 0 and (step + 1) % (steps // 20) == 0:
                print("step", step + 1, flush=True)
    world.Barrier()
    if rank == 0:
        os.environ["HDF5_USE_FILE_LOCKING"] = "FALSE"
        digest, sets = hashlib.sha256(), []
        with h5py.File("data.h5", "r") as file:
            file.visit(sets.append)
            for name in sorted(sets):
                if isinstance(file[name], h5py.Dataset):
                    digest.update(name.encode() + file[name][()].tobytes())
        print("result", len(sets), digest.hexdigest(), flush=True)


main(int(sys.argv[1]))
