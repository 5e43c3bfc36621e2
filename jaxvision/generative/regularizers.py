"""What calms the players of a GAN: penalties on the discriminator's slope, noise, spectral norm."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxvision.trees import named_leaves
from jaxvision.types import Array, PyTree

Judge = Callable[[Array], Array]  # examples [B, ...] -> logits [B]


def slopes(judge: Judge, examples: Array) -> Array:
    """Return the norm of each logit's gradient by its example, [B].

    Where a norm is zero its own gradient is taken to be zero, not a NaN.

    Args:
      judge: the discriminator.
      examples: [B, ...].
    """
    squared = _squared_slopes(judge, examples)
    flat = squared == 0
    return jnp.where(
        flat,
        0.0,
        jnp.sqrt(
            jnp.where(
                flat,
                1.0,
                squared,
            )
        ),
    )


def r1(judge: Judge, real: Array, gamma: Array | float) -> Array:
    """Return gamma / 2 times the mean squared slope of the discriminator at real examples, [].

    Source: Mescheder, Geiger & Nowozin 2018 (arXiv 1801.04406), equation 9. The authors' code
    multiplies by 10 without the half: 20 in these units.

    Args:
      judge: the discriminator.
      real: [B, ...].
      gamma: strength.
    """
    return 0.5 * gamma * _squared_slopes(judge, real).mean()


def gradient_penalty(
    judge: Judge, examples: Array, strength: Array | float, target: float = 1.0
) -> Array:
    """Return ``strength`` / 2 times the mean of (slope - target)^2, [].

    Source: Gulrajani et al. 2017 (arXiv 1704.00028), who take ``strength`` 20 in these units, at
    points between real and generated examples.

    Args:
      judge: the discriminator.
      examples: [B, ...].
      strength: of the penalty.
      target: the slope that costs nothing.
    """
    return 0.5 * strength * jnp.square(slopes(judge, examples) - target).mean()


def with_noise(examples: Array, key: Array, sigma: Array | float) -> Array:
    """Return examples plus Gaussian noise of deviation ``sigma``: instance noise.

    Source: Soenderby et al. 2017 (arXiv 1610.04490). Real and generated examples both get it.
    """
    return examples + sigma * jax.random.normal(
        key,
        examples.shape,
        examples.dtype,
    )


def _squared_slopes(judge: Judge, examples: Array) -> Array:
    gradients = jax.grad(lambda x: judge(x).sum())(examples)
    flat = gradients.reshape(len(examples), -1)
    return jnp.square(flat).sum(-1)


def start_vectors(params: PyTree, key: Array) -> dict[str, Array]:
    """Return a random unit vector [O] for each kernel, by name: where power iteration starts."""
    vectors = {}
    for i, (name, kernel) in enumerate(_kernels(params).items()):
        one = jax.random.fold_in(key, i)
        vectors[name] = _unit(jax.random.normal(one, kernel.shape[-1:]))
    return vectors


def spectrally_normalized(
    params: PyTree, vectors: dict[str, Array], rounds: int = 1
) -> tuple[PyTree, dict[str, Array]]:
    """Return the parameters with every kernel over its largest singular value, and new vectors.

    Source: Miyato et al. 2018 (arXiv 1802.05957): power iteration, one round a step, from where the
    last step ended; the gradient takes the vectors as given. Kernels are leaves named ``kernel``,
    [..., O], seen as matrices [product of the others, O].

    Args:
      params: nested parameters.
      vectors: from ``start_vectors`` or the step before.
      rounds: of power iteration.
    """
    turned = {}
    leaves = []
    for name, leaf in named_leaves(params).items():
        if name in vectors:
            matrix = leaf.reshape(-1, leaf.shape[-1])
            turned[name] = _turned(
                matrix,
                vectors[name],
                rounds,
            )
            leaf = leaf / _stretch(matrix, turned[name])
        leaves.append(leaf)
    structure = jax.tree.structure(params)
    return jax.tree.unflatten(structure, leaves), turned


def _kernels(params: PyTree) -> dict[str, Array]:
    return {
        name: leaf for name, leaf in named_leaves(params).items() if name.split("/")[-1] == "kernel"
    }


def _turned(matrix: Array, vector: Array, rounds: int) -> Array:
    """Return ``vector`` [O] turned towards the largest right singular vector of [I, O]."""
    for _ in range(rounds):
        vector = _unit(_unit(matrix @ vector) @ matrix)
    return jax.lax.stop_gradient(vector)


def _stretch(matrix: Array, vector: Array) -> Array:
    """Return |W v| for a unit vector v, its gradient that of u^T W v with u held."""
    left = jax.lax.stop_gradient(_unit(matrix @ vector))
    return left @ (matrix @ vector)


def _unit(vector: Array) -> Array:
    return vector / (jnp.linalg.norm(vector) + 1e-12)
