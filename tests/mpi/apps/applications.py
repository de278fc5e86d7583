# SPDX-License-Identifier: BSD-3-Clause
"""Unmodified programs of MPI, and what of their output must be the same in every run.

CKPT_PROGRAMS is the directory of those that are built here.
"""
import os
import re
import shutil
import subprocess

HERE = os.path.dirname(os.path.realpath(__file__))
PROGRAMS = os.environ.get("CKPT_PROGRAMS", "")
PYTHON = "/usr/bin/python3"


def is_series_4():
    if not shutil.which("mpirun"):
        return False
    return b" 4." in subprocess.run(["mpirun", "--version"], capture_output=True, check=True).stdout


class Missing(Exception):
    pass


class Application:
    """`result`: the lines of the output that must be the same.  In `command` and in the files {n} is `work`, of which
    there is more when it is to take longer.  `between`: more environment when there is a network between the ranks."""

    def __init__(self, command, result, begin="^begin$", work=1, files=(), ranks=2, env=(), between=(), output=None):
        self.words, self.pattern, self.begin, self.work = command, result, begin, work
        self.files, self.ranks, self.env, self.between, self.output = files, ranks, dict(env), dict(between), output

    def prepare(self, folder, scale=1):
        """The command, for this much of work; its files are in the folder, where it is to run."""
        # Programs that count their steps tell of each twentieth part of them.
        parts = 20 if self.work >= 20 else 1
        work = str(max(int(self.work * scale) // parts * parts, self.work))
        for name in self.files:
            with open(f"{HERE}/{name}", encoding="ascii") as file:
                text = file.read()
            with open(f"{folder}/{name}", "w", encoding="ascii") as file:
                file.write(text.replace("{n}", work))
        program, *words = [word.replace("{n}", work) for word in self.words]
        path = shutil.which(program)
        if not path:
            raise Missing(f"no {os.path.basename(program)}")
        return [os.path.realpath(path), *words]

    def begun(self, text):
        return len(re.findall(self.begin, text, re.M))

    def result(self, text):
        """What was said twice, since it was before the kill and after the checkpoint, counts once."""
        return list(dict.fromkeys(line.strip() for line in re.findall(self.pattern, text, re.M)))

    def difference(self, native, text):
        """What is wrong with the output, or nothing."""
        mine = self.result(text)
        if self.begun(text) != 1:
            return f"it has begun {self.begun(text)} times:\n{text[-6000:]}"
        if sorted(mine) != sorted(native):
            lost = "\n".join(f"- {line}" for line in native if line not in mine)
            more = "\n".join(f"+ {line}" for line in mine if line not in native)
            return f"the result differs:\n{lost}\n{more}\n{text[-4000:]}"
        return None


# Debian's settings of Open MPI 4.1 leave out the only windows that there are over TCP.
WINDOWS = {"OMPI_MCA_osc": "pt2pt"}
# Those of UCX, over any transport that there is.
UCX = {"OMPI_MCA_osc": "ucx", "OMPI_MCA_pml": "ucx", "OMPI_MCA_pml_ucx_tls": "any", "OMPI_MCA_pml_ucx_devices": "any"}
STEPS = r"^(?:step|result) .*"
APPLICATIONS = {
    "lmp": Application(["lmp", "-in", "lmp.in", "-log", "none"], r"^ +\d+(?: +-?[\d.]+){5} *$",
                       r"^LAMMPS \(", 4000, ["lmp.in"]),
    "hpcc": Application(["hpcc"], r"^Success=.*|.*PASSED$|.*_Errors=.*|.*residual checks[.,]$",
                        r"^Begin of MPIRandomAccess section", 1000, ["hpccinf.txt"], output="hpccoutf.txt"),
    "pw": Application(["pw.x", "-in", "silicon.in"],
                      r"^!? +total energy .*|.* contribution +=.*|^ +highest occupied.*|^ +(?: -?\d+\.\d{4})+$",
                      r"^ +Program PWSCF", 5, ["silicon.in", "Si.gth"]),
    # It shares its work out to who comes first: sums differ in their last digits.
    "nwchem": Application(["nwchem.openmpi", "water.nw"], r"^ +Total SCF energy = +-\d+\.\d{6}",
                          r"^ +Northwest Computational Chemistry Package", 2, ["water.nw"], between=WINDOWS),
    "mpi4py": Application([PYTHON, f"{HERE}/talk.py", "{n}"], STEPS, work=2000),
    # Debian's h5py asks the environment of mpirun whether there is MPI.
    "hdf5": Application([PYTHON, f"{HERE}/file.py", "{n}"], STEPS, work=400, env={"H5PY_ALWAYS_USE_MPI": "1"}),
    # Compare-and-swap on a window of one's own crashes in osc/rdma of Open MPI 4.1 when all are on one host.
    "rma": Application([f"{PROGRAMS}/mpi.apps_table", "{n}"], STEPS, work=8000,
                       env={"OMPI_MCA_osc": "^rdma"} if is_series_4() else {}, between=WINDOWS),
    "rma_ucx": Application([f"{PROGRAMS}/mpi.apps_table", "{n}"], STEPS, work=2000, between=UCX),
    "f90": Application([f"{PROGRAMS}/mpi.apps_f90", "{n}"], STEPS, work=800),
    "f08": Application([f"{PROGRAMS}/mpi.apps_f08", "{n}"], STEPS, work=800),
    "hybrid": Application([f"{PROGRAMS}/mpi.apps_hybrid", "{n}"], STEPS, work=800, env={"OMP_NUM_THREADS": "2"}),
    "stress": Application([f"{PROGRAMS}/../mpi.cut_stress", "{n}"], r"^passed \d+", work=4, ranks=3, between=WINDOWS),
    "stress_threads": Application([f"{PROGRAMS}/../mpi.cut_stress", "{n}", "2"], r"^passed \d+", work=4),
}
