"""Runs that take no time: they write a record, or do not."""

import os
from pathlib import Path

from jaxvision.cluster.runs import Layout, Run, code_here

# What a command begins with: its record's directory, and a file of the attempts.
_BEGIN = """
import os, pathlib, sys, time
record = pathlib.Path(sys.argv[1])
tries = record.parent / f"{record.name}.tries"
with open(tries, "a") as file:
    file.write("x")
attempt = len(tries.read_text())
"""
WRITES = """
print("measuring", file=sys.stderr, flush=True)
record.mkdir(exist_ok=True)
(record / "record.json").write_text(str(sum(i ** .5 for i in range(999))))
"""
# The command's starter is the leash, and the leash's the worker.
KILLS_ITS_WORKER = """
import psutil
worker = psutil.Process().parent().parent()
worker.kill()
time.sleep(60)
"""


def run(place, name, program):
    return Run(name, ("-c", _BEGIN + program, str(place / name)), place / name)


def attempts(place, name):
    """Return how often the command was started."""
    return len((place / f"{name}.tries").read_text())


def layout(place, **changed):
    told = {"cores": 3, "code": code_here(), "environment": {"JAX_MINE": "1"}} | changed
    return Layout(Path(place), **told)


def contents(place):
    files = [path for path in place.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), os.stat(path).st_mtime_ns) for path in files}
