# SPDX-License-Identifier: BSD-3-Clause
"""Symbols of the MPI library that a program has in its guest, for gdb.

    gdb -p PID -x /usr/share/ckpt/gdb/ckpt-guest.py

The guest has a dynamic linker of its own, which gdb does not ask for its libraries.  This reads where they
are in /proc/PID/maps and adds their symbols; the command ckpt-guest does it again, when more have been loaded.
"""
import gdb

RANGE = range(0x200000000000, 0x210000000000)  # mpi/guest/guest.h


class Guest(gdb.Command):
    """Add the symbols of the libraries in the guest of a program that is checkpointed with MPI."""

    def __init__(self):
        super().__init__("ckpt-guest", gdb.COMMAND_FILES)
        self.known = set()

    def invoke(self, _argument, _from_tty):
        pid = gdb.selected_inferior().pid
        if not pid:
            raise gdb.GdbError("attach to a process first")
        found = {}
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                # start-end protection offset device inode path
                word = line.rstrip("\n").split(maxsplit=5)
                start = int(word[0].split("-")[0], 16)
                if len(word) == 6 and word[5].startswith("/") and int(word[2], 16) == 0 and start in RANGE:
                    found.setdefault(word[5], start)
        added = 0
        for path, start in found.items():
            if (pid, path, start) in self.known or not is_library(path):
                continue
            self.known.add((pid, path, start))
            quoted = path.replace("\\", "\\\\").replace('"', '\\"')
            gdb.execute(f'add-symbol-file "{quoted}" -o {start:#x}', to_string=True)
            added += 1
        print(f"{added} libraries of the guest added" if found else "this process has no guest")


def is_library(path):
    try:
        with open(path, "rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


COMMAND = Guest()
if gdb.selected_inferior().pid:
    gdb.execute("set confirm off")
    gdb.execute("ckpt-guest")
