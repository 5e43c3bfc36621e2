"""A long-lived process that times cases on request, one JSON line in, one JSON line out."""

import ctypes
import json
import os
import sys
import time
from collections.abc import Callable

Case = tuple[Callable[[int], None], dict]  # run n steps and wait for the last; facts about the case


# mallopt parameter numbers of glibc's malloc.h, and values: one heap that is never given back.
ONE_HEAP = {
    -8: 1,  # M_ARENA_MAX
    -4: 0,  # M_MMAP_MAX
    -1: 2**31 - 1,  # M_TRIM_THRESHOLD
    -2: 64 << 20,  # M_TOP_PAD
}


def keep_freed_memory() -> bool:
    """Let malloc serve large blocks from one heap that keeps them; returns whether it could.

    By default glibc maps each large block anew and gives it back when it is freed, so every step
    pays a page fault for each 4 KiB of its temporaries. Who takes a step a call gains a fifth, so
    PyTorch gets it. jaxvision trains many steps in a call and gains nothing.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.gnu_get_libc_version  # noqa: B018 (only glibc has it; others number mallopt otherwise)
    except (AttributeError, OSError, TypeError):
        return False
    return all([libc.mallopt(parameter, value) for parameter, value in ONE_HEAP.items()])


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
                "peak_mb": peak_memory_mb(),
            }
        print(json.dumps(answer), file=answers, flush=True)


def peak_memory_mb() -> float:
    """Return the largest resident size this process has had (Linux)."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM"))
