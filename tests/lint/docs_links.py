#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: docs_links.py SOURCEDIR

Every relative link in every *.md leads to a file or directory of the tree, and every "#part" to a
heading of that file.  Links to other places are not followed.
"""
import os
import pathlib
import re
import sys

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
DEFINITION = re.compile(r"^ {0,3}\[[^\]]+\]:\s+<?(\S+?)>?(?:\s|$)")
OUTSIDE = re.compile(r"^[a-z][a-z0-9+.-]*:", re.I)


def text_lines(path):
    """(number, line) outside of code, with code spans blanked."""
    fence = None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (fence is None or mark[1].startswith(fence)):
            fence = None if fence else mark[1]
        elif fence is None and not line.startswith(("    ", "\t")):
            yield number, re.sub(r"(`+)(?!`).*?\1", lambda m: " " * len(m[0]), line)


def heading_lines(path):
    fence = None
    for line in path.read_text(encoding="utf-8").splitlines():
        mark = re.match(r"\s*(```+|~~~+)", line)
        if mark and (fence is None or mark[1].startswith(fence)):
            fence = None if fence else mark[1]
        elif fence is None and re.match(r"#{1,6} ", line):
            yield line.lstrip("#").strip().rstrip("#").strip()


def anchors(path, known={}):
    """The names that a renderer gives to the headings."""
    if path not in known:
        known[path] = names = set()
        for heading in heading_lines(path):
            heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
            name = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            unique, n = name, 0
            while unique in names:
                n += 1
                unique = f"{name}-{n}"
            names.add(unique)
    return known[path]


def fault(root, path, target):
    """What is wrong with the link, or None."""
    name, _, part = target.partition("#")
    if name.startswith("/"):
        return "is absolute"
    dest = (path.parent / name).resolve() if name else path
    if root != dest and root not in dest.parents:
        return "leads out of the tree"
    if not dest.exists():
        return "leads nowhere"
    if part and (dest.suffix != ".md" or part not in anchors(dest)):
        return "names a part that is not there"
    return None


def main(root):
    root = root.resolve()
    files = links = bad = 0
    for folder, folders, names in os.walk(root):
        skip = {".git", "build"} if pathlib.Path(folder) == root else set()
        folders[:] = sorted(set(folders) - skip)
        for path in (pathlib.Path(folder) / n for n in sorted(names) if n.endswith(".md")):
            files += 1
            for number, line in text_lines(path):
                targets = LINK.findall(line) + DEFINITION.findall(line)
                for target in (t for t in targets if not OUTSIDE.match(t)):
                    links += 1
                    why = fault(root, path, target)
                    if why:
                        print(f"{path.relative_to(root)}:{number}: '{target}' {why}")
                        bad += 1
    if not links:
        sys.exit(f"{root}: no link found in {files} files")
    return 1 if bad else 0


sys.exit(main(pathlib.Path(sys.argv[1])))
