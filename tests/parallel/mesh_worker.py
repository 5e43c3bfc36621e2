"""A program that trains a small net on the layouts it is told, as one process or one of several.

Tests run it. Every job prints a JSON line; a layout is written RUNxDATA:

  train=1x2   train all steps; digests of every bit of the history and of the variables, the losses
  move=1x2    train one period more from the state in --state, which it makes or replaces
  share       show what process 0 has
  agree=a     compare a word with process 0's
  wait        hold a meeting every 50 ms until told to stop
"""

import hashlib
import json
import os
import signal
import sys
import time
from functools import cache, partial
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from absl import flags
from jax.sharding import PartitionSpec as P

from jaxvision import runtime
from jaxvision.data import Dataset, load
from jaxvision.data.augment import normalize, pad_crop_flip
from jaxvision.dynamics import probes
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import Conv, apply_function, stack, tapped
from jaxvision.models.normalization import BatchNorm
from jaxvision.models.resnet import ResNet
from jaxvision.parallel import distributed, feed
from jaxvision.parallel.mesh import fetch, make_mesh, on_mesh
from jaxvision.random import stream as key_stream
from jaxvision.training.fit import Runs, Trainer
from jaxvision.training.optimizers import sgd
from jaxvision.training.order import Orders
from jaxvision.training.step import Task
from jaxvision.types import UserError

BATCH, PERIOD, STOPPED = 16, 4, 75


class Net(nn.Module):
    """Whatever a split batch could get wrong: statistics, dropout, layers stacked and not."""

    conv: bool = False
    dropout: float = 0.0

    @nn.compact
    def __call__(self, images, *, train=False, taps=None):
        layer = (lambda name: Conv(4, name=name)) if self.conv else partial(nn.Dense, 8)
        x = images if self.conv else images.reshape(len(images), -1)
        activations = {"stem": tapped(layer(name="stem")(x), taps, "stem")}
        x = BatchNorm(name="norm")(activations["stem"], train=train)
        # Smooth: at a kink of the ReLU a rounding error is as good as any other.
        x = nn.Dropout(self.dropout, deterministic=not train)(nn.tanh(x))
        x, activations["rest"] = stack(layer(name="rest"), x, 2, taps, nn.tanh)
        x = nn.tanh(BatchNorm(name="last_norm")(x, train=train)).reshape(len(images), -1)
        activations["logits"] = x = tapped(nn.Dense(10, name="logits")(x), taps, "logits")
        return x, activations


def net(kind, dropout):
    return ResNet((2, 2), 8, 10) if kind == "resnet" else Net(kind == "conv", dropout)


def preprocess(images, key):
    if key is not None:
        images = pad_crop_flip(key, images, pad=1)
    return normalize(images, np.float32(70.0), np.float32(90.0))


@cache  # the programs of a layout are compiled once
def trainer(layout, kind="dense", shards=None, dropout=0.0, mapping="map"):
    """Return a trainer on ``layout`` (run, data): 96 images, batches of 16, watched."""
    data = load("digits")
    train = Dataset(data.train.images[:96], data.train.labels[:96])
    test = Dataset(data.test.images[:300], data.test.labels[:300])
    apply = apply_function(net(kind, dropout))
    task = Task(apply, partial(sgd, 0.01), preprocess, probe=probes.per_layer)
    mesh = make_mesh(*layout)
    return Trainer(task, train, test, BATCH, PERIOD, mapping, mesh=mesh, shards=shards)


@cache
def runs(kind="dense", count=2):
    keys = jnp.stack([key_stream(seed, "init") for seed in range(count)])
    hyper = {"learning_rate": np.full(count, 0.05, np.float32)}
    hyper["train_biases"] = np.ones(count, np.float32)
    variables = initialize_runs(net(kind, 0.0), keys, (8, 8, 1))
    return Runs(variables, np.arange(count, dtype=np.int32), hyper)


def digest(tree):
    sha = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        sha.update(np.ascontiguousarray(leaf).tobytes())
    return sha.hexdigest()


def train(made, start, steps, slow=0.0):
    def told(count):
        if slow:
            print(json.dumps({"trained": count}), flush=True)
            time.sleep(slow)

    history = made.fit(start, steps, told)
    found = {"history": digest((history.train, history.test, history.variables))}
    found |= {"variables": digest(history.variables), "loss": history.train["loss"].tolist()}
    return found | {"test_loss": history.test["loss"].tolist()}


def move(made, start, file):
    """Train a period from the state on disk; the state is saved whole, so any layout can go on."""
    programs = made.programs(start.variables["params"])
    variables, seeds, hyper = on_mesh(tuple(start[:3]), made.mesh, P("run"))
    state = programs.start(variables, hyper, None)
    shape = jax.tree.structure(state)
    if file.exists():
        with np.load(file) as saved:
            leaves = [saved[str(i)] for i in range(shape.num_leaves)]
        state = on_mesh(jax.tree.unflatten(shape, leaves), made.mesh, P("run"))
    data = Dataset(*on_mesh((made.train.images, made.train.labels), made.mesh, P()))
    size = len(made.train.labels), made.batch_size
    rows = Orders(start.seeds, *size).rows(int(fetch(state.step)[0]), made.period)
    rows = on_mesh(rows, made.mesh, P("run"))
    state, _ = programs.advance(state, seeds, hyper, rows, data)
    state = fetch(state)
    if distributed.is_main():
        with file.open("wb") as out:
            np.savez(out, **{str(i): leaf for i, leaf in enumerate(jax.tree.leaves(state))})
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    return {"step": int(state.step[0]), "variables": digest(variables)}


def share():
    """Each process has other arrays and another text."""
    me = jax.process_index()
    odd = np.array([-0.0, np.nan, 1e-45, np.inf]) if me == 0 else np.ones(4)
    tree = {"odd": odd.astype(np.float32), "whole": np.arange(3) + 7 * me, "none": np.zeros((0, 2))}
    found = jax.tree.map(lambda x: x.tobytes().hex(), distributed.from_main(tree))
    print(json.dumps(found | {"text": distributed.text_from_main("zero: é" + "!" * me)}))


def wait():
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    print(json.dumps({"waiting": os.getpid()}), flush=True)
    meetings = 0
    while not distributed.should_stop(bool(asked)):
        meetings += 1
        time.sleep(0.05)
    if distributed.is_main():
        time.sleep(1)  # writes something; the others wait for it
    print(json.dumps({"stopped": meetings}), flush=True)
    distributed.end(STOPPED)


def stream(chunk_bytes):
    """Hold no data on the devices; returns the list of how many training images are gathered."""
    gathered, read_ahead = [], feed.read_ahead

    def counting(array, rows):
        read_ahead(array, rows)
        if array.shape[0] == 96 and array.ndim == 4:
            gathered.append(rows.size)

    feed.room_for_data, feed.CHUNK_BYTES, feed.read_ahead = lambda: 0, chunk_bytes, counting
    return gathered


def work(values, jobs):
    distributed.start_from_flags(values)
    runtime.configure(cpu_devices=values.devices)
    gathered = [] if values.chunk is None else stream(values.chunk)
    for job, _, layout in (text.partition("=") for text in jobs):
        if job in ("share", "wait"):
            {"share": share, "wait": wait}[job]()
            continue
        if job == "agree":
            distributed.agree({"word": layout})
            continue
        if job == "fail":
            raise UserError("this one is mistaken") if layout == "user" else ValueError("a bug")
        layout = tuple(map(int, layout.split("x")))
        made = trainer(layout, values.net, values.shards, values.dropout, values.mapping)
        start = runs(values.net)
        if job == "train":
            found = train(made, start, values.steps, values.slow)
        else:
            found = move(made, start, Path(values.state))
        found["gathered"] = sum(gathered)
        gathered.clear()
        print(json.dumps({job: layout, "main": distributed.is_main()} | found), flush=True)


def main():
    values = flags.FlagValues()
    common = {"flag_values": values}
    flags.DEFINE_integer("devices", 1, "CPU devices of this process.", **common)
    flags.DEFINE_string("net", "dense", "dense, conv or resnet.", **common)
    flags.DEFINE_integer("shards", None, "As of Trainer.", **common)
    flags.DEFINE_float("dropout", 0.2, "Rate.", **common)
    flags.DEFINE_string("mapping", "map", "As of Trainer.", **common)
    flags.DEFINE_integer("steps", 16, "Steps of train.", **common)
    flags.DEFINE_float("slow", 0.0, "Seconds that every period of train takes longer.", **common)
    flags.DEFINE_integer("chunk", None, "Stream data in chunks of so many bytes.", **common)
    flags.DEFINE_string("state", None, "File of move.", **common)
    distributed.define_flags(values)
    jobs = values(sys.argv)[1:]
    try:
        with distributed.watched():
            work(values, jobs)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        distributed.end(2)
    distributed.end(0)


if __name__ == "__main__":
    main()
