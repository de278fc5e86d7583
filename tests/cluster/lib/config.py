# SPDX-License-Identifier: BSD-3-Clause
"""The files below STATE/etc, which all nodes have as /etc/slurm, hosts, passwd and group."""
import os
import re
import subprocess

NETWORK = "10.77"  # inside the cluster only, so that all clusters can have the same one
USERS = {"alice": 2001, "bob": 2002}


def address(name):
    """ctl is .0.1; n0 is .1.0, n255 is .1.255."""
    return f"{NETWORK}.0.1" if name == "ctl" else f"{NETWORK}.1.{int(name[1:])}"


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _without_users(path):
    """The lines of passwd or group that are in nobody's way."""
    ids = {str(number) for number in USERS.values()}
    with open(path, encoding="utf-8") as file:
        for line in file:
            name, _, number = line.split(":")[:3]
            if name not in USERS and number not in ids:
                yield line


def write_accounts(etc, srv):
    passwd = "".join(_without_users("/etc/passwd"))
    group = "".join(_without_users("/etc/group"))
    for name, number in USERS.items():
        passwd += f"{name}:x:{number}:{number}::/srv/home/{name}:/bin/bash\n"
        group += f"{name}:x:{number}:\n"
        home = f"{srv}/home/{name}"
        os.makedirs(home)
        os.chown(home, number, number)
        os.chmod(home, 0o755)
    write(f"{etc}/passwd", passwd)
    write(f"{etc}/group", group)


def write_hosts(etc, names):
    lines = [f"{address(name)} {name}" for name in names]
    write(f"{etc}/hosts", "\n".join(["127.0.0.1 localhost", *lines, ""]))


def slurm_version():
    """(22, 5) for 22.05.8."""
    text = subprocess.run(["slurmctld", "-V"], env={"PATH": "/usr/sbin:/usr/bin"}, stdout=subprocess.PIPE, text=True,
                          check=True).stdout
    major, minor = re.search(r"(\d+)\.(\d+)", text).groups()
    return int(major), int(minor)


def write_slurm(templates, etc, nodes, cpus, memory, cgroups):
    version = slurm_version()
    words = {
        "@NODES@": f"n[0-{nodes - 1}]" if nodes > 1 else "n0",
        "@CPUS@": str(cpus),
        "@MEMORY@": str(memory),
        "@PROCTRACK@": "proctrack/cgroup" if cgroups else "proctrack/linuxproc",
        "@PREEMPT@": "PreemptParameters=send_user_signal" if version >= (23, 2)
                     else "SlurmctldParameters=preempt_send_user_signal",
        # Newer ones take nodes for dead that have been silent for less than 3 s.
        "@SLURMD_TIMEOUT@": "6" if version >= (23, 2) else "3",
        "@TASK@": "task/cgroup" if cgroups else "task/none",
    }
    os.makedirs(f"{etc}/slurm")
    for file in "slurm.conf", "cgroup.conf":
        with open(f"{templates}/{file}.in", encoding="utf-8") as template:
            text = template.read()
        for word, value in words.items():
            text = text.replace(word, value)
        write(f"{etc}/slurm/{file}", text)
    write(f"{etc}/slurm/plugstack.conf", "")
