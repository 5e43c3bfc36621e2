"""A long-lived process that times cases on request, one JSON line in, one JSON line out."""

import json
import os
import sys
import time
from collections.abc import Callable

Case = tuple[Callable[[int], None], dict]  # run n steps and wait for the last; facts about the case


def serve(prepare: Callable[..., Case]) -> None:
    """Answer ``{"prepare": name, ...}`` with facts and ``{"time": name, "n": n}`` with seconds."""
    # Libraries print to stdout: answers go to a copy of it, everything else to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    cases = {}
    for line in sys.stdin:
        request = json.loads(line)
        if "prepare" in request:
            name = request.pop("prepare")
            cases[name] = prepare(name, **request)
            answer = cases[name][1] | {"peak_mb": peak_memory_mb()}
        else:
            run, _ = cases[request["time"]]
            wall, cpu = time.perf_counter(), time.process_time()
            run(request["n"])
            answer = {
                "wall": (time.perf_counter() - wall) / request["n"],
                "cpu": (time.process_time() - cpu) / request["n"],
            }
        print(json.dumps(answer), file=answers, flush=True)


def peak_memory_mb() -> float:
    """Return the largest resident size this process has had (Linux)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
