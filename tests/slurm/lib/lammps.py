# SPDX-License-Identifier: BSD-3-Clause
"""The unmodified lmp as a job step of four ranks, and its table of thermodynamic output as oracle."""
import contextlib
import os
import re
import shutil

from steptest import BIN, Failure, Skipped, expect, read, wait_for

SITE = "fence: 6s\nmin_interval: 1s\n"
THREE = {"nodes": 3, "config": SITE, "arguments": f"mpidir={os.path.dirname(BIN)}/lib/ckpt-mpi"}
EVERY = 100
INPUT = """units lj
atom_style atomic
lattice fcc 0.8442
region box block 0 6 0 6 0 6
create_box 1 box
create_atoms 1 box
mass 1 1.0
velocity all create 3.0 87287 loop geom
pair_style lj/cut 2.5
pair_coeff 1 1 1.0 1.0 2.5
neighbor 0.3 bin
neigh_modify every 20 delay 0 check no
fix 1 all nve
thermo {every}
thermo_modify flush yes
run {steps}
"""
# Two busy processors for four ranks; and no network but that of the nodes.
SETTINGS = "export OMPI_MCA_mpi_yield_when_idle=1 OMPI_MCA_btl=self,vader,tcp OMP_NUM_THREADS=1; "
COMMAND = "lmp -in /srv/scratch/melt.lmp -log none"


def write_input(cluster, steps):
    with open(f"{cluster.scratch}/melt.lmp", "w", encoding="ascii") as file:
        file.write(INPUT.format(every=EVERY, steps=steps))


def prepare(cluster, seconds):
    """The number of steps that take about so long on two nodes of this machine."""
    if not shutil.which("lmp"):
        raise Skipped("no lmp")
    write_input(cluster, 400)
    loops = []
    # The shortest: others may be at work, and are not for the whole time of the test.
    for _ in range(3):
        text = cluster.alice("sh", "-c", f"{SETTINGS} srun -N2 -n4 --mpi=pmix {COMMAND}")
        loops += re.findall(r"^Loop time of ([\d.]+) ", text, re.M)
        expect(loops, f"lmp does not run: {text}")
    steps = int(min(max(seconds * 400 / min(map(float, loops)), 1000), 40000)) // EVERY * EVERY
    write_input(cluster, steps)
    return steps


def table(cluster, out="out"):
    """[(step, line)] as they were written."""
    return [(int(line.split()[0]), line.strip()) for line in read(f"{cluster.scratch}/{out}").splitlines()
            if re.fullmatch(r"\s*\d+(\s+-?[\d.]+){5}\s*", line)]


def undisturbed(cluster, steps):
    """The table of a run without us, on one node."""
    cluster.alice("sh", "-c", f"{SETTINGS} srun -N1 -n4 -O --mpi=pmix -o /srv/scratch/plain {COMMAND}")
    plain = table(cluster, "plain")
    expect([step for step, _ in plain] == list(range(0, steps + 1, EVERY)),
           f"no table: {read(f'{cluster.scratch}/plain')[-2000:]}")
    return plain


def submit(cluster, interval, *more, command=COMMAND):
    """A job that is restarted by itself, its output in scratch/out: its number."""
    script = (f"{SETTINGS} cd /srv/scratch; srun --mpi=pmix --checkpoint={interval} --checkpoint-dir=/srv/scratch/state {' '.join(more)} "
              f"-o /srv/scratch/out --open-mode=append {command}; echo script after srun: $?")
    return cluster.submit(script, "-N2", "-n4", "--requeue", "--open-mode=append")


def wait_generation(cluster, directory, number, ended):
    def there():
        return (cluster.generations(directory) or [0])[-1] >= number or ended()
    wait_for(lambda: f"generation {number} in {directory}; {cluster.log()}; output: {read(f'{cluster.scratch}/out')[-3000:]}",
             there)


def wait_restart(cluster):
    """The node's end is noticed, the job is put back, and its ranks have come again."""
    wait_for(lambda: f"the restart; {cluster.log()}; output: {read(f'{cluster.scratch}/out')[-3000:]}",
             lambda: "restored generation" in cluster.log() or "script after " in cluster.log(), 90)


def forget(cluster):
    """What a job has left that is not the one."""
    for name in ("out", "job.log"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{cluster.scratch}/{name}")


def nodes(cluster, job):
    return cluster.alice("scontrol", "show", "hostnames", cluster.job(job)["NodeList"]).split()


def wait_end(cluster, job):
    try:
        cluster.wait_job(job, "COMPLETED", limit=90)
    except Failure as failure:
        raise Failure(f"{failure}; output: {read(f'{cluster.scratch}/out')[-3000:]}") from None


def expect_same(cluster, plain):
    """All lines are those of the undisturbed run, and one process has written them: it begins once."""
    lines = table(cluster)
    for step, line in plain:
        expect({seen for at, seen in lines if at == step} == {line},
               f"step {step}: {[seen for at, seen in lines if at == step]}, undisturbed {line}")
    begun = len(re.findall(r"^LAMMPS \(", read(f"{cluster.scratch}/out"), re.M))
    expect(begun == 1 and "restored generation" in cluster.log(), f"lmp was started {begun} times: {cluster.log()}")
