#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: image_doc.py [--update] CC SRCDIR DOCUMENT HEADER...

The tables of a document must be those of the headers: every field of every struct at its offset with
its size.  Offsets come from the compiler, meanings from the comments of the headers.  With --update
the tables are written anew.
"""
import pathlib
import re
import subprocess
import sys
import tempfile

MARK = re.compile(r"^<!-- struct (\w+) -->$")


def structs(text):
    """{name: [(declaration, [field names], meaning)]}; a remark of its own has no names."""
    found = {}
    for match in re.finditer(r"^struct (\w+) \{([^\n]*)\n(.*?)^\}", text, re.M | re.S):
        body = re.sub(r"\n\s*\* ", " ", match[3])
        rows = [(None, [], match[2].strip(" /*"))] if match[2] else []
        for line in body.splitlines():
            line = line.strip()
            comment = re.search(r"/\*(.*?)\*/", line)
            meaning = comment[1].strip() if comment else ""
            line = re.sub(r"/\*.*?\*/", "", line).strip()
            field = re.match(r"((?:struct )?\w+) (.*);$", line)
            if field:
                names = [n.strip() for n in field[2].split(",")]
                rows.append((field[1], names, meaning))
            elif meaning:
                rows.append((None, [], meaning))
        found[match[1]] = rows
    return found


def layout(cc, src, headers, found):
    """{(struct, field): (offset, size)} and {struct: size}."""
    lines = ["#include <stddef.h>", "#include <stdio.h>"]
    lines += [f'#include "{header}"' for header in headers]
    lines.append("int main(void) {")
    for name, rows in found.items():
        lines.append(f'printf("{name} - 0 %zu\\n", sizeof(struct {name}));')
        for _, names, _ in rows:
            for field in names:
                base = field.split("[")[0]
                lines.append(f'printf("{name} {base} %zu %zu\\n", offsetof(struct {name}, {base}),'
                             f' sizeof(((struct {name} *)0)->{base}));')
    lines.append("return 0; }")
    with tempfile.TemporaryDirectory() as tmp:
        source = pathlib.Path(tmp, "layout.c")
        source.write_text("\n".join(lines))
        subprocess.run([cc, "-I", src, str(source), "-o", f"{tmp}/layout"], check=True)
        out = subprocess.run([f"{tmp}/layout"], check=True, capture_output=True, text=True).stdout
    fields = {}
    for line in out.splitlines():
        name, field, offset, size = line.split()
        fields[name, field] = int(offset), int(size)
    return fields


def table(name, rows, fields):
    lines = ["| offset | size | type | field | meaning |", "|---:|---:|---|---|---|"]
    for kind, names, meaning in rows:
        meaning = meaning.replace("|", "\\|")
        if not names:
            lines.append(f"| | | | | *{meaning}* |")
        for field in names:
            offset, size = fields[name, field.split("[")[0]]
            lines.append(f"| {offset} | {size} | {kind} | `{field}` | {meaning} |")
    lines.append(f"| {fields[name, '-'][1]} | | | | end |")
    return lines


def main(args):
    update = "--update" in args
    cc, src, doc, *headers = [a for a in args if a != "--update"]
    doc = pathlib.Path(doc)
    found = {}
    for header in headers:
        found.update(structs(pathlib.Path(src, header).read_text()))
    fields = layout(cc, src, headers, found)
    out, described, skipping = [], set(), False
    for line in doc.read_text().splitlines():
        if skipping and line.startswith("|"):
            continue
        skipping = False
        out.append(line)
        mark = MARK.match(line)
        if mark:
            described.add(mark[1])
            out += table(mark[1], found[mark[1]], fields)
            skipping = True
    bad = sorted(set(found) - described)
    if bad:
        print(f"{doc}: not described: {', '.join(bad)}")
    text = "\n".join(out) + "\n"
    if update:
        doc.write_text(text)
    elif text != doc.read_text():
        print(f"{doc}: its tables are not those of {', '.join(headers)}; run image_doc.py --update")
        bad.append("tables")
    return 1 if bad else 0


sys.exit(main(sys.argv[1:]))
