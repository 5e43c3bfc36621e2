"""Normalizing and augmenting on the device, as pure functions that run inside the compiled step."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.data.dataset import Dataset
from jaxvision.data.warps import Pose, warp
from jaxvision.types import Array, UserError

_SCALED_BY = 5000  # images behind the scale of ``standardizer``


def per_pixel_mean(images: np.ndarray) -> np.ndarray:
    """Return the mean image, float32 [H, W, C] in the images' units (0..255), from exact sums.

    Images of other types than uint8 are summed in double precision.

    Source: He et al. 2015, arXiv:1512.03385, section 4.2: "with the per-pixel mean subtracted".
    """
    of_all, of_some = np.float64, np.float64
    if images.dtype == np.uint8:
        of_all, of_some = np.int64, np.uint16  # 257 times 255 still is a uint16
    total = np.zeros(images.shape[1:], of_all)
    for start in range(0, len(images), 256):
        some = images[start : start + 256]
        total += np.add.reduce(some, 0, of_some)
    return (total / len(images)).astype(np.float32)


def normalize(images: Array, mean: Array, std: Array | float = 1.0) -> Array:
    """Return ``(images - mean) / std`` in float32.

    Args:
      images: uint8 [B, H, W, C].
      mean: [C] or [H, W, C], in pixel units (0..255).
      std: the same.
    """
    pixels = images.astype(jnp.float32)
    mean = jnp.broadcast_to(mean, pixels.shape)
    std = jnp.broadcast_to(std, pixels.shape)
    return (pixels - mean) / std


def standardizer(train: Dataset) -> Callable[[Array, Array | None], Array]:
    """Return a preprocessing for ``Task``: the per-pixel mean off, divided by one scale.

    The mean is that of all training images; the scale is the standard deviation of the centered
    pixels of 5,000 of them, drawn with every class in its share (all of them where there are no
    more). So a set that is stored class by class gives the same as a shuffled one.

    Returns:
      ``(images, key) -> inputs``: images [B, H, W, C] in units of the training images, inputs
      float32 of mean 0 and standard deviation 1 over these. The key is not used.

    Raises:
      UserError: the images are all alike, so there is no scale.
    """
    mean = per_pixel_mean(train.images)
    some = train.sample(_SCALED_BY)
    scale = float(np.std(some.images - mean))
    if scale == 0.0:
        raise UserError(
            "the training images are all alike, so their pixels have no scale to divide by: look"
            " at the data set"
        )

    def preprocess(images: Array, key: Array | None) -> Array:
        del key
        return normalize(images, mean, scale)

    return preprocess


def shrink(images: Array, factor: int) -> Array:
    """Return images [B, H, W, C] averaged over squares of ``factor`` pixels, the rest cut off."""
    b, h, w, c = images.shape
    h = h // factor
    w = w // factor
    whole = images[:, : h * factor, : w * factor]
    squares = whole.reshape(b, h, factor, w, factor, c)
    return squares.mean((2, 4))


def turned(key: Array, images: Array, most: float) -> Array:
    """Turn each image by an angle of its own, uniform on -``most`` to ``most`` degrees.

    Args:
      key: a typed key; the same key gives the same angles.
      images: [B, H, W, C] in pixel units; what turns in is 0, black.
      most: degrees.

    Returns:
      float32 [B, H, W, C].
    """
    angles = jax.random.uniform(key, (len(images),), minval=-most, maxval=most)
    return warp(images.astype(jnp.float32), Pose(turn=angles))


def pad_crop_flip(key: Array, images: Array, pad: int = 4) -> Array:
    """Shift each image by up to ``pad`` pixels and mirror half of them; what moves in is zero.

    Source: He et al. 2015, arXiv:1512.03385, section 4.2: "4 pixels are padded on each side, and a
    32x32 crop is randomly sampled from the padded image or its horizontal flip".

    Args:
      key: a typed key; the same key gives the same crops.
      images: [B, H, W, C] of any dtype. Zero is black before ``normalize``, the mean color after.
      pad: pixels; the offsets are uniform on {0..2 pad} in each direction.
    """
    b, h, w, _ = images.shape
    corner_key, flip_key = jax.random.split(key)
    shifts = jax.random.randint(corner_key, (b, 2), -pad, pad + 1)
    down, across = jnp.split(shifts, 2, axis=1)
    rows = down + jnp.arange(h)[None]
    columns = across + jnp.arange(w)[None]
    flips = jax.random.bernoulli(flip_key, 0.5, (b, 1))
    columns = jnp.where(flips, columns[:, ::-1], columns)
    # Two gathers that fill zeros outside need no padded copy. Inside a scan on CPU they cost a
    # tenth of vmap(dynamic_slice). A negative index would count from the end: moved beyond it.
    rows = jnp.where(rows < 0, h, rows)
    columns = jnp.where(columns < 0, w, columns)
    take = functools.partial(
        jnp.take_along_axis,
        mode="fill",
        fill_value=0,
    )
    shifted = take(images, rows[:, :, None, None], 1)
    return take(shifted, columns[:, None, :, None], 2)
