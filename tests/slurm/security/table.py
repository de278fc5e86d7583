#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: table.py SECURITY_MD BUILDDIR

Each line of a table in the document names at least one test, and each test that it names is one of this
build, or is marked "(to come)"; one that has come is not marked any more.
"""
import json
import pathlib
import re
import subprocess
import sys

NAME = re.compile(r"`((?:unit|slurm|robust|lint|fuzz|e2e|restore|storm)\.[\w.-]+)`( \(to come\))?")


def tests(build):
    out = subprocess.run(["ctest", "--show-only=json-v1"], cwd=build, capture_output=True, text=True, check=True,
                         timeout=60)
    return {test["name"] for test in json.loads(out.stdout)["tests"]}


def main(document, build):
    have, bad, named, table = tests(build), [], 0, None
    for number, line in enumerate(pathlib.Path(document).read_text(encoding="utf-8").splitlines(), 1):
        table = line if line.startswith("|") and table is None else table if line.startswith("|") else None
        found = NAME.findall(line)
        named += len(found)
        is_row = table and table != line and not re.match(r"\|[-| ]+\|$", line)
        if is_row and table.rstrip(" |").endswith("test") and not found:
            bad.append(f"{number}: no test")
        for name, to_come in found:
            if to_come and name in have:
                bad.append(f"{number}: {name} has come")
            elif not to_come and name not in have:
                bad.append(f"{number}: {name} is no test of this build")
    if not named:
        bad.append("names no test at all")
    for text in bad:
        print(f"{document}:{text}")
    return 1 if bad else 0


sys.exit(main(*sys.argv[1:]))
