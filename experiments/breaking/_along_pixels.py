"""Nets on enlarged images: the same content in more pixels."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.breaking import _along as along
from experiments.breaking._along import Given, Seen
from experiments.breaking._along_families import at_size_steps, compared
from experiments.breaking._along_nets import Lab, Snapshots
from experiments.breaking._along_pairs import Watched
from jaxvision.adversarial.threat import LEVELS
from jaxvision.initializers import he_forward
from jaxvision.models.drawing import initialize_runs
from jaxvision.models.layers import apply_function
from jaxvision.models.mlp import MLP
from jaxvision.nets import Trained
from jaxvision.training.arms import Arm, best_rate, fit_rates, make_runs
from jaxvision.training.fit import Trainer
from jaxvision.training.optimizers import momentum_sgd
from jaxvision.training.step import Task
from jaxvision.types import Array

Standardizer = Callable[[Array, Array | None], Array]


class Found(NamedTuple):
    """Arrays 'pixels/quantity' [S, sizes], the rates, and how many pixels the images have."""

    arrays: dict[str, np.ndarray]
    rates: dict[str, float]
    pixels: list[int]


def enlarged(images: Array, times: int) -> Array:
    """Return images [B, H, W, C] with every pixel copied into a square of ``times`` a side."""
    rows = jnp.repeat(images, times, axis=1)
    return jnp.repeat(rows, times, axis=2)


def standardizer_of_enlarged(base: Trained, times: int) -> Standardizer:
    """Return what the nets of ``base`` do to images first, for enlarged ones."""
    image = base.data.train.images[:1]
    black = np.asarray(base.preprocess(np.zeros_like(image), None))
    white = np.asarray(base.preprocess(np.full_like(image, LEVELS), None))
    unit = (white - black) / np.float32(LEVELS)
    offset, slope = (np.asarray(enlarged(each, times))[0] for each in (black, unit))

    def standardize(images: Array, key: Array | None) -> Array:
        del key
        shape = images.shape
        return images * jnp.broadcast_to(slope, shape) + jnp.broadcast_to(offset, shape)

    return standardize


def measured_pixels(lab: Lab, usual: Watched, config: Any) -> Found:
    """Train He's nets on enlarged images, and measure all sizes on common images."""
    base = usual.snapshots.trained
    count = math.prod(base.data.train.images.shape[1:])
    shown = along.given(usual.snapshots, config)
    seen: list[Seen] = [at_size_steps(usual, config)]
    rates = {}
    for times in config.enlargements:
        snapshots = _nets_on(base, times, lab.seeds, config)
        larger = _enlarged(shown, times)
        seen.append(along.sweep(snapshots, larger, config, "ema"))
        rates[f"pixels/{times}"] = snapshots.learning_rate
    pixels = [count * times**2 for times in (1, *config.enlargements)]
    return Found(compared("pixels", seen), rates, pixels)


def _enlarged(shown: Given, times: int) -> Given:
    images = np.asarray(enlarged(shown.images, times))
    learned = np.asarray(enlarged(shown.learned, times))
    return shown._replace(images=images, learned=learned)


def _nets_on(
    base: Trained,
    times: int,
    seeds: tuple[Sequence[int], Sequence[int]],
    config: Any,
) -> Snapshots:
    """Return nets that learned from enlarged images, at a rate chosen on the second seeds."""
    height, width, channels = base.data.train.images.shape[1:]
    model = MLP(config.depth, config.width, base.data.num_classes, he_forward())

    def preprocess(images: Array, key: Array | None) -> Array:
        return enlarged(base.preprocess(images, key), times)

    trainer = Trainer(
        Task(apply_function(model), partial(momentum_sgd, 0.0), preprocess),
        base.data.train,
        base.data.test,
        config.batch_size,
        math.gcd(config.tuning_steps, config.size_steps),
        mapping="map",
    )
    shape = (times * height, times * width, channels)
    hyper = {"learning_rate": config.learning_rates[0], "momentum": 0.9}
    arm = Arm(partial(initialize_runs, model, image_shape=shape), hyper)
    judged, others = seeds
    tuned = fit_rates(trainer, arm, config.learning_rates, others, config.tuning_steps)
    rate, _ = best_rate(tuned)
    arm = arm._replace(hyper=hyper | {"learning_rate": rate})
    history = trainer.fit(make_runs({"he": arm}, judged), config.size_steps)
    variables = jax.tree.map(lambda leaf: leaf[:, None], history.variables)
    made = base._replace(
        apply=apply_function(model),
        preprocess=standardizer_of_enlarged(base, times),
    )
    return Snapshots(made, variables, rate)
