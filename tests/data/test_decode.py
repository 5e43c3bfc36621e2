"""Large sets: decoded straight to disk by processes of their own, one line where that fails."""

import errno
import functools
import mmap
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from jaxvision import runtime
from jaxvision.data import Dataset, cache, decode, load
from jaxvision.types import UserError


@pytest.fixture
def mixed(tmp_path, make_set):
    """Return a data_dir with ``toy``: 150 images of three sizes, a test set whose labels are kept.

    More than a block, so that the last one is not full.
    """
    rng = np.random.default_rng(0)
    shapes = [(9, 14, 3), (12, 8, 3), (10, 10, 3)]
    images = [rng.integers(0, 256, shapes[i % 3], np.uint8) for i in range(150)]
    withheld = (images[:5], [-1] * 5)
    splits = {
        "train": (images, np.arange(150) % 2),
        "test": withheld,
        "validation": (images, [0] * 150),
    }
    make_set(tmp_path / "sets" / "toy" / "1.0.0", splits, shape=None)
    return str(tmp_path / "sets")


@pytest.fixture
def everything_is_large(monkeypatch):
    monkeypatch.setattr(cache, "LARGE", 1)
    monkeypatch.setattr(runtime, "usable_cores", lambda: 1)  # a worker takes seconds to start


def test_a_large_set_goes_to_disk_and_is_the_same(
    mixed, tmp_path, monkeypatch, cache_home, capsys, request
):
    small = load("toy", mixed, image_size=6)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    request.getfixturevalue("everything_is_large")
    monkeypatch.setattr(cache, "write", None)  # calling it would be a TypeError
    large = load("toy", mixed, image_size=6)
    for one, two in ((small.train, large.train), (small.test, large.test)):
        np.testing.assert_array_equal(one.images, two.images)
        np.testing.assert_array_equal(one.labels, two.labels)
        assert not two.images.flags.writeable  # a map
    shown = capsys.readouterr().err
    assert "decoding toy train: done" in shown and "hashing the decoded images" in shown
    files = sorted((tmp_path / "other" / "jaxvision" / "data").iterdir())
    # The test split, whose labels are withheld, is not decoded; an empty file remembers it.
    found = sorted((f.name.split("-")[2], f.suffix) for f in files)
    assert found == [("test", ".withheld"), ("train", ".images"), ("validation", ".images")]
    # The files are those that a small set leaves, to the byte.
    for one, two in zip(sorted(cache_home.iterdir()), files, strict=True):
        assert (one.name, one.read_bytes()) == (two.name, two.read_bytes())
    monkeypatch.setattr(decode, "_fill", None)
    again = load("toy", mixed, image_size=6).train.images
    np.testing.assert_array_equal(again, small.train.images)
    assert "checking toy-1.0.0-train-6px" in capsys.readouterr().err


@pytest.mark.slow
def test_what_a_worker_meets_is_one_line(mixed, everything_is_large, cache_home):
    with pytest.raises(UserError, match=r"differ in size \(such as \(9, 14\) and \(12, 8\)\)"):
        load("toy", mixed)
    assert list(cache_home.iterdir()) == []


def test_a_disk_without_room_is_one_line(mixed, everything_is_large, cache_home, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError) as caught:
        load("toy", mixed, image_size=6)
    assert str(caught.value) == (
        f"the train split of 'toy/1.0.0' ({mixed}/toy/1.0.0) needs {150 * 6 * 6 * 3:,} bytes of "
        f"disk when decoded, and {cache_home} refuses (No space left on device): point "
        "XDG_CACHE_HOME at a larger disk"
    )
    assert list(cache_home.iterdir()) == []


def test_a_directory_that_cannot_be_is_one_line(mixed, everything_is_large, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"refuses \(Not a directory\): point XDG_CACHE_HOME"):
        load("toy", mixed, image_size=6)


def test_holding_out_more_than_memory_is_refused(tmp_path, make_set, make_split, monkeypatch):
    make_set(tmp_path / "single" / "1.0.0", {"train": make_split(0, 20)})
    monkeypatch.setattr(runtime, "usable_memory", lambda: 20 * 8 * 6 * 3)
    with pytest.raises(UserError, match=r"no labelled test split, and with 2,880 bytes"):
        load("single", str(tmp_path))


# Who writes a cached file.

IMAGES = np.arange(2 * 3 * 4 * 3, dtype=np.uint8).reshape(2, 3, 4, 3)
LABELS = np.array([1, 0], np.int32)


def fill(file, offset, before=lambda: None):
    before()
    with open(file, "r+b") as out:
        out.seek(offset)
        out.write(IMAGES.tobytes())
    return LABELS


def is_whole(path):
    data, digest = cache.read(path)
    assert digest == cache.in_memory(Dataset(IMAGES, LABELS)).digest
    np.testing.assert_array_equal(data.images, IMAGES)
    np.testing.assert_array_equal(data.labels, LABELS)
    assert [path] == list(path.parent.iterdir())


def test_what_a_killed_process_left_is_written_over(tmp_path):
    (tmp_path / "a.images.partial").write_bytes(b"x" * 10_000)
    made = cache.build(tmp_path / "a.images", IMAGES.shape, fill).data
    np.testing.assert_array_equal(made.images, IMAGES)
    is_whole(tmp_path / "a.images")


def test_an_error_leaves_nothing(tmp_path):
    def fails(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.build(tmp_path / "a.images", IMAGES.shape, fails)
    assert list(tmp_path.iterdir()) == []


def test_one_decodes_and_the_other_waits(tmp_path, capsys):
    path, begun, go_on = tmp_path / "a.images", threading.Event(), threading.Event()

    def wait():
        begun.set()
        assert go_on.wait(10)

    one = threading.Thread(
        target=cache.build, args=(path, IMAGES.shape, functools.partial(fill, before=wait))
    )
    one.start()
    assert begun.wait(10)
    other = threading.Thread(target=cache.build, args=(path, IMAGES.shape, None))  # never called
    other.start()
    while "waiting for it" not in capsys.readouterr().err:
        time.sleep(0.01)
    go_on.set()
    one.join()
    other.join()
    is_whole(path)


class Watched(mmap.mmap):
    """A map that keeps what it is told."""

    def madvise(self, *told):
        self.told = [*getattr(self, "told", []), told]
        super().madvise(*told)


def test_rows_of_a_map_are_asked_for_in_whole_pages(tmp_path):
    """Every byte of the rows, and at most a page more on either side; any view of a map."""
    (tmp_path / "file").write_bytes(bytes(20 * mmap.PAGESIZE))
    size, page = 3 * mmap.PAGESIZE // 2, mmap.PAGESIZE
    with open(tmp_path / "file", "rb") as file:
        owner = Watched(file.fileno(), 0, access=mmap.ACCESS_READ)
    whole = np.ndarray((10, size), np.uint8, owner, offset=100)  # as numpy.memmap does
    for array, first in ((whole, 0), (whole[2:], 2)):
        owner.told = []
        cache.read_ahead(array, np.array([[5, 0]]))
        for (what, start, length), row in zip(owner.told, (5, 0), strict=True):
            begin = 100 + (first + row) * size
            assert what == mmap.MADV_WILLNEED and start % page == 0
            assert begin - page < start <= begin and start + length == begin + size
    cache.read_ahead(np.zeros((3, 4)), np.array([1]))  # in memory: nothing to do
    owner.told = []
    cache.read_ahead(whole.copy(), np.array([1]))
    assert owner.told == []


# Ended from outside.

SCRIPT = """
import sys, time
from jaxvision import runtime
from jaxvision.data import cache, decode, load, source

cache.LARGE, decode._BLOCK = 1, 2
runtime.usable_cores = lambda: 2
read = source.Source.read

def slowly(self, indices, shape=None):  # workers run this file too
    time.sleep(0.2)
    return read(self, indices, shape)

source.Source.read = slowly
if __name__ == "__main__":
    load("toy", sys.argv[1], image_size=6)
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", ["Ctrl-C", "kill -9"])
def test_ended_while_decoding_it_leaves_no_process(mixed, tmp_path, cache_home, how):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), mixed]
    environment = os.environ | {"PYTHONPATH": os.getcwd()}
    error = open(tmp_path / "err", "w+")  # noqa: SIM115 (a pipe would wait for all who hold it)
    process = subprocess.Popen(command, env=environment, stderr=error, start_new_session=True)

    def in_group():
        try:
            os.killpg(process.pid, 0)
            return True
        except ProcessLookupError:
            return False

    def decoding():
        files = list(cache_home.glob("*.partial"))
        return files and files[0].read_bytes()[200:].strip(b"\0")

    deadline = time.monotonic() + 60
    while not decoding():
        assert time.monotonic() < deadline and process.poll() is None, (
            tmp_path / "err"
        ).read_text()
        time.sleep(0.05)
    if how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    else:
        process.kill()
    process.wait(20)
    deadline = time.monotonic() + 20
    while in_group():
        assert time.monotonic() < deadline, "a worker is left"
        time.sleep(0.05)
    error.close()
    if how == "Ctrl-C":
        text = (tmp_path / "err").read_text()
        assert text.count("Traceback") == 1 and "KeyboardInterrupt" in text  # of this process alone
        assert list(cache_home.iterdir()) == []
