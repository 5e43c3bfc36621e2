"""How codes stand for pictures: in which coordinates an ascent takes its steps.

``pixels`` are a picture minus a center, ``fourier`` its waves in colors that do not go together,
and ``prior`` whatever a function makes of a code, such as a generator that has learned pictures.

Source of ``fourier``: Olah et al. 2017, Feature Visualization
(https://distill.pub/2017/feature-visualization), and their code, lucid. It is no penalty: every
picture has a code, and steps of one length go far along waves that natural pictures are made of.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.arguments import check_whole
from jaxvision.types import Array, UserError

SOFTNESS = 4.0  # lucid divides waves by it before the sigmoid; the source does not say why
SPREAD = 0.01  # standard deviation of a first code
_INDEPENDENT = 1e-6  # of the largest singular value: what is less is rounding


class Parametrization(NamedTuple):
    """Pictures by codes.

    Attributes:
      decode: codes [B, ...] -> pictures [B, H, W, C].
      encode: pictures -> codes, the inverse where there is one; None where there is none.
      project: codes -> the nearest that are allowed.
    """

    decode: Callable[[Array], Array]
    encode: Callable[[Array], Array] | None
    project: Callable[[Array], Array]


def pixels(center: Array, low: float = 0.0, high: float = 1.0) -> Parametrization:
    """Return pictures by their difference from ``center`` [H, W, C], the training mean say.

    So decay and L2 pull towards the mean. Pictures are kept within ``low`` and ``high``.
    """
    middle = jnp.asarray(center)[None]

    def decode(codes: Array) -> Array:
        return middle + codes

    def encode(pictures: Array) -> Array:
        return pictures - middle

    def project(codes: Array) -> Array:
        return jnp.clip(codes, low - middle, high - middle)

    return Parametrization(decode, encode, project)


def fourier(height: int, width: int, colors: np.ndarray) -> Parametrization:
    """Return pictures in (0, 1) by their waves, of equal energy at every frequency.

    A picture is the sigmoid of ``colors`` times the Hartley transform of weighted codes: the real
    form of Fourier's, H x W waves for H x W pixels. Codes have the pictures' shape [B, H, W, C];
    codes of variance 1 have, before the sigmoid, colors of a covariance in proportion to
    ``colors @ colors.T`` and amplitudes that fall as 1 / frequency. Where colors depend on each
    other, as those of gray images saved as RGB, pictures have no others; ``encode`` gives the code
    of the picture nearest before the sigmoid.

    Args:
      height: H.
      width: W.
      colors: [C, C], such as ``color_root``; scaled so that its longest column has norm 1.

    Raises:
      UserError: all colors are 0, as those of images of one color are; or a side that is no whole
        number of pixels.
    """
    check_whole("height", height, 1)
    check_whole("width", width, 1)
    longest = np.linalg.norm(colors, axis=0).max()
    if not longest > 0:
        raise UserError("the pictures have one color: there is nothing to decorrelate")
    mixing = colors / longest
    mix = np.float32(mixing.T)
    unmix = np.float32(np.linalg.pinv(mixing.T, rcond=_INDEPENDENT))
    weights = _weights(height, width)

    def decode(codes: Array) -> Array:
        waves = hartley(codes * weights)
        return jax.nn.sigmoid(waves @ mix)

    def encode(pictures: Array) -> Array:
        odds = pictures / (1 - pictures)
        waves = jnp.log(odds) @ unmix
        return hartley(waves) / weights

    return Parametrization(decode, encode, lambda codes: codes)


def prior(
    decode: Callable[[Array], Array], low: float = -np.inf, high: float = np.inf
) -> Parametrization:
    """Return the pictures that a function makes of codes, which are kept between two bounds."""

    def project(codes: Array) -> Array:
        return jnp.clip(codes, low, high)

    return Parametrization(decode, None, project)


def color_root(images: np.ndarray) -> np.ndarray:
    """Return R [C, C], R @ R.T the covariance of the colors of pixels, images uint8 [N, H, W, C].

    Of pixels in [0, 1].
    """
    channels = images.shape[-1]
    values = images.reshape(-1, channels) / 255.0
    covariance = np.cov(values, rowvar=False, bias=True)
    variances, axes = np.linalg.eigh(np.atleast_2d(covariance))
    deviations = np.sqrt(np.maximum(variances, 0))
    return axes * deviations


def hartley(pictures: Array) -> Array:
    """Return the two-dimensional Hartley transform of [B, H, W, C]: orthogonal, its own inverse."""
    spectrum = jnp.fft.fft2(pictures, axes=(1, 2), norm="ortho")
    return spectrum.real - spectrum.imag


def _weights(height: int, width: int) -> np.ndarray:
    """Return what a code of every wave is multiplied by, float32 [1, H, W, 1].

    The root of 2 makes a code move the picture as far as one of lucid's, which are real and
    imaginary parts of half the waves.
    """
    down = np.fft.fftfreq(height)[:, None]
    across = np.fft.fftfreq(width)[None]
    frequency = np.hypot(down, across)
    lowest = 1 / max(height, width)
    wavelength = 1 / np.maximum(frequency, lowest)
    weights = np.sqrt(2) / SOFTNESS * wavelength
    return np.float32(weights)[None, :, :, None]
