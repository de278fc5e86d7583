# SPDX-License-Identifier: BSD-3-Clause
"""What the results say of several runs."""
import statistics


def summary(values):
    return {"min": min(values), "median": statistics.median(values), "max": max(values), "n": len(values)}
