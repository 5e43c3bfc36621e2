"""Dynamical isometry: which deep nets keep every direction of their input, and for how long.

Source: Pennington, Schoenholz & Ganguli 2017, "Resurrecting the sigmoid in deep learning through
dynamical isometry" (arXiv 1711.04735), and Xiao et al. 2018, "Dynamical isometry and a mean field
theory of CNNs" (arXiv 1806.05393). Claim in one sentence: all singular values of the input-output
Jacobian stay near 1 with orthogonal weights and tanh, never with Gaussian weights or ReLU; so a
plain conv net of 1,000 (10,000) layers carries its signal if its kernels are delta-orthogonal.

Command: make exp-jacobian-spectrum (under 2 minutes on two cores; embedded 8x8 digits).

Every net stands on the edge of chaos, where its activation's variance is ``bend`` / depth: tanh is
bent by the same amount over the whole net, however deep. Dense spectra are exact, those of conv
nets come from Lanczos. What differs from the papers: small widths; the nets that train are MLPs on
8x8 digits, each at the best rate of its own grid; and they are followed as they leave isometry.
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
from jaxvision.dynamics import isometry, mean_field, spectra
from jaxvision.models.layers import apply_function, initialize_runs
from jaxvision.models.mlp import MLP
from jaxvision.random import stream
from jaxvision.report import plots
from jaxvision.report.claims import Claim, EverySeed, Greater, Less, Within
from jaxvision.training.arms import Arm, fit_arms, tune
from jaxvision.training.fit import Trainer
from jaxvision.training.step import Task

# Initializers of gain 1; ``isometry.scale_layers`` puts them on the edge of chaos.
WEIGHTS = {
    "orthogonal": init.orthogonal(1.0),
    "gaussian": init.xavier_he2015(),
    "delta_orthogonal": init.delta_orthogonal(1.0),
}
ARMS = {  # of the dense nets: the label, weights and activation
    "orthogonal/tanh": "orthogonal tanh",
    "gaussian/tanh": "Gaussian tanh",
    "orthogonal/relu": "orthogonal ReLU",
}
IMAGES = 8
LANCZOS_STEPS = 40


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, or a TFDS name.")
    seeds: int = flagged(10, "Random nets of each kind.", low=1, high=1000)
    bend: float = flagged(0.5, "Variance of the pre-activations times depth.", low=1e-3, high=10)
    width: int = flagged(128, "Units of the dense nets.", low=8, high=4096)
    depth: int = flagged(64, "Layers behind the spectra, a power of 2.", low=8, high=1024)
    channels: int = flagged(16, "Channels of the conv nets.", low=2, high=1024)
    signal_depth: int = flagged(1000, "Layers of the deepest conv nets.", low=10, high=100_000)
    train_seeds: int = flagged(5, "Paired seeds of every trained arm.", low=1, high=1000)
    train_depth: int = flagged(32, "Weight layers of the trained MLPs.", low=4, high=1000)
    train_width: int = flagged(64, "Units of the trained MLPs.", low=8, high=8192)
    checkpoints: tuple[int, ...] = flagged(
        (20, 100, 500), "Steps at which the spectrum is taken, multiples of the first.", low=1
    )
    batch_size: int = flagged(32, "Images in a step.", low=1)
    rates: tuple[float, ...] = flagged((0.01, 0.03, 0.1), "Grid of learning rates.", low=0)


PRESETS = {
    "tiny": Config(
        seeds=2, width=16, depth=8, channels=4, signal_depth=20, train_seeds=2, train_depth=6,
        train_width=16, checkpoints=(2, 4), rates=(0.03,),
    ),
    "cpu": Config(),
    "gpu": Config(
        seeds=20, width=512, depth=256, channels=64, signal_depth=10_000, train_seeds=10,
        train_depth=200, train_width=400, checkpoints=(100, 1000, 10_000),
        rates=(0.001, 0.003, 0.01, 0.03),
    ),
    "paper": Config(
        dataset="cifar10", seeds=20, width=1024, depth=1024, channels=256, signal_depth=10_000,
        train_seeds=5, train_depth=200, train_width=400, checkpoints=(100, 1000, 10_000, 100_000),
        rates=(0.001, 0.003, 0.01, 0.03),
    ),
}  # fmt: skip


def depths_of(config: Config) -> tuple[int, ...]:
    """Return the depths at which spectra are taken: 1, 2, 4, ..., the whole."""
    return tuple(2**i for i in range(config.depth.bit_length()))


def edge(activation: str, depth: int, config: Config) -> tuple[float, float, float]:
    """Return (sigma_w, sigma_b, std of the input) of the critical net of this depth."""
    q = config.bend / depth
    sigma_w, sigma_b = mean_field.edge_of_chaos(q, activation)
    return float(sigma_w), float(sigma_b), float(np.sqrt(mean_field.second_moment(activation, q)))


_draw = jax.jit(isometry.draw_layers, static_argnums=(1, 2, 3))
_singular_values = jax.jit(isometry.singular_values, static_argnums=(1, 3))
_carry = jax.jit(isometry.carry, static_argnums=1)


@partial(jax.jit, static_argnums=3)
def _quadrature(layers: isometry.Layers, x, key, steps: int) -> spectra.Quadrature:
    return spectra.jacobian_quadrature(
        lambda x: isometry.apply_layers(layers, "tanh", x), x, key, steps
    )


def measure(config: Config, progress) -> tuple[dict, dict]:
    """Measure random nets and train some; returns numbers and arrays."""
    data = load(config.dataset)
    parts = (_dense_spectra, _conv_spectra, partial(_deep_signal, data=data))
    arrays = {}
    with progress(len(parts) * config.seeds, "random nets") as bar:
        for part in parts:
            seeds = []
            for seed in range(config.seeds):
                seeds.append(jax.device_get(part(config, seed)))
                bar.advance()
            arrays |= jax.tree.map(lambda *leaves: np.stack(leaves), *seeds)
    rates, trained = _training(config, data, progress)
    return {"rates": rates, "lanczos_error": _lanczos_error()}, arrays | trained


def _dense_spectra(config: Config, seed: int) -> dict:
    """Return every singular value [D, C] of each kind of dense net, one draw for all gains."""
    found = {}
    for weights in ("orthogonal", "gaussian"):
        shape = (config.width, config.width)
        layers = _draw(stream(seed, "init"), WEIGHTS[weights], shape, config.depth)
        x = jax.random.normal(stream(seed, "probe"), shape[:1])
        for activation in ("tanh", "relu", "linear"):
            *gains, std = edge(activation, config.depth, config)
            scaled = isometry.scale_layers(layers, *gains)
            values = _singular_values(scaled, activation, std * x, depths_of(config))
            found[f"dense/{weights}/{activation}"] = values
    return found


def _conv_spectra(config: Config, seed: int) -> dict:
    """Return a quadrature of the spectrum of each kind of tanh conv net on 8x8 maps."""
    *gains, std = edge("tanh", config.depth, config)
    shape = (3, 3, config.channels, config.channels)
    x = std * jax.random.normal(stream(seed, "probe"), (1, 8, 8, config.channels))
    found = {}
    for weights, initializer in WEIGHTS.items():
        layers = _draw(stream(seed, "init"), initializer, shape, config.depth)
        layers = isometry.scale_layers(layers, *gains)
        nodes, mass = _quadrature(layers, x, stream(seed, "probe", 1), LANCZOS_STEPS)
        found |= {f"conv/{weights}/nodes": nodes, f"conv/{weights}/weights": mass}
    return found


def _lanczos_error() -> float:
    """Return the largest error of Lanczos on a conv net that is small enough to be exact."""
    layers = _draw(stream(0, "init"), WEIGHTS["gaussian"], (3, 3, 4, 4), 3)
    layers = isometry.scale_layers(layers, 1.0, 0.1)
    x = jax.random.normal(stream(0, "probe"), (1, 4, 4, 4))
    exact = spectra.jacobian_singular_values(lambda x: isometry.apply_layers(layers, "tanh", x), x)
    nodes = _quadrature(layers, x, stream(0, "probe", 1), x.size).nodes[::-1]
    return float(jnp.max(jnp.abs(nodes - exact)) / exact[0])


def shown_layers(config: Config) -> np.ndarray:
    """Return the layers of the deepest nets that are kept: 1, ..., the last, even on a log axis."""
    return np.unique(np.geomspace(1, config.signal_depth, 60).round().astype(int))


def _deep_signal(config: Config, seed: int, data) -> dict:
    """Return what the layers of the deepest tanh conv nets carry of some images."""
    *gains, std = edge("tanh", config.signal_depth, config)
    shape = (3, 3, config.channels, config.channels)
    images = jnp.mean(jnp.float32(data.test.images[:IMAGES]), axis=-1, keepdims=True)
    x = images * jax.random.normal(stream(seed, "probe"), (1, 1, 1, config.channels))
    x = std * x / jnp.sqrt(jnp.mean(jnp.square(x)))
    kept, found = shown_layers(config) - 1, {}
    for weights in ("delta_orthogonal", "gaussian"):
        layers = _draw(stream(seed, "init"), WEIGHTS[weights], shape, config.signal_depth)
        layers = isometry.scale_layers(layers, *gains)
        signal = _carry(layers, "tanh", x, stream(seed, "probe", 1))
        pairs = signal.correlation[kept][:, *np.triu_indices(IMAGES, 1)]
        found |= {
            f"deep/{weights}/std": signal.std[kept],
            f"deep/{weights}/delta_norm": signal.delta_norm[kept],
            f"deep/{weights}/likeness": jax.vmap(jnp.corrcoef)(pairs, jnp.broadcast_to(pairs[0], pairs.shape))[:, 0, 1],
            f"deep/{weights}/picture": signal.pixel_rms[_pictured(config) - 1, 0],
        }
    return found
