"""What is done to codes after every step of an ascent, so that pictures look like pictures.

Source: Yosinski et al. 2015 (arXiv 1506.06579), section 3, and the authors' code, from which the
four sets of numbers are. Codes are pictures minus their center, [B, H, W, C].
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import optax

from jaxvision.types import Array

Touch = Callable[[Array, Array, Array], Array]  # codes, gradient, step [] -> codes
THEIR_SIZE = 227  # pixels along a side of the source's pictures
LEVELS = 255.0


class Recipe(NamedTuple):
    """One of the source's sets of numbers, in its units: 227 pixels of 0 to 255.

    Attributes:
      decay: share of the codes that a step takes away.
      blur: standard deviation in pixels.
      small_norm: percentage of pixels that are zeroed for their small norm.
      small_contribution: percentage that are zeroed because the unit would miss them least.
      steps: of ascent.
      gain: by which a step should raise the objective; infinite where steps have one rate.
      most: largest rate.
    """

    decay: float
    blur: float
    small_norm: float
    small_contribution: float
    steps: int
    gain: float
    most: float

    def optimizer(self) -> optax.GradientTransformation:
        """Return the steps for pictures in [0, 1]."""
        return progress(self.gain, self.most / LEVELS**2)

    def touches(self, size: int) -> tuple[Touch, ...]:
        """Return what is done to pictures of ``size`` pixels, the blur in proportion.

        At 32 pixels no blur is left: see ``blurred``.
        """
        return (
            decayed(self.decay),
            blurred(self.blur * size / THEIR_SIZE),
            without_small(self.small_norm),
            without_unhelpful(self.small_contribution),
        )


YOSINSKI = (
    Recipe(0.0, 0.5, 50, 0, steps=500, gain=2.0, most=100.0),
    Recipe(0.3, 0.0, 20, 0, steps=750, gain=np.inf, most=100.0),
    Recipe(1e-4, 1.0, 0, 0, steps=1000, gain=np.inf, most=100.0),
    Recipe(0.0, 0.5, 0, 90, steps=1000, gain=2.0, most=1e8),
)
BLUR_EVERY = 4  # steps


def progress(gain: float | Array, most: float | Array) -> optax.GradientTransformation:
    """Return steps at the rate gain / |gradient|^2, ``most`` at most, for each row by itself."""

    def update(
        gradient: Array, state: optax.EmptyState, params: Array | None = None
    ) -> tuple[Array, optax.EmptyState]:
        del params
        axes = tuple(range(1, gradient.ndim))
        squared = jnp.square(gradient).sum(axes, keepdims=True)
        # A gradient of 0 divides nothing: the step is 0 whatever the rate.
        rate = jnp.minimum(most, gain / jnp.where(squared > 0, squared, 1.0))
        return -rate * gradient, state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


def decayed(rate: float | Array) -> Touch:
    """Take a share off all codes."""

    def touch(codes: Array, gradient: Array, step: Array) -> Array:
        del gradient, step
        return (1 - rate) * codes

    return touch


def blurred(sigma: float | Array, every: int = BLUR_EVERY) -> Touch:
    """Blur by a Gaussian of ``sigma`` pixels at every so many steps, the first included.

    Weights beyond the border go to the pixels within, so a constant picture stays as it is. They
    are a Gaussian's at whole pixels, as in the source: below .3 pixels next to nothing is blurred.
    """

    def touch(codes: Array, gradient: Array, step: Array) -> Array:
        del gradient
        down, across = (_gaussian(side, sigma) for side in codes.shape[1:3])
        soft = jnp.einsum("ij,bjwc->biwc", down, codes)
        soft = jnp.einsum("ij,bhjc->bhic", across, soft)
        return jnp.where(step % every == 0, soft, codes)

    return touch


def without_small(percent: float | Array) -> Touch:
    """Zero the share of pixels whose norm over channels is smallest."""

    def touch(codes: Array, gradient: Array, step: Array) -> Array:
        del gradient, step
        norm = jnp.square(codes).sum(-1)
        return _without_lowest(codes, norm, percent)

    return touch


def without_unhelpful(percent: float | Array) -> Touch:
    """Zero the share of pixels that matter least: |sum over channels of code times gradient|.

    To first order that is by how much the objective changes where the pixel is set to the center.
    """

    def touch(codes: Array, gradient: Array, step: Array) -> Array:
        del step
        contribution = jnp.abs((codes * gradient).sum(-1))
        return _without_lowest(codes, contribution, percent)

    return touch


def _without_lowest(codes: Array, importance: Array, percent: float | Array) -> Array:
    """Zero the pixels whose importance [B, H, W] is below the percentile."""
    flat = importance.reshape(len(importance), -1)
    bound = jnp.percentile(flat, jnp.float32(percent), axis=1)
    stays = importance >= bound[:, None, None]
    return jnp.where(stays[..., None], codes, 0.0)


def _gaussian(side: int, sigma: float | Array) -> Array:
    """Return [side, side], row i the weights around pixel i; the identity where sigma is 0."""
    places = jnp.arange(side, dtype=jnp.float32)
    away = places[:, None] - places[None]
    narrow = jnp.maximum(sigma, 1e-3)
    weights = jnp.exp(-jnp.square(away / narrow) / 2)
    return weights / weights.sum(1, keepdims=True)
