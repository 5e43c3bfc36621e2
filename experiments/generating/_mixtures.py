"""Mixtures of round Gaussians in the plane, and how well samples cover them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision.types import Array

GOOD = 3.0  # deviations from the nearest mode within which a sample is good


class Mixture(NamedTuple):
    """Equal parts of M round Gaussians.

    Attributes:
      centers: [M, 2].
      deviation: of each.
    """

    centers: Array
    deviation: Array

    def sample(self, key: Array, count: int, modes: Array | int | None = None) -> Array:
        """Return points [count, 2] of the first ``modes``, of all of them by default."""
        which_key, noise_key = jax.random.split(key)
        end = len(self.centers) if modes is None else modes
        which = jax.random.randint(
            which_key,
            (count,),
            0,
            end,
        )
        noise = self.deviation * jax.random.normal(noise_key, (count, 2))
        return jnp.asarray(self.centers)[which] + noise


class Covered(NamedTuple):
    """What samples make of a mixture; all []."""

    modes: Array  # those with one good sample or more
    good: Array  # share of samples that are good
    largest: Array  # share of samples nearest to the most popular mode


def ring(
    count: int = 8, radius: float = 2.0, deviation: float = 0.02, closed: bool = False
) -> Mixture:
    """Return ``count`` modes on a circle.

    ``closed``: as in the notebook of Metz et al. 2017 and in code copied from it, angles run from 0
    to 2 pi with both ends. The first mode and the last are then one, and it has double weight.
    """
    angles = np.linspace(
        0,
        2 * np.pi,
        count,
        endpoint=closed,
    )
    centers = radius * np.stack([np.cos(angles), np.sin(angles)], -1)
    return Mixture(np.float32(centers), np.float32(deviation))


def grid(side: int = 5, spacing: float = 1.0, deviation: float = 0.02) -> Mixture:
    """Return ``side`` x ``side`` modes around 0."""
    places = spacing * (np.arange(side) - (side - 1) / 2)
    centers = np.stack(np.meshgrid(places, places), -1).reshape(-1, 2)
    return Mixture(np.float32(centers), np.float32(deviation))


def distinct(mixture: Mixture) -> int:
    """Return how many different places the modes have."""
    return len(np.unique(np.round(mixture.centers, 4), axis=0))


def covered(samples: Array, mixture: Mixture) -> Covered:
    """Count modes and good samples of ``samples`` [N, 2].

    The rule of Srivastava et al. 2017 (VEEGAN): good is within 3 deviations of the nearest mode.
    """
    offsets = samples[:, None] - mixture.centers[None]
    distances = jnp.linalg.norm(offsets, axis=-1)
    is_nearest = jax.nn.one_hot(distances.argmin(1), len(mixture.centers))
    is_good = distances.min(1) <= GOOD * mixture.deviation
    of_mode = is_good.astype(jnp.float32) @ is_nearest
    return Covered(
        jnp.sum(of_mode > 0),
        jnp.mean(is_good),
        is_nearest.mean(0).max(),
    )
