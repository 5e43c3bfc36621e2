"""What an ascent climbs: functions of a net's logits [B, K] and pre-activations, to numbers [B].

With S the logits and p their softmax, grad log p_c = grad S_c - sum_k p_k grad S_k, and grad p_c is
p_c times that: it vanishes where the class is out of reach, and again where the net is sure.
"""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.types import Array, UserError

Objective = Callable[[Array, dict[str, Array]], Array]


def logit(classes: Sequence[int]) -> Objective:
    """Return the score before the softmax; ``classes`` [B] has one class for each picture."""

    def value(logits: Array, activations: dict[str, Array]) -> Array:
        del activations
        return _of_class(logits, classes)

    return value


def log_probability(classes: Sequence[int]) -> Objective:
    """Return the logarithm of the softmax, otherwise as ``logit``."""

    def value(logits: Array, activations: dict[str, Array]) -> Array:
        del activations
        return _of_class(jax.nn.log_softmax(logits), classes)

    return value


def probability(classes: Sequence[int]) -> Objective:
    """Return the softmax, otherwise as ``logit``."""

    def value(logits: Array, activations: dict[str, Array]) -> Array:
        del activations
        return _of_class(jax.nn.softmax(logits), classes)

    return value


def unit(layer: str, channels: Sequence[int]) -> Objective:
    """Return a unit's pre-activation; of a map [B, H, W, C] the unit in its middle.

    Args:
      layer: a name in ``activations``.
      channels: one for each picture.
    """

    def value(logits: Array, activations: dict[str, Array]) -> Array:
        del logits
        middle = _middle(layer, activations)
        return _picked(middle, channels, f"units of {layer}")

    return value


def direction(layer: str, directions: Array) -> Objective:
    """Return pre-activations along directions [B, C] of a layer, otherwise as ``unit``."""

    def value(logits: Array, activations: dict[str, Array]) -> Array:
        del logits
        return (_middle(layer, activations) * directions).sum(1)

    return value


def _of_class(scores: Array, classes: Sequence[int]) -> Array:
    return _picked(scores, classes, "classes")


def _picked(scores: Array, wanted: Sequence[int], what: str) -> Array:
    """Return of every row [B, K] the wanted entry."""
    wanted = np.asarray(wanted)
    if wanted.shape != scores.shape[:1]:
        raise UserError(f"{wanted.size} {what} for {len(scores)} pictures: one for each")
    if wanted.dtype.kind not in "iu":
        raise UserError(f"{what} {wanted.tolist()} are no whole numbers, counted from 0")
    beyond = wanted[(wanted < 0) | (wanted >= scores.shape[1])]
    if beyond.size:
        raise UserError(f"there are {scores.shape[1]} {what}, counted from 0, and no {beyond[0]}")
    return scores[jnp.arange(len(wanted)), wanted]


def _middle(layer: str, activations: dict[str, Array]) -> Array:
    """Return a layer's pre-activations [B, C], those in the middle of maps."""
    if layer not in activations:
        raise UserError(f"the net has no layer {layer!r}: use {', '.join(activations)}")
    found = activations[layer]
    if found.ndim == 2:
        return found
    if found.ndim != 4:
        raise UserError(f"{layer!r} holds several layers {list(found.shape)}: take another")
    _, height, width, _ = found.shape
    return found[:, height // 2, width // 2]
