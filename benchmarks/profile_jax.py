"""One case of ``benchmarks.profile``: time of every instruction, on one single-threaded device.

Prints one line of JSON. The parent process gives ``XLA_FLAGS`` that write the optimized programs
to ``--dump``, where the kinds of the instructions are read.
"""

import argparse
import collections
import gzip
import json
import pathlib
import re
import tempfile
import time

import jax

from benchmarks import jax_worker, problems, resnet_jax
from jaxvision import runtime
from jaxvision.native import switch

CALLS = 3  # of the trained program, in the profile
CONTAINERS = {"while", "call", "conditional"}  # their instructions are counted themselves
KINDS = (
    "convolutions",
    "their gradients",
    "products",
    "slices of a loop",
    "copies and zeros",
    "the rest",
)
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%(\S+) = .*?\s([a-z][a-z0-9-]*)\(")
_COMPUTATION = re.compile(r"^%(\S+) \(")
_CALLED = re.compile(r"calls=%([\w.-]+)")


def kinds_of(program: str) -> dict[str, str]:
    """Return the kind of every instruction of an optimized program, by its name."""
    with_products = _computations_with(program, (" dot(", " convolution("))
    found = {}
    for line in program.splitlines():
        if match := _INSTRUCTION.match(line):
            name, operation = match.groups()
            if operation not in CONTAINERS:
                found[name] = _kind(name, operation, line, with_products)
    return found


def _kind(name: str, operation: str, line: str, with_products: set[str]) -> str:
    called = _CALLED.search(line)
    if operation == "custom-call" and switch.FORWARD in line:
        return "convolutions"
    if operation == "custom-call" and switch.BACKWARD in line:
        return "their gradients"
    if operation in ("dot", "convolution") or (called and called[1] in with_products):
        return "products"
    if "dynamic-slice" in name or "dynamic-update-slice" in name:
        return "slices of a loop"
    if operation in ("copy", "broadcast") or "broadcast" in name.split("_")[-1]:
        return "copies and zeros"
    return "the rest"


def _computations_with(program: str, operations: tuple[str, ...]) -> set[str]:
    found, current = set(), ""
    for line in program.splitlines():
        if match := _COMPUTATION.match(line):
            current = match[1]
        elif any(operation in line for operation in operations):
            found.add(current)
    return found


def seconds_by_instruction(folder: str) -> collections.Counter:
    """Return the seconds of every (program, instruction) in a profile of JAX's."""
    (path,) = pathlib.Path(folder).rglob("*.trace.json.gz")
    with gzip.open(path) as file:
        events = json.load(file)["traceEvents"]
    found = collections.Counter()
    for event in events:
        about = event.get("args", {})
        if event.get("ph") == "X" and "hlo_op" in about:
            found[about["hlo_module"], about["hlo_op"]] += event["dur"] / 1e6
    return found


def programs(folder: str) -> dict[str, str]:
    """Return the kinds of instructions of every program that was written, by the program's name."""
    found = collections.defaultdict(dict)
    for path in sorted(pathlib.Path(folder).glob("*.cpu_after_optimizations.txt")):
        name = path.name.split(".")[1]
        found[name] |= kinds_of(path.read_text())
    return found


def profiled(net: str, runs: int, dump: str) -> dict:
    """Return seconds a run and step: of all, by kind of instruction, and at the matmul peak."""
    run, facts = jax_worker.prepare(f"{net}:{runs}")
    run(facts["units"])
    clock = time.perf_counter()
    run(CALLS * facts["units"])
    whole = time.perf_counter() - clock
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            run(CALLS * facts["units"])
        seconds = seconds_by_instruction(folder)
    kinds = programs(dump)
    by_kind = dict.fromkeys(KINDS, 0.0)
    for (program, instruction), spent in seconds.items():
        if kind := kinds[program].get(instruction):
            by_kind[kind] += spent
    steps = CALLS * facts["units"]
    _, peak = resnet_jax.peak("float32", "cpu")
    return {
        "whole": whole / steps,
        "kinds": {kind: spent / steps for kind, spent in by_kind.items()},
        "least": problems.step_flops(net) / peak["flops_per_s"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("net", choices=problems.NETS)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--dump", required=True)
    options = parser.parse_args()
    runtime.configure(1)
    print(json.dumps(profiled(options.net, options.runs, options.dump)))
