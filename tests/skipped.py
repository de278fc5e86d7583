#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""usage: skipped.py JUNIT_REPORT MAY_SKIP

Lists the tests that did not run, with the last line that each printed as its reason.  With CI=true in
the environment the status is 1 when a "NAME: REASON" matches no line (a regular expression) of MAY_SKIP.
"""
import os
import re
import sys
import xml.etree.ElementTree as ElementTree


def skipped(report):
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        if case.get("status") == "notrun" or case.find("skipped") is not None:
            lines = (case.findtext("system-out") or "").strip().splitlines()
            yield f"{case.get('name')}: {lines[-1].strip() if lines else 'no reason given'}"


def main(report, may_skip):
    with open(may_skip, encoding="utf-8") as file:
        lines = [line.strip() for line in file]
    patterns = [re.compile(line) for line in lines if line and not line.startswith("#")]
    strict = os.environ.get("CI") == "true"
    bad = 0
    for text in skipped(report):
        known = any(pattern.search(text) for pattern in patterns)
        print(f"skipped: {text}" + ("" if known else "  [not in may-skip.txt]"))
        bad += not known
    if strict and bad:
        print(f"CI: {bad} tests had to run and did not")
    return 1 if strict and bad else 0


sys.exit(main(sys.argv[1], sys.argv[2]))
