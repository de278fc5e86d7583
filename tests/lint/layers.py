#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: layers.py SRCDIR

Includes must follow the table of SRCDIR/README.md: column 1 names folders, the last column what they
may include ("x" the folder x, "x/y.h" one header, "nothing").  A folder may always include itself,
and everybody may include the public headers.
"""
import pathlib
import re
import sys

PUBLIC = {"ckpt.h", "ckpt_hooks.h", "chkpnt.h"}


def read_table(readme):
    allowed = {}
    for line in readme.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        folders = re.findall(r"`([a-z_]+)/[a-z_0-9/]*`", cells[0]) if len(cells) == 4 else []
        for folder in folders:
            names = set() if cells[3] == "nothing" else {n.strip() for n in cells[3].split(",")}
            allowed.setdefault(folder, set()).update(names, folders)
    return allowed


def main(src):
    allowed = read_table(src / "README.md")
    if len(allowed) < 5:
        sys.exit(f"{src}/README.md: the table of layers was not found")
    bad = 0
    for path in sorted(src.rglob("*.[chS]")):
        layer = path.relative_to(src).parts[0]
        if layer not in allowed:
            print(f"{path}: folder '{layer}' is not in the table of layers")
            bad += 1
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match or match[1] in PUBLIC:
                continue
            header = match[1]
            if "/" not in header:
                print(f"{path}:{number}: \"{header}\": write the folder too")
                bad += 1
            elif header not in allowed[layer] and header.split("/")[0] not in allowed[layer]:
                print(f"{path}:{number}: {layer}/ must not include \"{header}\"")
                bad += 1
    return 1 if bad else 0


sys.exit(main(pathlib.Path(sys.argv[1])))
