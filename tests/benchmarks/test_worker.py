"""A worker's answers, and the allocator that PyTorch is given."""

import json
import os
import platform
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import problems
from benchmarks.team import ROOT

# Each round takes and frees 64 MB, which costs no page faults (4 KiB each) after the first rounds
# where malloc keeps what is freed.
FAULTS = """
import resource, sys
import numpy as np
from benchmarks.worker import keep_freed_memory
if sys.argv[1] == "tuned":
    assert keep_freed_memory()
for round in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(8 << 20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how):
    command = [sys.executable, "-c", FAULTS, how]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_the_allocator_keeps_what_is_freed():
    assert faults("tuned") < 200
    assert faults("as it is") > 200


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
