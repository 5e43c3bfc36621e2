"""How gradients vanish, explode, survive or shatter on their way down a deep net.

Sources: Schoenholz et al. 2017 (arXiv 1611.01232) and Hanin & Nica 2018 (1812.05994) for the slope
of the log gradient per layer, Yang et al. 2019 (1902.08129) for batch norm, De & Smith 2020
(2002.10444) for residual branches, Balduzzi et al. 2017 (1702.08591) for shattering. Claim in one
sentence: a gain off its critical value makes gradients vanish or explode, batch norm in a plain net
makes them explode at step 0, skip connections hold both their size and their correlation.

Command: make exp-gradient-flow (under 3 minutes on two cores; embedded 8x8 digits, no download).

Nets of 8 to 100 weight layers, no biases, weights drawn with the critical gain (chi_1 = 1) times
``below``, 1 and ``above``; three norms of every layer at steps 0, 1, 10 and 100 of plain SGD. The
shattering part has a net of its own, on a line of inputs as in the paper; see
``dynamics/shattering.py``.
"""

import dataclasses
import sys
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxvision import cli
from jaxvision import initializers as init
from jaxvision.cli import flagged
from jaxvision.data import load
from jaxvision.data.augment import normalize, per_pixel_mean
from jaxvision.dynamics import mean_field, probes, shattering, theory
from jaxvision.models.deep_mlp import DeepMLP
from jaxvision.models.layers import apply_function, initialize_runs
from jaxvision.random import stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim, Equivalent, EverySeed, Greater, Less, Within
from jaxvision.training.arms import Arm, fit_arms, record_arrays
from jaxvision.training.fit import Trainer
from jaxvision.training.step import Task

ACTIVATIONS = {"tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid, "relu": jax.nn.relu, "linear": lambda x: x}
NETS = {  # name -> (activation, what else it has)
    **{name: (name, {}) for name in ACTIVATIONS},
    "batch_norm": ("relu", {"normalized": True}),
    "residual": ("relu", {"residual": True}),
    "residual_batch_norm": ("relu", {"residual": True, "normalized": True}),
}
GAINS = ("below", "critical", "above")
LINES = {  # nets of the shattering part
    "relu": {"residual": False, "normalized": False},
    "batch_norm": {"residual": False, "normalized": True},
    "residual_batch_norm": {"residual": True, "normalized": True},
}
STEPS = 101  # so that steps 0, 1, 10 and 100 are seen


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(5, "Paired seeds of every net.", low=1, high=1000)
    depths: tuple[int, ...] = flagged((8, 30, 100), "Weight layers.", low=8, high=1000)
    width: int = flagged(64, "Units of every hidden layer.", low=2, high=8192)
    batch_size: int = flagged(32, "Images in a step.", low=4)
    learning_rate: float = flagged(0.01, "SGD's rate.", low=0)
    below: float = flagged(0.5**0.5, "Gain over the critical one; .707 is Xavier's.", low=0.1, high=1)
    above: float = flagged(2**0.5, "Gain over the critical one.", low=1, high=2)
    line_width: int = flagged(200, "Units of the nets on a line.", low=2, high=8192)
    line_points: int = flagged(256, "Inputs on the line.", low=32, high=4096)
    line_depth: int = flagged(64, "Layers of the nets on a line.", low=64, high=4096)


PRESETS = {
    "tiny": Config(seeds=2, depths=(8,), width=8, batch_size=8, line_width=8, line_points=32),
    "cpu": Config(),
    "gpu": Config(dataset="cifar10", seeds=20, depths=(8, 30, 100, 300), width=256, batch_size=128),
    "paper": Config(seeds=20, depths=(8, 30, 100, 300), width=1024, batch_size=256),
}


def measure(config: Config, progress) -> tuple[dict, dict]:
    """Train every net at every depth and gain; arrays are named 'net+depth/gain/quantity'."""
    data = load(config.dataset)
    mean = per_pixel_mean(data.train.images)
    scale = float(np.std(data.train.images[:5000] - mean))
    arrays = {}
    runs = len(NETS) * len(config.depths) * len(GAINS) * config.seeds
    with progress(runs * STEPS, "training") as bar:
        for depth in config.depths:
            for name, (activation, kind) in NETS.items():
                net = DeepMLP(
                    depth, config.width, data.num_classes, init.xavier_he2015(),
                    ACTIVATIONS[activation], **kind,
                )  # fmt: skip
                task = Task(
                    apply_function(net),
                    lambda hyper: optax.sgd(hyper["learning_rate"]),
                    lambda images, key: normalize(images, mean, scale),
                    probes.per_layer,
                )
                trainer = Trainer(task, data.train, data.test, config.batch_size, STEPS)
                arms = {}
                for gain, factor in _factors(config).items():
                    gained = factor * mean_field.critical_gain(activation)
                    start = partial(_start, net, data.train.images.shape[1:], gained)
                    arms[gain] = Arm(start, {"learning_rate": config.learning_rate})
                histories = fit_arms(trainer, arms, range(config.seeds), STEPS, bar.advance)
                for gain, history in histories.items():
                    arrays |= record_arrays(f"{name}{depth}/{gain}", history, probes.LAYERWISE)
    return {}, arrays | _lines(config)


def _factors(config: Config) -> dict[str, float]:
    return dict(zip(GAINS, (config.below, 1.0, config.above), strict=True))


def _start(net: DeepMLP, image_shape: tuple, gain: float, keys: jax.Array) -> dict:
    """Draw nets with weights of variance ``gain^2 / fan_in``: gains share their draws."""
    variables = initialize_runs(net, keys, image_shape)
    scale = lambda path, leaf: gain * leaf if path[-1].key == "kernel" else leaf  # noqa: E731
    return jax.tree_util.tree_map_with_path(scale, variables)


def _lines(config: Config) -> dict[str, np.ndarray]:
    """Return the gradients' correlation by depth and, of one net, the gradients themselves."""
    positions = jnp.linspace(-2.0, 2.0, config.line_points)
    lag = config.line_points // 16
    keys = jnp.stack([stream(seed, "probe") for seed in range(config.seeds)])
    found = {"line/positions": np.asarray(positions)}
    for name, kind in LINES.items():

        def one(key, kind=kind):
            gradients = shattering.gradients_on_a_line(
                key, positions, config.line_width, config.line_depth, **kind
            )
            return shattering.autocorrelation(gradients, lag), gradients[..., 0]

        correlation, unit = jax.jit(jax.vmap(one))(keys)
        found[f"line/{name}/correlation"] = np.asarray(correlation)
        found[f"line/{name}/gradient"] = np.asarray(unit[0])  # [layers, P]
    return found
