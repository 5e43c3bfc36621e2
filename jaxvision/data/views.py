"""Flat pictures as one might come to see them: turned, moved, scaled, in other light, with noise.

``viewed(key, images, PAPER)`` draws a view for each image. A distribution is a tree of numbers, so
several can be tried in one program.

Source: Athalye et al. 2018 (arXiv 1707.07397), table 5: rotations by up to 22.5 degrees, scales of
.9 to 1.4, lighter or darker by up to .05, Gaussian noise of deviation up to .1. Of the translation
it says "any that stays in bounds"; here it goes up to a tenth of a side.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxvision.data.warps import Pose, warp
from jaxvision.types import Array

_POSE = 6  # numbers of a view, apart from its noise
_LEAST = -1 + 2**-24  # the float32 after -1


class Views(NamedTuple):
    """How far views go, every draw uniform.

    Attributes:
      turn: degrees, either way.
      shift: of a side, either way, down and right apart.
      smallest: scale.
      largest: scale.
      light: of [0, 1], either way.
      noise: most that the standard deviation of a pixel may be.
    """

    turn: Array | float = 0.0
    shift: Array | float = 0.0
    smallest: Array | float = 1.0
    largest: Array | float = 1.0
    light: Array | float = 0.0
    noise: Array | float = 0.0


PAPER = Views(turn=22.5, shift=0.1, smallest=0.9, largest=1.4, light=0.05, noise=0.1)


def viewed(key: Array, images: Array, views: Views) -> Array:
    """Return images in views of their own, black beyond their border; ``Views()`` changes nothing.

    Args:
      key: a typed key; the same key gives the same views, wider ones with wider distributions.
      images: float32 [B, H, W, C] in [0, 1].
      views: their distribution.

    Returns:
      [B, H, W, C] in [0, 1], as a picture can show it.
    """
    count, height = images.shape[:2]
    # One draw for all: each call of the generator takes XLA a third of a second to compile.
    drawn = jax.random.uniform(key, (count, _POSE + images[0].size), minval=-1.0, maxval=1.0)
    turn, down, right, light, larger, noisier = drawn[:, :_POSE].T
    grain = drawn[:, _POSE:].reshape(images.shape)
    far = height * views.shift
    pose = Pose(
        down=far * down,
        right=far * right,
        turn=views.turn * turn,
        scale=views.smallest + (views.largest - views.smallest) * _share(larger),
    )
    brighter = views.light * light
    spread = views.noise * _share(noisier)
    seen = warp(images, pose)
    seen = seen + _like(brighter, images)
    seen = seen + _like(spread, images) * _gaussian(grain)
    return jnp.clip(seen, 0.0, 1.0)


def _gaussian(grain: Array) -> Array:
    """Return standard normal numbers from uniform ones in [-1, 1).

    -1 itself, which is drawn once in 8 million times, would be infinite, and times no noise NaN.
    """
    inside = jnp.maximum(grain, _LEAST)
    return math.sqrt(2) * jax.scipy.special.erfinv(inside)


def _share(number: Array) -> Array:
    """Return a number between -1 and 1 as one between 0 and 1."""
    return (number + 1) / 2


def _like(values: Array, images: Array) -> Array:
    return values.reshape(-1, *[1] * (images.ndim - 1))
