"""The field that both players of a game follow: its Jacobian, its eigenvalues, the path angle.

The flow is w' = F(w), w all weights of both players as one vector, F minus the gradient that each
takes of its own loss by its own weights. F is no gradient of one function: its Jacobian is not
symmetric, and its eigenvalues may be complex. Near a rest point of F a real part below zero means
that the flow falls in, an imaginary part that it turns. Where all real parts are zero the
linear part decides nothing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from scipy.sparse.linalg import LinearOperator, eigs

from jaxvision.generative.players import Game, GameState, gradients
from jaxvision.types import Array, PyTree, UserError

LARGEST_DENSE = 4096  # weights of both players whose Jacobian is made whole

VectorField = Callable[[Array], Array]  # weights [n] -> velocity [n]


class Field(NamedTuple):
    """A game's field around the weights of a state.

    Attributes:
      velocity: weights [n] -> F [n], the generator's weights first.
      point: [n], the state's weights.
      generators: how many of the n are the generator's.
    """

    velocity: VectorField
    point: Array
    generators: int


def field(game: Game, state: GameState, batch: PyTree, key: Array) -> Field:
    """Return the field of a game: batch, key and batch statistics are held, the weights are free.

    Args:
      game: the players; their optimizers do not matter.
      state: of the game.
      batch: as a step takes it.
      key: as a step takes it.
    """
    both = state.generator.params, state.discriminator.params
    point, unravel = ravel_pytree(both)
    generators = sum(leaf.size for leaf in jax.tree.leaves(state.generator.params))

    # The same draws at every place are meant: the field is one function of the weights.
    held, kind = jax.random.key_data(key), jax.random.key_impl(key)

    def velocity(weights: Array) -> Array:
        draws = jax.random.wrap_key_data(held, impl=kind)
        found = gradients(
            game,
            state.placed(*unravel(weights)),
            batch,
            draws,
        )
        return -ravel_pytree(tuple(each.gradient for each in found))[0]

    return Field(velocity, point, generators)


def jacobian(velocity: VectorField, point: Array) -> Array:
    """Return the whole Jacobian [n, n] of a field at a point [n]; traceable.

    Raises:
      UserError: there are too many weights; ``leading_eigenvalues`` needs no matrix.
    """
    if point.size > LARGEST_DENSE:
        raise UserError(
            f"the Jacobian of {point.size:,} weights is too large to make: use"
            f" leading_eigenvalues, or nets of at most {LARGEST_DENSE:,} weights in all"
        )
    return jax.jacfwd(velocity)(point)


def eigenvalues(matrices: Array | np.ndarray) -> np.ndarray:
    """Return all eigenvalues complex [..., n] of matrices [..., n, n], by falling real part.

    On the host, in float64. A matrix with a number that is not finite has none: NaN.
    """
    matrices = np.asarray(matrices, np.float64)
    finite = np.isfinite(matrices).all((-1, -2))
    found = np.full(matrices.shape[:-1], np.nan + 0j)
    found[finite] = np.linalg.eigvals(matrices[finite])
    order = np.argsort(
        -found.real,
        axis=-1,
        kind="stable",
    )
    return np.take_along_axis(found, order, axis=-1)


def leading_eigenvalues(
    velocity: VectorField, point: Array, count: int = 6, which: str = "LR"
) -> np.ndarray:
    """Return some eigenvalues complex [count] of a field's Jacobian without making it.

    By ARPACK on products with the Jacobian; ``n`` must be at least ``count`` + 2.

    Args:
      velocity: the field.
      point: [n].
      count: how many.
      which: those of largest real part ("LR"), smallest ("SR"), largest imaginary part ("LI") or
        largest modulus ("LM").
    """
    size = point.size

    @jax.jit
    def product(vector: Array) -> Array:
        return jax.jvp(
            velocity,
            (point,),
            (vector,),
        )[1]

    def multiply(vector: np.ndarray) -> np.ndarray:
        narrow = vector.ravel().astype(point.dtype)
        return np.asarray(product(narrow), np.float64)

    operator = LinearOperator(
        (size, size),
        matvec=multiply,
        dtype=np.float64,
    )
    start = np.ones(size) / np.sqrt(size)  # ARPACK's own would differ from call to call
    found = eigs(
        operator,
        count,
        which=which,
        v0=start,
        tol=1e-6,
        return_eigenvectors=False,
    )
    return found[np.argsort(-found.real, kind="stable")]


class Path(NamedTuple):
    """A field along a straight line; both are [P].

    Attributes:
      angle: the cosine between the field and the line's direction.
      norm: of the field.
    """

    angle: Array
    norm: Array


def path(velocity: VectorField, start: Array, end: Array, places: Array) -> Path:
    """Return the field along the line from ``start`` [n] to ``end`` [n].

    Source: Berard et al. 2020 (arXiv 1906.04848), section 4.3. There the field has the other sign,
    and so has the angle. If the end attracts along the line, the angle falls through zero at place
    1; a bump there speaks of rotation.

    Args:
      velocity: the field.
      start: weights at place 0.
      end: weights at place 1.
      places: [P].
    """
    line = end - start
    length = jnp.linalg.norm(line)

    def at(place: Array) -> Path:
        there = velocity(start + place * line)
        norm = jnp.linalg.norm(there)
        return Path(there @ line / (norm * length), norm)

    return jax.lax.map(at, places)
