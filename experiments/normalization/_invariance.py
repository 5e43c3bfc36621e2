"""Batch norm does not see the scale of the weights below it (Ioffe & Szegedy 2015, section 3.3).

Exactly so where nothing is added to the variance: BN(a W u) = BN(W u), the gradient at W is a times
smaller, and weights a times larger at a^2 times the rate take the same path.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.models.drawing import initialize
from jaxvision.models.layers import apply_function
from jaxvision.models.switched_mlp import SwitchedMLP, Switches
from jaxvision.random import stream
from jaxvision.training.losses import cross_entropy
from jaxvision.training.mapping import over_seeds
from jaxvision.types import Array, PyTree

PATH = 10  # steps that a net and its scaled self take side by side
RATE = 0.1


class Gaps(NamedTuple):
    """Relative distances between nets and themselves with scaled weights; exactly 0 in theory.

    Attributes:
      outputs: of the logits.
      gradients: of the first kernel's gradient, times the scale.
      paths: of the logits after some steps.
    """

    outputs: np.ndarray
    gradients: np.ndarray
    paths: np.ndarray


class _Path(NamedTuple):
    """What is seen on the way of plain gradient descent, [steps, ...]."""

    logits: Array
    gradient: Array


def gaps_of_seeds(
    model: SwitchedMLP,
    seeds: int,
    first_seed: int,
    inputs: np.ndarray,
    labels: np.ndarray,
    scales: Sequence[float],
) -> Gaps:
    """Return what scaling every normalized layer's kernel changes, [S, len(scales)].

    Args:
      model: the net; its epsilon is set to 0.
      seeds: how many nets.
      first_seed: of the first.
      inputs: a batch [B, H, W, C], of every step.
      labels: theirs.
      scales: the factors a; the rate of the scaled kernels is multiplied by a^2.
    """
    exact = model.clone(epsilon=0.0)

    def of_seed(seed: Array, shared: PyTree) -> _Path:
        inputs, labels, scales = shared
        variables = initialize(exact, stream(seed, "init"), inputs.shape[1:])
        return jax.lax.map(lambda a: _path(exact, variables, inputs, labels, a), scales)

    shared = inputs, labels, np.float32([1.0, *scales])
    found = over_seeds(of_seed, seeds, shared, first_seed)
    gradient = found.gradient * np.float32([1.0, *scales])[None, :, None, None, None]
    return Gaps(
        outputs=_gap(found.logits[:, :, 0]),
        gradients=_gap(gradient[:, :, 0]),
        paths=_gap(found.logits[:, :, -1]),
    )


def _path(model: SwitchedMLP, variables: PyTree, inputs: Array, labels: Array, a: Array) -> _Path:
    apply = apply_function(model)
    given = {
        "train": True,
        "dropout_key": jax.random.key(0),  # of noise and dropout, of which there is none
        "switches": Switches(jnp.float32(1), jnp.float32(0), jnp.float32(0)),
    }

    def loss(params: PyTree) -> tuple[Array, Array]:
        logits = apply(params, variables["batch_stats"], inputs, **given)[0]
        return cross_entropy(logits, labels).mean(), logits

    def step(params: PyTree, _: None) -> tuple[PyTree, _Path]:
        gradients, logits = jax.grad(loss, has_aux=True)(params)
        seen = _Path(logits, gradients["layer1"]["dense"]["kernel"])
        faster = _scaled(gradients, a**2)
        return jax.tree.map(lambda w, g: w - RATE * g, params, faster), seen

    start = _scaled(variables["params"], a)
    return jax.lax.scan(step, start, length=PATH + 1)[1]


def _scaled(params: PyTree, factor: Array) -> PyTree:
    """Return the tree with the kernels below batch norm times ``factor``."""

    def leaf(path: tuple, value: Array) -> Array:
        below_norm = path[-1].key == "kernel" and path[0].key != "output"
        return factor * value if below_norm else value

    return jax.tree_util.tree_map_with_path(leaf, params)


def _gap(values: np.ndarray) -> np.ndarray:
    """Return the relative distance of values [S, 1 + scales, ...] from the first ones."""
    flat = values.reshape(*values.shape[:2], -1).astype(np.float64)
    apart = np.linalg.norm(flat[:, 1:] - flat[:, :1], axis=-1)
    return apart / np.linalg.norm(flat[:, :1], axis=-1)
