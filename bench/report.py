#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: report.py [--publish] DIR

From the JSON files that measurements have left in DIR: report.csv, performance.md and plots in SVG, beside them
or, with --publish, also in docs/.
"""
import argparse
import csv
import json
import math
import os
import pathlib
import platform
import sys

DOCS = pathlib.Path(__file__).resolve().parent.parent / "docs"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 560, 300, 64, 44, 30
COLOURS = ("#1f5fa8", "#c0392b", "#2d8a4e")


def rows_of(value, name=""):
    """Every figure below value: its name and min, median, max, n."""
    if isinstance(value, dict) and "median" in value:
        yield name, value
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from rows_of(below, f"{name}.{key}" if name else str(key))


def load(directory):
    """What each file says, and the figures of all."""
    data, rows = {}, []
    for path in sorted(directory.glob("*.json")):
        content = json.loads(path.read_text(encoding="utf-8"))
        if "results" in content:
            data["measure"] = content
            rows += rows_of(content["results"])
            continue
        data[path.stem] = content
        for row in content["rows"]:
            size = f"{row['mib']}_mib" if "mib" in row else f"{row['nodes']}_nodes"
            rows += rows_of({k: v for k, v in row.items() if isinstance(v, dict)}, f"{path.stem}.{size}")
    return data, rows


def machine(data):
    if "measure" in data:
        return data["measure"]["machine"]
    return {"host": platform.node(), "kernel": platform.release(), "cpus": len(os.sched_getaffinity(0)),
            "load": os.getloadavg()}


def ticks(low, high):
    return [10.0 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def plot(title, x_name, y_name, lines):
    """Both axes are logarithmic; lines: name, [(x, min, median, max)]."""
    points = [p for _, line in lines for p in line]
    xs, ys = ticks(min(p[0] for p in points), max(p[0] for p in points)), \
        ticks(min(p[1] for p in points), max(p[3] for p in points))

    def place(value, marks, start, length):
        span = math.log10(marks[-1] / marks[0]) or 1
        return start + length * math.log10(value / marks[0]) / span

    def at_x(value):
        return place(value, xs, LEFT, WIDTH - LEFT - 20)

    def at_y(value):
        return place(value, ys, HEIGHT - BOTTOM, -(HEIGHT - BOTTOM - TOP))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
           f'font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{WIDTH / 2}" y="18" text-anchor="middle" font-size="14">{title}</text>',
           f'<text x="{WIDTH / 2}" y="{HEIGHT - 8}" text-anchor="middle">{x_name}</text>',
           f'<text transform="translate(14 {HEIGHT / 2}) rotate(-90)" text-anchor="middle">{y_name}</text>']
    for x in xs:
        out.append(f'<path d="M{at_x(x):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/><text x="{at_x(x):.1f}" '
                   f'y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{x:g}</text>')
    for y in ys:
        out.append(f'<path d="M{LEFT} {at_y(y):.1f}H{WIDTH - 20}" stroke="#ddd"/><text x="{LEFT - 6}" '
                   f'y="{at_y(y) + 4:.1f}" text-anchor="end">{y:g}</text>')
    for i, (name, line) in enumerate(lines):
        colour = COLOURS[i % len(COLOURS)]
        way = " ".join(f"{at_x(x):.1f},{at_y(mid):.1f}" for x, _, mid, _ in line)
        out.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<path d="M{at_x(x):.1f} {at_y(low):.1f}V{at_y(high):.1f}" stroke="{colour}"/>'
                f'<circle cx="{at_x(x):.1f}" cy="{at_y(mid):.1f}" r="3" fill="{colour}"/>' for x, low, mid, high in line]
        out.append(f'<text x="{LEFT + 10}" y="{TOP + 16 + 16 * i}" fill="{colour}">{name}</text>')
    return "\n".join([*out, "</svg>"]) + "\n"


def line(rows, x, key):
    return [(float(row[x]), *(max(row[key][k], 1e-3) for k in ("min", "median", "max"))) for row in rows]


def plots(data):
    """File name and picture."""
    if "restart" in data:
        rows = data["restart"]["rows"]
        yield "restart.svg", plot("Restart: to the first step", "MiB", "ms", [
            (name, line(rows, "mib", f"{name}_ms")) for name in ("eager", "lazy", "read")])
    if "scale" in data:
        yield "scale.svg", plot("An empty round", "nodes", "ms", [("round", line(data["scale"]["rows"], "nodes", "round_ms"))])
    stops = data.get("measure", {}).get("results", {}).get("stop_against_memory", {})
    if stops:
        rows = [{"mib": mib, **row} for mib, row in stops.items()]
        yield "stop.svg", plot("Stop of one process", "MiB", "ms", [("stop", line(rows, "mib", "stop_ms"))])


def text(data, rows, pictures):
    facts = machine(data)
    out = ["# Performance", "", "Written by `./quickstart bench --publish`, do not edit. A time means something only beside "
           "the others of the same run;", "a ratio is that of two things measured in turns: `vs_...` is to what it "
           "names, `ratio` of a restart is (plain reading + 20 ms) / restart.", "", "| machine | |", "|---|---|"]
    out += [f"| {key} | {value if not isinstance(value, (list, tuple)) else ', '.join(f'{v:.2f}' for v in value)} |"
            for key, value in facts.items()]
    for verdict in data.get("measure", {}).get("bars", []):
        out += ["", f"{verdict['name']}: {verdict['value']:.3f}, {verdict['way']} {verdict['bar']} is wanted: "
                    f"{'kept' if verdict['ok'] else 'missed'}."]
    out += [""] + [f"![{name.partition('.')[0]}](performance/{name})" for name in pictures]
    out += ["", "| figure | min | median | max | runs |", "|---|---:|---:|---:|---:|"]
    out += [f"| {name} | {v['min']:.3f} | {v['median']:.3f} | {v['max']:.3f} | {v['n']} |" for name, v in rows]
    return "\n".join(out) + "\n"


def write(directory, content, pictures):
    (directory / "performance").mkdir(exist_ok=True)
    (directory / "performance.md").write_text(content, encoding="utf-8")
    for name, picture in pictures.items():
        (directory / "performance" / name).write_text(picture, encoding="utf-8")
    print(f"written to {directory / 'performance.md'}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--publish", action="store_true")
    parser.add_argument("dir", type=pathlib.Path)
    args = parser.parse_args()
    data, rows = load(args.dir)
    if not rows:
        sys.exit(f"report: nothing was measured in '{args.dir}'")
    with open(args.dir / "report.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["figure", "min", "median", "max", "runs"])
        table.writerows([name, v["min"], v["median"], v["max"], v["n"]] for name, v in rows)
    pictures = dict(plots(data))
    for directory in [args.dir, *([DOCS] if args.publish else [])]:
        write(directory, text(data, rows, pictures), pictures)


main()
