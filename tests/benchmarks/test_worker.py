"""A worker's answers, and the allocator that PyTorch is given."""

import ctypes
import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import problems
from benchmarks.team import ROOT

# malloc's own books, since page faults depend on the size of the machine's pages. A block of 64 MiB
# is mapped for itself and given back when it is freed, or it is cut from the heap, which keeps it.
BOOKS = """
import ctypes, sys
from benchmarks.worker import keep_freed_memory
if sys.argv[1] == "tuned":
    assert keep_freed_memory()

class Books(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Books
libc.malloc.restype = ctypes.c_void_p
mapped = libc.mallinfo2().hblkhd
block = libc.malloc(ctypes.c_size_t(64 << 20))
mapped = libc.mallinfo2().hblkhd - mapped
libc.free(ctypes.c_void_p(block))
print(mapped >> 20, libc.mallinfo2().fordblks >> 20)
"""


def mapped_and_kept(how):
    """MiB of a block of 64 MiB that are mapped for it alone, and MiB that the heap keeps free."""
    command = [sys.executable, "-c", BOOKS, how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return tuple(map(int, done.stdout.split()))


def has_malloc_books():
    return platform.libc_ver()[0] == "glibc" and hasattr(ctypes.CDLL(None), "mallinfo2")


@pytest.mark.skipif(not has_malloc_books(), reason="needs glibc 2.33 or newer")
def test_the_allocator_keeps_what_is_freed():
    mapped, kept = mapped_and_kept("tuned")
    assert mapped == 0
    assert kept >= 64
    mapped, kept = mapped_and_kept("as it is")
    assert mapped == 64
    assert kept < 64


def test_answers_are_lines_of_json_whatever_libraries_print():
    code = (
        "from benchmarks.worker import serve\n"
        "def prepare(name, size):\n"
        "    print('noise')\n"
        "    return (lambda n: print(n)), {'name': name, 'size': size}\n"
        "serve(prepare)\n"
    )
    requests = [{"prepare": "net", "size": 3}, {"time": "net", "n": 2}]
    done = subprocess.run(
        [sys.executable, "-c", code],
        input="".join(json.dumps(request) + os.linesep for request in requests),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["name"], first["size"]) == ("net", 3)
    assert second.keys() == {"wall", "cpu", "peak_mb"}
    assert "noise" in done.stderr


@pytest.mark.parametrize("net", problems.NETS)
def test_a_batch_is_what_both_libraries_take(net):
    images, labels = problems.batch(net)
    assert (images.dtype, labels.dtype) == (np.uint8, np.int32)
    assert len(images) == len(labels) == problems.BATCH[net]
    inputs = problems.inputs(images)
    assert inputs.dtype == np.float32
    assert (inputs.mean(), inputs.std()) == (pytest.approx(0, abs=0.02), pytest.approx(1, abs=0.02))
