"""Spectra of Jacobians and Hessians, and the empirical neural tangent kernel.

Exact for small functions; matrix-free for others, by Krylov methods with full reorthogonalization
on products with the matrix. Everything is pure, its sizes static: jit and vmap as you like (several
probes: ``vmap`` over keys). A net with batch norm must be handed over as the function that is
meant, in train or in eval mode: their spectra differ.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxvision.types import Array, PyTree, UserError

MatrixVector = Callable[[Array], Array]


# One matrix after the other, also under ``vmap``: LAPACK on a batch hands parts of it to XLA's pool
# of threads and waits inside that pool. Two devices that do so at once wait forever (seen in jaxlib
# 0.10.2).
@jax.custom_batching.sequential_vmap
def singular_values(matrix: Array) -> Array:
    """Return the singular values of ``matrix`` [m, n], descending, [min(m, n)]."""
    return jnp.linalg.svd(matrix, compute_uv=False)


_svd = jax.custom_batching.sequential_vmap(lambda matrix: tuple(jnp.linalg.svd(matrix)))
_eigh = jax.custom_batching.sequential_vmap(lambda matrix: tuple(jnp.linalg.eigh(matrix)))


class Quadrature(NamedTuple):
    """A spectrum as a random vector sees it: weights @ g(nodes) estimates the mean of g over it.

    The extreme nodes converge first, from the inside; a repeated eigenvalue appears once.
    """

    nodes: Array  # [..., steps], ascending
    weights: Array  # [..., steps], >= 0, of sum 1


def jacobian(function: Callable[[Array], Array], x: Array) -> Array:
    """Return the Jacobian of ``function`` at ``x`` with flattened sides, [outputs, inputs]."""
    out = jax.eval_shape(function, x)
    mode = jax.jacfwd if x.size <= out.size else jax.jacrev
    return mode(function)(x).reshape(out.size, x.size)


def jacobian_singular_values(function: Callable[[Array], Array], x: Array) -> Array:
    """Return every singular value of the Jacobian at ``x``, descending, [min(outputs, inputs)]."""
    return singular_values(jacobian(function, x))


def wrapped_conv_singular_values(kernel: Array, height: int, width: int) -> Array:
    """Return every singular value of a convolution on a torus at stride 1, descending.

    They are those of the kernel's Fourier transform [I, O] at each frequency; the first is the
    operator norm. Source: Sedghi et al. 2019 (arXiv 1805.10408).

    Args:
      kernel: [kh, kw, I, O].
      height: of the maps.
      width: likewise.

    Raises:
      UserError: the kernel is larger than the maps.
    """
    rows, columns, *channels = kernel.shape
    if rows > height or columns > width:
        raise UserError(f"a kernel of {rows} x {columns} is larger than maps of {height} x {width}")
    waves = jnp.fft.fft2(kernel, (height, width), axes=(0, 1))
    found = jax.vmap(singular_values)(waves.reshape(-1, *channels))
    return -jnp.sort(-found.ravel())


def jacobian_quadrature(
    function: Callable[[Array], Array], x: Array, key: Array, steps: int
) -> Quadrature:
    """Return the singular values of the Jacobian at ``x`` without forming it, ``steps`` nodes.

    Golub-Kahan bidiagonalization by jvp and vjp, two products a step. Exact (up to repeated values)
    at ``steps`` = min(outputs, inputs), the most that makes sense.
    """
    out, backward = jax.vjp(function, x)
    _, forward = jax.linearize(function, x)

    def multiply(vector: Array) -> Array:
        return forward(vector.reshape(x.shape)).ravel()

    def multiply_transposed(vector: Array) -> Array:
        return backward(vector.reshape(out.shape))[0].ravel()

    # From the smaller side, or the starting vector would lie partly in the null space.
    if out.size < x.size:
        multiply, multiply_transposed = multiply_transposed, multiply
    start = jax.random.normal(key, (min(out.size, x.size),), x.dtype)
    diagonal, above = bidiagonalize(multiply, multiply_transposed, start, steps)
    _, nodes, right = _svd(jnp.diag(diagonal) + jnp.diag(above, 1))
    return Quadrature(nodes[::-1], jnp.square(right[::-1, 0]))


def hessian_vector_product(
    loss: Callable[[PyTree], Array], params: PyTree
) -> Callable[[PyTree], PyTree]:
    """Return the product of the Hessian of ``loss`` at ``params`` with a tree like ``params``."""
    return jax.linearize(jax.grad(loss), params)[1]


def hessian_quadrature(
    loss: Callable[[PyTree], Array], params: PyTree, key: Array, steps: int
) -> Quadrature:
    """Return the spectrum of the Hessian of ``loss`` at ``params`` by Lanczos, ``steps`` nodes.

    The mean over keys of sums over nodes is stochastic Lanczos quadrature.
    """
    flat, unravel = ravel_pytree(params)
    product = hessian_vector_product(loss, params)
    start = jax.random.normal(key, flat.shape, flat.dtype)
    diagonal, off_diagonal = lanczos(
        lambda vector: ravel_pytree(product(unravel(vector)))[0], start, steps
    )
    tridiagonal = jnp.diag(diagonal) + jnp.diag(off_diagonal, 1) + jnp.diag(off_diagonal, -1)
    nodes, vectors = _eigh(tridiagonal)
    return Quadrature(nodes, jnp.square(vectors[0]))


def sharpness(
    loss: Callable[[PyTree], Array], params: PyTree, key: Array, steps: int = 30
) -> Array:
    """Return the largest eigenvalue of the Hessian of ``loss`` at ``params``, a lower bound.

    ``steps`` Hessian-vector products.
    """
    return hessian_quadrature(loss, params, key, steps).nodes[-1]


def lanczos(multiply: MatrixVector, start: Array, steps: int) -> tuple[Array, Array]:
    """Tridiagonalize a symmetric matrix from ``start`` [n].

    Returns:
      The diagonal [steps] and the off-diagonal [steps - 1]. Where the Krylov space ends early, the
      rest of the diagonal repeats its first entry, uncoupled: inside the spectrum, of weight zero.
    """

    def step(j: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        basis, vector, diagonal, off_diagonal = state
        basis = basis.at[j].set(vector)
        product = multiply(vector)
        alpha = jnp.where(_ended(vector), diagonal[0], vector @ product)
        beta, vector = _normalize(_orthogonalize(product, basis), jnp.linalg.norm(product))
        return basis, vector, diagonal.at[j].set(alpha), off_diagonal.at[j].set(beta)

    basis = jnp.zeros((steps, start.size), start.dtype)
    zeros = jnp.zeros(steps, start.dtype)
    state = (basis, start / jnp.linalg.norm(start), zeros, zeros)
    _, _, diagonal, off_diagonal = jax.lax.fori_loop(0, steps, step, state)
    return diagonal, off_diagonal[:-1]


def bidiagonalize(
    multiply: MatrixVector, multiply_transposed: MatrixVector, start: Array, steps: int
) -> tuple[Array, Array]:
    """Reduce a matrix [m, n], m >= n, to upper bidiagonal form from ``start`` [n].

    Returns:
      The diagonal [steps] and the superdiagonal [steps - 1]; an early end as in ``lanczos``.
    """
    rows = jax.eval_shape(multiply, start).size

    def step(j: Array, state: tuple[Array, ...]) -> tuple[Array, ...]:
        left, right, vector, diagonal, above = state
        right = right.at[j].set(vector)
        product = multiply(vector)
        alpha, unit = _normalize(_orthogonalize(product, left), jnp.linalg.norm(product))
        left = left.at[j].set(unit)
        diagonal = diagonal.at[j].set(jnp.where(_ended(vector), diagonal[0], alpha))
        product = multiply_transposed(unit)
        beta, vector = _normalize(_orthogonalize(product, right), jnp.linalg.norm(product))
        return left, right, vector, diagonal, above.at[j].set(beta)

    left = jnp.zeros((steps, rows), start.dtype)
    right = jnp.zeros((steps, start.size), start.dtype)
    zeros = jnp.zeros(steps, start.dtype)
    state = (left, right, start / jnp.linalg.norm(start), zeros, zeros)
    _, _, _, diagonal, above = jax.lax.fori_loop(0, steps, step, state)
    return diagonal, above[:-1]


def _orthogonalize(vector: Array, basis: Array) -> Array:
    # Twice is enough, and once is not: the first pass leaves what cancellation took away.
    for _ in range(2):
        vector = vector - (basis @ vector) @ basis
    return vector


def _normalize(vector: Array, scale: Array) -> tuple[Array, Array]:
    """Return norm and direction, both zero where the norm is rounding error at ``scale``."""
    norm = jnp.linalg.norm(vector)
    nothing = norm <= 20 * jnp.finfo(vector.dtype).eps * scale
    direction = jnp.where(nothing, 0, vector / jnp.where(nothing, 1, norm))
    return jnp.where(nothing, 0, norm), direction


def _ended(vector: Array) -> Array:
    return jnp.all(vector == 0)


def neural_tangent_kernel(function: Callable[[PyTree], Array], params: PyTree) -> Array:
    """Return J J^T, J the Jacobian of the outputs by the parameters, [outputs, outputs].

    Args:
      function: params -> outputs (any shape, flattened), the batch of inputs inside it.
      params: nested parameters.
    """
    out, backward = jax.vjp(function, params)
    _, forward = jax.linearize(function, params)

    def column(unit: Array) -> Array:
        return forward(backward(unit.reshape(out.shape))[0]).ravel()

    # In chunks: all rows of J at once would need outputs x parameters numbers.
    return jax.lax.map(column, jnp.eye(out.size, dtype=out.dtype), batch_size=32)


def relative_drift(kernel: Array, initial: Array) -> Array:
    """Return ||kernel - initial|| / ||initial|| (Frobenius)."""
    return jnp.linalg.norm(kernel - initial) / jnp.linalg.norm(initial)
