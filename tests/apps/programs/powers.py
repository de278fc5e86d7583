#!/usr/bin/python3
# SPDX-License-Identifier: BSD-3-Clause
"""Powers of a matrix modulo a prime, by the threads of OpenBLAS.

All products stay below 2**53, so the result is exact and does not depend on how the threads share
the work.
"""
import hashlib
import os
import sys
import time

import numpy

SIZE, PRIME, STEPS = 320, 1048573, 40

with open("seed", encoding="ascii") as file:
    numbers = numpy.random.default_rng(int(file.read()))
base = numbers.integers(0, PRIME, (SIZE, SIZE)).astype(float)
power = base.copy()
if len(os.listdir("/proc/self/task")) < 2:
    print("numpy has no OpenBLAS with threads")
    sys.exit(77)

with open("progress", "w", encoding="ascii") as progress:
    for step in range(STEPS):
        power = numpy.mod(power @ base, PRIME)
        print(step, int(power[0, 0]), file=progress, flush=True)
        time.sleep(0.1)
with open("result", "w", encoding="ascii") as file:
    print(hashlib.sha256(power.tobytes()).hexdigest(), file=file)
