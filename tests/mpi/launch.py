# SPDX-License-Identifier: BSD-3-Clause
"""The environment of mpirun, for Open MPI 4.1 and 5.0."""
import os
import subprocess


def environment(cwd):
    """Ranks of one node, on busy processors; what they leave behind is in cwd."""
    return {"PATH": os.environ["PATH"], "HOME": cwd, "TMPDIR": cwd, "LANG": "C", "OMP_NUM_THREADS": "1",
            "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
            "OMPI_MCA_mpi_yield_when_idle": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1",
            # Interfaces by their addresses: not every kernel has the answers that Open MPI 5 asks for.
            "OMPI_MCA_reachable": "weighted",
            # For MPI_Comm_spawn() below the mpirun of Open MPI 5, see docs/limits.md.
            "PMIX_MCA_gds": "hash",
            # A job that is killed leaves its shared memory behind.
            "OMPI_MCA_btl_vader_backing_directory": cwd, "OMPI_MCA_btl_sm_backing_directory": cwd,
            "OMPI_MCA_osc_rdma_backing_directory": cwd, "OMPI_MCA_osc_sm_backing_directory": cwd}


def has_ucx():
    """Of plugins or built in."""
    text = subprocess.run(["ompi_info", "--parsable"], capture_output=True, text=True, check=True).stdout
    return "\nmca:pml:ucx:" in text
