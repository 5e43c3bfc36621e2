"""JAX's side of ``benchmarks.phase``: cases ``sweep:WIDTH`` and ``single:WIDTH``."""

import argparse
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import phase
from benchmarks.worker import Case, serve
from experiments.gradients.trainability import PRESETS, SIGMA_B, sigmas_of
from jaxvision import runtime
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.training.depth_sweep import Cells, DepthSweep
from jaxvision.training.order import batch_rows

CONFIG = PRESETS["cpu"]


def prepare(case: str, folder: str) -> Case:
    """Compile, train a short ladder and, for ``sweep``, leave weights and batches for PyTorch."""
    kind, _, width = case.partition(":")
    data = load("digits").train
    mean = per_pixel_mean(data.images)
    scale = float(np.std(data.images - mean))
    runs = phase.SEEDS * phase.GAINS if kind == "sweep" else 1
    sweep = DepthSweep(
        lambda h, key: jnp.tanh(h),
        lambda hyper: optax.sgd(hyper["learning_rate"]),
        partial(normalize, mean=mean, std=scale),
        data,
        int(width),
        CONFIG.batch_size,
        phase.STEPS,
        phase.DEPTHS[-1],
        runs,
    )

    def ladder(times: int) -> Cells:
        depth, seed = np.meshgrid(phase.DEPTHS, np.arange(runs * times), indexing="ij")
        fill = partial(np.full, depth.size, dtype=np.float32)
        gains = np.float32(np.resize(sigmas_of(CONFIG), depth.size))
        gains[seed.ravel() == 0] = 1.3
        hyper = {"learning_rate": fill(CONFIG.learning_rate)}
        return Cells(depth.ravel(), np.int32(seed.ravel()), gains, fill(SIGMA_B), hyper)

    start = time.process_time()
    losses = sweep.fit(ladder(1), phase.STEPS)["loss"][::runs]
    first = time.process_time() - start
    if kind == "sweep":
        save(sweep, ladder(1), Path(folder), (data.images - mean) / np.float32(scale))
    per_ladder = runs * len(phase.DEPTHS)
    facts = {
        "losses": [
            losses[phase.DEPTHS.index(depth), : phase.CHECKED_STEPS].tolist()
            for depth in phase.CHECKED
        ],
        "first_cpu_s": first,
        "trainings": per_ladder,
    }
    return lambda n: sweep.fit(ladder(n // per_ladder), phase.STEPS), facts


def save(sweep: DepthSweep, cells: Cells, folder: Path, images: np.ndarray) -> None:
    """Write the first run's weights at the largest depth (shallower nets share them) and rows."""
    deepest = np.flatnonzero(cells.depths == phase.DEPTHS[-1])[: sweep.mesh.size]
    runs = jax.tree.map(lambda leaf: leaf[deepest], cells)._replace(depths=None)
    shared = (jnp.int32(phase.DEPTHS[-1] - 2), *sweep.train[:2])
    state = jax.device_get(sweep.start(runs, shared))
    labels = sweep.train.labels
    rows = batch_rows(0, 0, phase.STEPS, len(labels), CONFIG.batch_size)
    parts = {"input": state.input[0], "output": state.output[0]}
    kept = {f"{part}_{name}": leaf[0] for part, p in parts.items() for name, leaf in p.items()}
    kept |= {f"hidden_{name}": leaf[:, 0] for name, leaf in state.hidden[0].items()}
    np.savez(
        folder / f"phase{sweep.width}.npz",
        images=images.reshape(len(images), -1),
        labels=labels.astype(np.int64),
        rows=rows,
        rate=CONFIG.learning_rate,
        **kept,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--devices", type=int, required=True)
    runtime.configure(parser.parse_args().devices)
    serve(prepare)
