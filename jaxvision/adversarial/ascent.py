"""Fooling images by gradient ascent.

Source: Nguyen, Yosinski & Clune 2015 (arXiv 1412.1897) and their code: from noise around the mean
image, 300 steps along the gradient of the class's probability p, each long enough to raise p by
min(.03, .1 (1 - p)) if it were a straight line, with a decay of .01 towards the mean image.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.odds import class_odds
from jaxvision.adversarial.threat import like
from jaxvision.attribution.ascent import maximize
from jaxvision.attribution.parametrizations import pixels
from jaxvision.types import Array

EARLY = 0.03  # most that a step should raise the probability
LATE = 0.1  # and most of what is missing
DECAY = 0.01


class Ascended(NamedTuple):
    """What gradient ascent found on B starts.

    Attributes:
      images: [B, H, W, C], the surest so far.
      log_odds: float32 [B], log(p / (1 - p)) of the class.
      trace: float32 [T + 1, B], the best until each step; the first one is the start.
    """

    images: Array
    log_odds: Array
    trace: Array


def ascend(
    f: Logits,
    start: Array,
    classes: Array,
    center: Array,
    *,
    steps: int = 300,
    largest: float = 1.0,
) -> Ascended:
    """Climb to what the net takes for a class, within [0, 1]; to be traced.

    Steps are taken in log odds, whose gradient is p's over p (1 - p): it does not vanish where p is
    0 in float32. Such a step would have no end, so none raises the log odds by over ``largest``;
    the code of the source bounds its rate likewise.

    Args:
      f: images [B, H, W, C] in [0, 1] -> logits [B, K].
      start: float32 [B, H, W, C].
      classes: int32 [B], to be reached.
      center: [H, W, C], what images decay to.
      steps: T.
      largest: gain of a step.
    """

    def odds(logits: Array, activations: dict[str, Array]) -> Array:
        del activations
        return jnp.take_along_axis(class_odds(logits), classes[:, None], -1)[:, 0]

    def layers(images: Array) -> tuple[Array, dict[str, Array]]:
        return f(images), {}

    around = pixels(center)
    codes = around.encode(start)
    found = maximize(layers, odds, around, codes, _steps(largest), steps=steps)
    trace = lax.cummax(found.trace)
    return Ascended(found.best, trace[-1], trace)


def _steps(largest: float) -> optax.GradientTransformationExtraArgs:
    """Return the source's steps of codes, which are images minus the center: they decay."""

    def update(
        downhill: Array, state: optax.EmptyState, params: Array, *, value: Array
    ) -> tuple[Array, optax.EmptyState]:
        return _step(value, -downhill, largest) - DECAY * params, state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def _step(odds: Array, gradient: Array, largest: float) -> Array:
    """Return the step [B, H, W, C] from log odds [B] and their gradient; 0 where it vanishes."""
    p = jax.nn.sigmoid(odds)
    q = jax.nn.sigmoid(-odds)
    # What is wanted over the slope p q; q cancels where it is 0 in float32.
    wanted = jnp.minimum(EARLY / jnp.maximum(q, EARLY), LATE)
    gain = jnp.minimum(largest, wanted / jnp.maximum(p, wanted / largest))
    squared = jnp.square(gradient).sum((1, 2, 3))
    moves = squared > 0
    rate = gain / jnp.where(moves, squared, 1.0)
    rate = jnp.where(moves, rate, 0.0)
    return like(rate, gradient) * gradient
