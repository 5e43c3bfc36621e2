"""Normalizing and augmenting on the device, as pure functions that run inside the compiled step."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.types import Array


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of each channel, in pixel units (0..255).

    Taken from the histogram: exact sums, whatever the order of the images. A channel that never
    changes gets standard deviation 1: normalizing then gives zeros.

    Args:
      images: uint8 [N, H, W, C], the training split.

    Returns:
      mean, std: float32 [C].
    """
    values = np.arange(256)
    counts = np.zeros((images.shape[-1], 256), np.int64)
    for start in range(0, len(images), 1024):  # bincount widens its input eightfold
        for channel, count in enumerate(counts):
            count += np.bincount(images[start : start + 1024, ..., channel].ravel(), minlength=256)
    pixels = images.size // images.shape[-1]
    mean = counts @ values / pixels
    std = np.sqrt(np.maximum(counts @ values**2 / pixels - mean**2, 0.0))
    return mean.astype(np.float32), np.where(std == 0, 1.0, std).astype(np.float32)


def per_pixel_mean(images: np.ndarray) -> np.ndarray:
    """Return the mean image, float32 [H, W, C] in pixel units (0..255), from exact sums.

    Source: He et al. 2015, arXiv:1512.03385, section 4.2: "with the per-pixel mean subtracted".
    """
    total = np.zeros(images.shape[1:], np.int64)
    for start in range(0, len(images), 256):  # 257 times 255 still is a uint16
        total += np.add.reduce(images[start : start + 256], 0, np.uint16)
    return (total / len(images)).astype(np.float32)


def normalize(images: Array, mean: Array, std: Array | float = 1.0) -> Array:
    """Return ``(images - mean) / std`` in float32.

    Args:
      images: uint8 [B, H, W, C].
      mean: [C] or [H, W, C], in pixel units (0..255).
      std: the same.
    """
    pixels = images.astype(jnp.float32)
    return (pixels - jnp.broadcast_to(mean, pixels.shape)) / jnp.broadcast_to(std, pixels.shape)


def shrink(images: Array, factor: int) -> Array:
    """Return images [B, H, W, C] averaged over squares of ``factor`` pixels, the rest cut off."""
    b, h, w, c = images.shape
    h, w = h // factor, w // factor
    images = images[:, : h * factor, : w * factor]
    return images.reshape(b, h, factor, w, factor, c).mean((2, 4))


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
    rows = shifts[:, :1] + jnp.arange(h)[None]
    columns = shifts[:, 1:] + jnp.arange(w)[None]
    flips = jax.random.bernoulli(flip_key, 0.5, (b, 1))
    columns = jnp.where(flips, columns[:, ::-1], columns)
    # Two gathers that fill zeros outside need no padded copy. Inside a scan on CPU they cost a
    # tenth of vmap(dynamic_slice). A negative index would count from the end: moved beyond it.
    rows, columns = jnp.where(rows < 0, h, rows), jnp.where(columns < 0, w, columns)
    take = functools.partial(jnp.take_along_axis, mode="fill", fill_value=0)
    return take(take(images, rows[:, :, None, None], 1), columns[:, None, :, None], 2)
