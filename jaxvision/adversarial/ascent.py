"""Fooling images by gradient ascent.

Source: Nguyen, Yosinski & Clune 2015 (arXiv 1412.1897) and their code: from noise around the mean
image, 300 steps along the gradient of the class's probability p, each long enough to raise p by
min(.03, .1 (1 - p)) if it were a straight line, with a decay of .01 towards the mean image.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.adversarial.aims import Logits
from jaxvision.adversarial.odds import class_odds
from jaxvision.adversarial.threat import like
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

    def odds(images: Array) -> tuple[Array, Array]:
        of_all = class_odds(f(images))
        of_class = jnp.take_along_axis(of_all, classes[:, None], -1)[:, 0]
        return of_class.sum(), of_class

    def step(carry: tuple[Array, Ascended], _: None) -> tuple[tuple[Array, Ascended], Array]:
        images, best = carry
        (_, before), gradient = jax.value_and_grad(odds, has_aux=True)(images)
        best = _better(best, images, before)
        from_center = (1 - DECAY) * (images - center[None])
        moved = center[None] + from_center + _step(before, gradient, largest)
        return (jnp.clip(moved, 0.0, 1.0), best), best.log_odds

    nothing = jnp.full(len(start), -jnp.inf)
    first = (start, Ascended(start, nothing, nothing))
    (last, best), trace = lax.scan(step, first, None, length=steps)
    best = _better(best, last, odds(last)[1])
    trace = jnp.concatenate([trace, best.log_odds[None]])
    return best._replace(trace=trace)


def _step(odds: Array, gradient: Array, largest: float) -> Array:
    """Return the step [B, H, W, C] from log odds [B] and their gradient; 0 where it vanishes."""
    p = jax.nn.sigmoid(odds)
    q = jax.nn.sigmoid(-odds)
    wanted = jnp.minimum(EARLY, LATE * q)
    slope = p * q
    gain = jnp.minimum(largest, wanted / jnp.maximum(slope, wanted / largest))
    squared = jnp.square(gradient).sum((1, 2, 3))
    moves = squared > 0
    rate = gain / jnp.where(moves, squared, 1.0)
    rate = jnp.where(moves, rate, 0.0)
    return like(rate, gradient) * gradient


def _better(best: Ascended, images: Array, odds: Array) -> Ascended:
    surer = odds > best.log_odds
    return best._replace(
        images=jnp.where(like(surer, images), images, best.images),
        log_odds=jnp.where(surer, odds, best.log_odds),
    )
