"""Genomes of images: a gene a pixel. Networks that paint are in ``cppn.py``.

Source: Nguyen, Yosinski & Clune 2015 (arXiv 1412.1897): every pixel is a gene, drawn evenly; a
tenth of the genes mutates, by Deb's polynomial with index 15.
"""

import jax
import jax.numpy as jnp

from jaxvision.adversarial.elites import Encoding
from jaxvision.types import Array

MUTATION_RATE = 0.1
INDEX = 15.0  # eta of the polynomial: the larger, the smaller the steps

ImageShape = tuple[int, int, int]  # H, W, C


def direct(shape: ImageShape) -> Encoding:
    """Return the encoding with a gene for every value of every pixel, drawn evenly from [0, 1]."""
    return Encoding(
        draw=lambda key: jax.random.uniform(key, shape),
        mutate=polynomial_mutation,
        express=lambda genome: genome,
    )


def binary_noise(shape: ImageShape) -> Encoding:
    """Return an encoding whose draws are black and white, each image with a share of its own.

    The strongest simple noise: for a search that only draws. Mutation is that of ``direct``.
    """

    def draw(key: Array) -> Array:
        share_key, pixel_key = jax.random.split(key)
        share = jax.random.uniform(share_key)
        return (jax.random.uniform(pixel_key, shape) < share).astype(jnp.float32)

    return direct(shape)._replace(draw=draw)


def polynomial_mutation(
    key: Array, genes: Array, rate: float = MUTATION_RATE, index: float = INDEX
) -> Array:
    """Return genes in [0, 1] of which a share ``rate`` has moved, by Deb's polynomial of ``index``.

    A step d has density (index + 1) (1 - abs(d))^index / 2 on [-1, 1]; what leaves [0, 1] is cut.
    """
    which, size = jax.random.uniform(key, (2, *genes.shape))
    return moved(which, size, genes, rate, index)


def moved(
    which: Array,
    size: Array,
    genes: Array,
    rate: float = MUTATION_RATE,
    index: float = INDEX,
) -> Array:
    """Return ``polynomial_mutation`` by numbers drawn evenly from [0, 1): if and how far."""
    even = 2 * size - 1
    # Below 1/2 the step is (2 size)^(1 / (index + 1)) - 1; above, its mirror image.
    step = jnp.sign(even) * (1 - (1 - jnp.abs(even)) ** (1 / (index + 1)))
    return jnp.where(which < rate, jnp.clip(genes + step, 0.0, 1.0), genes)
