"""Ways between two codes of a generator, and where they leave what the prior draws.

The prior is uniform on the cube [-1, 1]^Z. A straight line stays in it, but its middle is nearer to
the center than codes are: E |z|^2 is Z / 6 there, Z / 3 at the ends. Along a great circle (slerp)
the length stays and coordinates leave the cube: at the middle of two codes at a right angle,
(2 - sqrt 2)^2 / 4 = 8.6 % of them. Where the great circle is gone in Gaussian scores (the normal
quantiles of the coordinates), every point of it is distributed as the prior is.
"""

from collections.abc import Callable

import numpy as np
import scipy

from jaxvision.random import stream

Way = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
MIDDLE_OF_LINE = 1 / 6  # mean square of a coordinate
OUTSIDE_BY_SLERP = (2 - 2**0.5) ** 2 / 4  # share of coordinates beyond the cube, at the middle


def drawn(seed: int, counter: int, count: int, size: int) -> np.ndarray:
    """Return codes [count, size], uniform on the cube."""
    from jax import random  # keys alone

    key = stream(seed, "latent", counter)
    return np.asarray(random.uniform(key, (count, size), minval=-1.0))


def line(one: np.ndarray, other: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return points [P, T, Z] on straight lines from codes [P, Z] to others, at places [T]."""
    at = places[None, :, None]
    return (1 - at) * one[:, None] + at * other[:, None]


def slerp(one: np.ndarray, other: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return points on great circles (Shoemake 1985; White 2016, arXiv 1609.04468)."""
    cosine = (_direction(one) * _direction(other)).sum(1)
    angle = np.arccos(np.clip(cosine, -1, 1))[:, None, None]
    at = places[None, :, None]
    of_one = np.sin((1 - at) * angle)
    of_other = np.sin(at * angle)
    mixed = of_one * one[:, None] + of_other * other[:, None]
    return mixed / np.sin(angle)


def scores(one: np.ndarray, other: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Return points on a quarter circle in Gaussian scores: each is distributed as the prior."""
    first = _score(one)[:, None]
    second = _score(other)[:, None]
    turn = np.pi / 2 * places[None, :, None]
    mixed = np.cos(turn) * first + np.sin(turn) * second
    return 2 * scipy.special.ndtr(mixed) - 1


WAYS: dict[str, Way] = {"line": line, "slerp": slerp, "scores": scores}


def mean_square(codes: np.ndarray) -> float:
    """Return the mean square of a coordinate."""
    return float(np.square(codes).mean())


def outside(codes: np.ndarray) -> float:
    """Return the share of coordinates beyond the cube."""
    return float((np.abs(codes) > 1).mean())


def _direction(codes: np.ndarray) -> np.ndarray:
    return codes / np.linalg.norm(codes, axis=1, keepdims=True)


def _score(codes: np.ndarray) -> np.ndarray:
    shares = (np.float64(codes) + 1) / 2
    return scipy.special.ndtri(shares)
