"""The nets of minimal_perturbation: what a kind is, and how it is trained."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.breaking import _autoencoder as autoencoder
from experiments.breaking._nets import Nets, trained
from jaxvision.adversarial.threat import LEVELS
from jaxvision.data import Splits, load
from jaxvision.data.augment import standardizer
from jaxvision.nets import Spec

OTHER_SEEDS = 500  # further on: no net of the other half starts as one of the first


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of net.

    Attributes:
      label: the paper's name for it.
      short: in the figure.
      net: a name for a spec; "" for the autoencoder.
      sizes: what the net takes.
      decay: the paper's lambda, of sum w^2 / 10 on pixels in [0, 1]; 0 for nets of sigmoids.
      published: the paper's distortion on MNIST, pixels in [0, 1].
    """

    label: str
    short: str
    net: str
    sizes: Mapping[str, int]
    decay: float
    published: float


def spec_of(kind: Kind, dataset: str, config: Any, scale: float, half: bool = False) -> Spec:
    """Return the spec of a kind of net; ``scale`` is the deviation of pixels in [0, 1]."""
    linear = kind.net == "linear"
    # The decay is of weights on pixels; the net's own are on pixels divided by their scale.
    decay = round(2 * kind.decay / 10 / scale**2, 8)
    return Spec(
        dataset,
        kind.net,
        kind.sizes,
        learning_rate=0.02 if linear else 0.003,
        steps=config.steps,
        initializer="glorot2010",
        optimizer="momentum_sgd" if linear else "adam",
        weight_decay=decay,
        batch_size=config.batch_size,
        warm_up=config.steps // 20,
        images=None if not half else len(load(dataset).train.labels) // 2,
    )


def nets_of(kind: Kind, data: Splits, config: Any) -> Nets:
    """Return the nets of one kind, one a seed."""
    seeds = range(config.first_seed, config.first_seed + config.seeds)
    if not kind.net:
        return autoencoder.trained(data, seeds, config.steps, config.batch_size)
    return trained(spec_of(kind, data.name, config, pixel_scale(data)), seeds)


def pixel_scale(data: Splits) -> float:
    """Return the standard deviation of centered pixels in [0, 1], by which nets divide them."""
    image = data.train.images[0]
    both = np.stack([np.ones_like(image), np.zeros_like(image)])
    one, zero = np.asarray(standardizer(data.train)(both, None))
    return round(float(1 / (LEVELS * (one - zero).max())), 4)


def half_nets(kind: Kind, data: Splits, config: Any, left_out: bool) -> Nets:
    """Return nets that learned from one half of the images, or from the other."""
    first = config.first_seed + (OTHER_SEEDS if left_out else 0)
    spec = spec_of(kind, data.name, config, pixel_scale(data), half=True)
    seeds = range(first, first + config.seeds)
    return trained(dataclasses.replace(spec, left_out=left_out), seeds)
