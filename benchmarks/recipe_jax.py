"""Our side of the steps that ``benchmarks.recipe`` times: a worker, whose case is a folder."""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from benchmarks import problems
from benchmarks.worker import Case, serve
from jaxvision import runtime
from jaxvision.nets import Spec
from jaxvision.nets.training import Net
from jaxvision.training.arms import make_runs
from jaxvision.training.fit import Trainer
from jaxvision.training.step import train_step

SEED = 0  # of the folder's weights


def prepare(folder: str) -> Case:
    """Take the first steps on images as they are stored, compile a period, be ready to be timed."""
    text = (Path(folder) / "spec.json").read_text()
    net = Net(Spec(**json.loads(text)))
    runs = make_runs({"net": net.arm(net.spec.learning_rate)}, [SEED])
    losses = first_losses(net)
    given = net.trainer(by_epoch=False)
    trainer = Trainer(
        given.task,
        given.train,
        given.test,
        given.batch_size,
        problems.PERIOD,
    )
    (call,) = trainer.calls(runs)
    held = [call.start(), 0]

    def period() -> None:
        state, step = held
        state, metrics = call.advance(state, step)
        jax.block_until_ready(metrics)
        held[:] = state, step + problems.PERIOD

    def run(n: int) -> None:
        for _ in range(n // problems.PERIOD):
            period()

    period()  # compiles
    return run, {"units": problems.PERIOD, "losses": losses}


def first_losses(net: Net) -> list[float]:
    """Return the losses of the first steps on images as they are stored, in their order."""
    plain = Net(dataclasses.replace(net.spec, pad=0))
    task, batch = plain.trainer(by_epoch=False).task, net.spec.batch_size
    runs = make_runs({"net": plain.arm(net.spec.learning_rate)}, [SEED])
    variables, hyper = jax.tree.map(lambda leaf: leaf[0], (runs.variables, runs.hyper))
    seed = np.int32(SEED)
    take = runtime.jit(lambda *given: train_step(task, *given, hyper, seed))
    state = task.start(variables, hyper)
    train, losses = net.data.train, []
    for i in range(problems.PERIOD):
        rows = slice(i * batch, (i + 1) * batch)
        state, metrics = take(state, train.images[rows], train.labels[rows])
        losses.append(float(metrics["loss"]))
    return losses


if __name__ == "__main__":
    runtime.configure()
    serve(prepare)
