"""Pixels as generators paint them, in [-1, 1], and as images hold them, in gray levels."""

import jax.numpy as jnp

from jaxvision.types import Array


def scaled(images: Array) -> Array:
    """Return pixels of 0 to 255 as float32 in [-1, 1]."""
    return images.astype(jnp.float32) / 127.5 - 1


def levels(images: Array) -> Array:
    """Return images in [-1, 1] as uint8; gray where they are not a number."""
    finite = jnp.nan_to_num(images)
    rounded = jnp.round(127.5 * (finite + 1))
    return jnp.clip(rounded, 0, 255).astype(jnp.uint8)
