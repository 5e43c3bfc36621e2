"""Inputs that a net prefers, climbed in the codes of a generator: DGN-AM's steps and bounds.

Source: Nguyen et al. 2016, "Synthesizing the preferred inputs for neurons in neural networks via
deep generator networks" (arXiv 1605.09304), and the authors' code. There a step goes twice: from
the image along g / mean |g| of the unit's gradient, and from the code along g' / mean |g'| of what
that asks of the code. Both together are one step of the code along its own gradient over the mean
of its absolute values::

    touches = clipped(0.0, highest), decayed(DECAY)
    found = maximize(
        layers, logit(range(10)), prior(decode, 0.0, highest), codes, falling_steps(200), steps=200,
        touches=touches,
    )
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.attribution.regularizers import Touch
from jaxvision.types import Array, UserError

STEPS = 200
FIRST_STEP, LAST_STEP = 8.0, 1e-10  # mean absolute change of a code; 2 at first for GoogLeNet
DECAY = 0.01  # of the codes, after they are clipped
DEVIATIONS = 3.0


def falling_steps(
    steps: int, first: float | Array = FIRST_STEP, last: float = LAST_STEP
) -> optax.GradientTransformation:
    """Return steps along gradient / mean |gradient|, each row by itself, that fall in a line.

    Args:
      steps: T, until they are as short as ``last``.
      first: mean absolute change of a code in the first step.
      last: in the last.
    """

    def update(gradient: Array, count: Array, params: Array | None = None) -> tuple[Array, Array]:
        del params
        axes = tuple(range(1, gradient.ndim))
        mean = jnp.abs(gradient).mean(axes, keepdims=True)
        share = count / max(1, steps - 1)
        length = first + share * (last - first)
        # Of no gradient there is no direction: the code stays.
        return -length * gradient / jnp.where(mean > 0, mean, 1.0), count + 1

    return optax.GradientTransformation(lambda params: jnp.float32(0), update)


def clipped(low: float | Array, high: float | Array) -> Touch:
    """Bring codes back between two bounds, [] or [Z]."""

    def touch(codes: Array, gradient: Array, step: Array) -> Array:
        del gradient, step
        return jnp.clip(codes, low, high)

    return touch


class Bounds(NamedTuple):
    """Where codes may lie: the features of a rectified layer, not rarer than real ones."""

    low: np.ndarray  # [Z], zeros
    high: np.ndarray  # [Z], mean and three standard deviations of real codes


def bounds_of(codes: np.ndarray, deviations: float = DEVIATIONS) -> Bounds:
    """Return the bounds that the codes of real images [N, Z] give.

    Raises:
      UserError: there are fewer than two images.
    """
    if len(codes) < 2:
        raise UserError(f"the spread of codes needs at least 2 images, got {len(codes)}: take more")
    high = codes.mean(0) + deviations * codes.std(0)
    return Bounds(np.zeros_like(high), high)


def check_codes(codes: np.ndarray, bounds: Bounds) -> None:
    """Hold codes [B, Z] against their bounds, on the host.

    Raises:
      UserError: a code lies outside, or is not finite.
    """
    codes = np.asarray(codes)
    inside = (codes >= bounds.low) & (codes <= bounds.high)
    if inside.all():
        return
    row, column = np.argwhere(~inside)[0]
    low, high = bounds.low[column], bounds.high[column]
    raise UserError(
        f"code {row} has {codes[row, column]:.4g} at {column}, outside of its bounds {low:.4g} to "
        f"{high:.4g}: clip it"
    )
