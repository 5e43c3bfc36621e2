"""Adversarial training: each step's images turned against the net that learns from them.

The loss is ``alpha J(x) + (1 - alpha) J(x')`` with x' near x in every pixel (Goodfellow, Shlens &
Szegedy 2014, arXiv 1412.6572, section 6), its gradient not through x'. How x' is found is a row of
six numbers, a ``Recipe``. They are hyper-parameters of the run, so one program trains the arms of a
comparison side by side: ``opponent()`` is the task's, ``recipe.hyper`` the run's.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.training.losses import Loss, cross_entropy
from jaxvision.training.step import Examples, Opponent
from jaxvision.types import Array, Hyper, UserError

ITERATIONS = 7  # of projected gradient ascent: Madry et al. 2018, CIFAR-10
ASCENT = 2.5  # times the radius: how far all iterations together can go


class Recipe(NamedTuple):
    """How the images of a step are turned against the net.

    Attributes:
      epsilon: largest change of a pixel, in units of the box: .25 of [0, 1].
      clean: alpha, the share of the images as they are in the loss.
      start: largest random change before the first iteration, over epsilon.
      corners: 1: the random change of a pixel is one of its two ends; 0: uniform between them.
      stride: change of a pixel by one iteration, over epsilon.
      iterations: steps along the sign of the loss's gradient; 0 leaves the random change alone.
    """

    epsilon: float = 0.0
    clean: float = 0.0
    start: float = 0.0
    corners: float = 0.0
    stride: float = 1.0
    iterations: float = 1.0

    @property
    def hyper(self) -> dict[str, float]:
        """The run's hyper-parameters that ``opponent`` reads."""
        return {_PREFIX + name: float(value) for name, value in self._asdict().items()}


_PREFIX = "opponent_"


def unopposed() -> Recipe:
    """Return the recipe of usual training, for an arm beside others."""
    return Recipe(clean=1.0, iterations=0)


def fast_gradient(epsilon: float) -> Recipe:
    """Return training on images of the fast gradient sign method alone."""
    return Recipe(_radius(epsilon))


def mixed(epsilon: float, alpha: float = 0.5) -> Recipe:
    """Return the adversarial objective of Goodfellow et al. 2014: a share alpha as it is.

    Raises:
      UserError: alpha is no share.
    """
    if not 0 <= alpha <= 1:
        raise UserError(f"alpha={alpha} is the share of images as they are: use 0 to 1")
    return Recipe(_radius(epsilon), clean=alpha)


def random_start(epsilon: float, stride: float = 1.25) -> Recipe:
    """Return one step from a random point of the ball (Wong et al. 2020, arXiv 2001.03994)."""
    return Recipe(_radius(epsilon), start=1.0, stride=stride)


def projected(epsilon: float, iterations: int = ITERATIONS) -> Recipe:
    """Return projected gradient ascent from a random point (Madry et al. 2018, arXiv 1706.06083).

    Raises:
      UserError: there is no iteration.
    """
    if iterations < 1:
        raise UserError(f"iterations={iterations}: gradient ascent takes at least one")
    return Recipe(_radius(epsilon), start=1.0, stride=ASCENT / iterations, iterations=iterations)


def noise(epsilon: float, *, corners: bool = False) -> Recipe:
    """Return training on random changes: uniform, or each pixel up or down by epsilon."""
    return Recipe(_radius(epsilon), start=1.0, corners=float(corners), iterations=0)


def _radius(epsilon: float) -> float:
    """Return epsilon, or raise UserError where no change of a pixel is so large."""
    if not 0 <= epsilon <= 1:
        raise UserError(
            f"epsilon={epsilon} is a change of pixels on [0, 1]: use 0 to 1, as in 8/255"
        )
    return float(epsilon)


def opponent(loss: Loss = cross_entropy) -> Opponent:
    """Return the opponent that follows a run's ``Recipe``; the task's inputs lie in [0, 1].

    A step then learns from 2B examples: the batch and what became of it, which fills the part of
    the loss that the recipe gives it.

    Args:
      loss: what the changes raise.
    """

    def turned(
        net: Callable[[Array], Array], inputs: Array, labels: Array, noise: Array, hyper: Hyper
    ) -> Examples:
        recipe = Recipe(**{name: hyper[_PREFIX + name] for name in Recipe._fields})
        against = _against(net, loss, recipe, inputs, labels, noise)
        shares = jnp.stack([recipe.clean, 1 - recipe.clean]) / len(labels)
        return Examples(
            jnp.concatenate([inputs, against]),
            jnp.concatenate([labels, labels]),
            jnp.repeat(shares, len(labels)),
        )

    return turned


def _against(
    net: Callable[[Array], Array],
    loss: Loss,
    recipe: Recipe,
    inputs: Array,
    labels: Array,
    noise: Array,
) -> Array:
    """Return the inputs changed by at most epsilon, inside the box."""
    low = jnp.maximum(inputs - recipe.epsilon, 0.0)
    high = jnp.minimum(inputs + recipe.epsilon, 1.0)
    uphill = jax.grad(lambda x: loss(net(x), labels).sum())

    def climb(_: Array, x: Array) -> Array:
        moved = x + recipe.stride * recipe.epsilon * jnp.sign(uphill(x))
        return jnp.clip(moved, low, high)

    drawn = jnp.where(recipe.corners > 0, jnp.sign(noise), noise)
    start = jnp.clip(inputs + recipe.start * recipe.epsilon * drawn, low, high)
    return lax.fori_loop(0, recipe.iterations.astype(jnp.int32), climb, start)
