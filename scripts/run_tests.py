#!/usr/bin/env python3
"""Builds all test programs of the workspace and runs them, as many at a time as there are processors, since many of them mostly wait.

Each program's output is printed whole when it ends; then the seconds of each that took one or failed, as TAB-separated lines into the file
that is named as the first argument. Exit code 1 where a program failed; the others run all the same.
"""

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Begun first, longest first, so that none of them is what the others wait for at the end.
LONG = ["minneapolis", "it", "serve", "reference", "takeover", "postgres", "suite", "tamper", "kill", "attacks", "witness", "unlinkable"]
CARGO = ["cargo", "test", "--workspace", "--locked"]


def programs():
    """Every test program: its name, what it is made from, itself, and its package's folder, in which cargo would run it."""
    built = subprocess.run([*CARGO, "--no-run", "--message-format=json-render-diagnostics"], stdout=subprocess.PIPE, check=False)
    if built.returncode:
        sys.exit(built.returncode)
    for line in built.stdout.splitlines():
        message = json.loads(line)
        if message.get("reason") == "compiler-artifact" and message.get("profile", {}).get("test") and message.get("executable"):
            package = Path(message["manifest_path"]).parent
            source = Path(message["target"]["src_path"]).relative_to(package)
            yield message["target"]["name"], f"{package.name}/{source}", message["executable"], package


def run(program):
    name, source, executable, package = program
    start = time.monotonic()
    environment = {**os.environ, "CARGO_MANIFEST_DIR": str(package)}
    ran = subprocess.run([executable], cwd=package, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    seconds = int(time.monotonic() - start)
    # One write: programs that end together do not mix their lines.
    sys.stdout.buffer.write(f"\n--- {name} ({source}), {seconds} s\n".encode() + ran.stdout)
    sys.stdout.flush()
    return name, source, seconds, ran.returncode


def main():
    report = Path(sys.argv[1])
    found = sorted(programs(), key=lambda it: LONG.index(it[0]) if it[0] in LONG else len(LONG))
    if not found:
        sys.exit("no test program was built: nothing was tested")
    with ThreadPoolExecutor(os.cpu_count()) as lanes:
        ran = list(lanes.map(run, found))
    start = time.monotonic()
    examples = subprocess.run([*CARGO, "--doc"], check=False)
    ran.append(("examples", "in doc comments", int(time.monotonic() - start), examples.returncode))
    lines = [
        f"{seconds}\t{'FAILED' if code else 'passed'}\t{name} {source}\n"
        for name, source, seconds, code in ran
        if code or seconds
    ]
    report.write_text("".join(lines))
    sys.exit(any(code for _, _, _, code in ran))


main()
