"""Streamed data: the numbers of data that is held, to the bit, and nothing left behind."""

import dataclasses
import functools
import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxvision.convolution import conv2d
from jaxvision.data import Dataset, load
from jaxvision.data.augment import normalize
from jaxvision.longrun.long import fit_long
from jaxvision.longrun.stop import Stopped
from jaxvision.longrun.workdir import Part
from jaxvision.parallel import distributed, feed
from jaxvision.parallel.mesh import make_mesh
from jaxvision.training.fit import Runs, Trainer
from jaxvision.training.looks import Look
from jaxvision.training.optimizers import caffe_sgd
from jaxvision.training.step import Task
from jaxvision.types import UserError
from tests.parallel import mesh_worker as worker

STEPS, PERIOD, BATCH = 10, 5, 16
ROW = 8 * 8 * BATCH  # bytes of a batch of digits


def apply(params, batch_stats, images, *, train, taps=None, dropout_key=None):
    """Two convolutions with dropout between them, small enough to be compiled in no time."""
    x = jnp.tanh(conv2d(images, params["first"]))
    if train:
        x *= jax.random.bernoulli(dropout_key, 0.8, x.shape).astype(x.dtype)
    x = jnp.tanh(conv2d(x, params["second"], 2))
    return x.reshape(len(x), -1) @ params["last"], {}, batch_stats


def preprocess(images, key):
    del key  # crops are in the slow test
    return normalize(images, np.float32(70.0), np.float32(90.0))


def some_runs(count, rate=0.05):
    rng = np.random.default_rng(0)
    shapes = {"first": (3, 3, 1, 4), "second": (3, 3, 4, 4), "last": (64, 10)}
    params = {
        name: (0.3 * rng.standard_normal((count, *shape))).astype(np.float32)
        for name, shape in shapes.items()
    }
    hyper = {"learning_rate": np.full(count, rate, np.float32)}
    return Runs({"params": params, "batch_stats": {}}, np.arange(count, dtype=np.int32), hyper)


@functools.cache  # programs of a trainer are compiled once
def trainer(layout=(2, 1), mapping="map", shards=None, streams=False):
    """Return a trainer of 50 digits; those that stream are never those that hold."""
    data = load("digits")
    train, test = (
        Dataset(*(x[:n] for x in d[:2])) for d, n in ((data.train, 50), (data.test, 300))
    )
    task = Task(apply, functools.partial(caffe_sgd, 1e-4), preprocess)
    mesh = make_mesh(*layout)
    return Trainer(task, train, test, BATCH, PERIOD, mapping, mesh=mesh, shards=shards)


@functools.cache
def held(*options):
    return trainer(*options).fit(some_runs(3), STEPS)


def streaming(*options):
    return trainer(*(options or ((2, 1), "map", None)), True)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def parts(history):
    return history.train, history.test, history.variables


@pytest.fixture
def streamed(monkeypatch):
    """Nothing fits, and a chunk takes two steps of one run on two devices: 2, 2, 1 a period."""
    monkeypatch.setattr(feed, "room_for_data", lambda: 0)
    monkeypatch.setattr(feed, "CHUNK_BYTES", 4 * ROW)


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    left = [t.name for t in set(threading.enumerate()) - before if "ThreadPool" in t.name]
    assert left == []


@pytest.mark.parametrize(
    "options",
    [
        ((2, 1), "map", None),  # a run at a time on each device; the second call is filled up
        pytest.param(((2, 1), "vmap", None), marks=pytest.mark.slow),
        ((1, 2), "map", 4),  # shards, two on each of two devices
    ],
    ids=str,
)
def test_streamed_is_held_to_the_bit(monkeypatch, streamed, options):
    """Loss of every step, every evaluation (three batches, the last not full), every weight."""
    made = streaming(*options)
    found = made.fit(some_runs(3), STEPS)
    names = {"start", "advance_on", "sums", "total"}
    programs = vars(made.programs(some_runs(3).variables["params"]))
    compiled = {n: p._cache_size() for n, p in programs.items() if hasattr(p, "_cache_size")}
    assert compiled == dict.fromkeys(names, 1)
    monkeypatch.undo()
    same(parts(found), parts(held(*options)))


def bits_seen(moment, data):
    """The weights, and the batch that comes next."""
    del data
    return moment.variables, moment.images, moment.labels


def test_looks_at_streamed_data_are_those_at_held_data(monkeypatch, streamed):
    """Inside a chunk, at its end, at the end of a period and before the first step."""
    look = Look(bits_seen, (0, 1, 4, 5, 8))
    found = streaming().fit(some_runs(3), STEPS, look=look)
    monkeypatch.undo()
    same(parts(found), parts(held((2, 1), "map", None)))
    same(found.looks, trainer((2, 1), "map", None).fit(some_runs(3), STEPS, look=look).looks)


@pytest.mark.slow
@pytest.mark.parametrize("layout", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize(("kind", "shards"), [("resnet", None), ("resnet", 4), ("dense", 4)])
def test_so_are_nets_with_batch_statistics_crops_and_probes(monkeypatch, layout, kind, shards):
    hold = worker.trainer(layout, kind, shards, 0.2)
    wanted = hold.fit(worker.runs(kind), 8)
    monkeypatch.setattr(feed, "room_for_data", lambda: 0)
    monkeypatch.setattr(feed, "CHUNK_BYTES", 6 * ROW)  # three steps of a run on one device
    found = dataclasses.replace(hold).fit(worker.runs(kind), 8)
    same(parts(found), parts(wanted))


def test_killed_and_resumed_it_is_the_same(streamed, tmp_path, monkeypatch):
    """A long run, streamed, stopped by a signal while it trains; against one that is held."""
    runs, advance = some_runs(3), feed.Streamed.advance

    def signalled(self, *arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return advance(self, *arguments)

    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # if it were passed on
    try:
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Stopped, match="at step 5 of 10"):
            patch.setattr(feed.Streamed, "advance", signalled)
            fit_long(streaming(), runs, STEPS, Part(tmp_path / "streamed"))
        found = fit_long(streaming(), runs, STEPS, Part(tmp_path / "streamed"))
    finally:
        signal.signal(signal.SIGTERM, before)
    monkeypatch.undo()
    same(found, fit_long(trainer((2, 1), "map", None), runs, STEPS, Part(tmp_path / "held")))
    same(found.variables, held((2, 1), "map", None).variables)
    lines = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("held", "streamed")]
    assert lines[0] == lines[1]


class Broken(np.ndarray):
    """Images that cannot all be read."""

    def take(self, *_, **__):
        raise OSError("input/output error")


def test_what_a_thread_meets_is_raised(streamed):
    made = streaming()
    broken = Dataset(made.train.images.view(Broken), made.train.labels)
    failing = dataclasses.replace(made, train=broken)
    with pytest.raises(OSError, match="input/output error"):
        failing.fit(some_runs(3), STEPS)


def test_a_mistake_in_the_middle_leaves_no_thread(streamed):
    with pytest.raises(UserError, match="not finite"):
        streaming().fit(some_runs(3, rate=1e30), STEPS)


def test_closing_ends_the_threads_with_chunks_unmade():
    made = []
    ahead = feed._ahead(lambda job: made.append(job) or job, range(100))
    assert [next(ahead), next(ahead)] == [0, 1]
    ahead.close()
    assert len(made) <= feed._MOST_THREADS + 2


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 128, 129, 256])
def test_every_test_image_counts_once(streamed, count):
    """As many as a batch, one more, a chunk; 300 are above."""
    runs, hold = some_runs(2), trainer((2, 1), "map", None)
    made = dataclasses.replace(hold, test=Dataset(*(part[:count] for part in hold.test[:2])))
    programs = made.programs(runs.variables["params"])
    state = programs.start(runs.variables, runs.hyper, None)
    one, other = (kind(programs).evaluate(state) for kind in (feed.Held, feed.Streamed))
    same(jax.device_get(other), jax.device_get(one))


@pytest.mark.parametrize(
    ("runs", "period", "room", "steps"),
    [(1, 101, 6, 6), (1, 100, 6, 6), (1, 12, 5, 4), (2, 12, 12, 6), (3, 5, 1, 1), (1, 4, 99, 4)],
)
def test_chunks_are_bounded_and_share_a_period_out(
    streamed, monkeypatch, runs, period, room, steps
):
    """Also a prime period: at most one chunk is not full."""
    streams = next(streaming().calls(some_runs(3))).feed
    monkeypatch.setattr(feed, "CHUNK_BYTES", room * ROW)
    assert streams._chunk_steps(runs, period) == steps


def test_what_fits_is_held(monkeypatch):
    made, runs = trainer((2, 1), "map", None), some_runs(3)
    both = made.train.images.nbytes + made.test.images.nbytes
    assert 0 < feed.room_for_data() < 2**50
    for room, kind in ((both, feed.Held), (both - 1, feed.Streamed)):
        monkeypatch.setattr(feed, "room_for_data", lambda room=room: room)
        assert type(next(made.calls(runs)).feed) is kind
    monkeypatch.setattr(distributed, "from_main", lambda _: np.array(True))  # process 0 has room
    assert type(next(made.calls(runs)).feed) is feed.Held


def test_the_room_is_half_of_the_device_s_memory(monkeypatch):
    class Device:
        platform = "gpu"

        def memory_stats(self):
            return {"bytes_limit": 1000}

    monkeypatch.setattr(jax, "local_devices", lambda: [Device()])
    assert feed.room_for_data() == 500
    monkeypatch.setattr(Device, "memory_stats", lambda self: None)
    assert feed.room_for_data() == feed.runtime.usable_memory() // 2 // 2
