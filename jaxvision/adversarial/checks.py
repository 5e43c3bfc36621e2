"""Is the net robust, or the attack broken? Controls and signs, each a number of its own.

The signs of masked gradients are those of Athalye et al. 2018 (arXiv 1802.00420), section 3.1, and
Carlini et al. 2019 (arXiv 1902.06705). They are reasons for suspicion, and no acquittal.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxvision import runtime
from jaxvision.adversarial.aims import Aim, Logits, log_odds_against, predictions
from jaxvision.adversarial.gradient import fgsm, pgd
from jaxvision.adversarial.results import Result
from jaxvision.adversarial.threat import LINF, Audit, Ball, like, norms, steepest
from jaxvision.types import Array

SOLID = 0.5  # at this size in Linf any image can become gray


class Noise(NamedTuple):
    """What random perturbations as long as an attack's do to the net.

    Attributes:
      flipped: bool [N, B], whether draw n changes the prediction of image b to another class; a
        logit that is no number flips nothing.
      size: float [N, B], L2 norms, those asked for but where the box allows no more.
    """

    flipped: Array
    size: Array

    @property
    def mean(self) -> Array:
        """Return the share of images that one draw flips, on average; 0 of no images."""
        return self._rates().mean()

    @property
    def best(self) -> Array:
        """Return the share of images that the best draw for all of them flips; 0 of none."""
        return self._rates().max()

    def _rates(self) -> Array:
        """Return the share of images that each draw flips, [N]."""
        count = max(1, self.flipped.shape[1])
        return self.flipped.sum(1) / count


class Sign(NamedTuple):
    """One sign of masked gradients.

    Attributes:
      seen: whether it is there.
      name: what it says.
      found: the number.
      against: the number it is held against.
    """

    seen: bool
    name: str
    found: float
    against: float


def identity_at_zero(attack: Callable[[float], Result], images: Array) -> bool:
    """Return whether ``attack(eps)`` at 0 gives every image back to the bit."""
    moved = attack(0.0).images
    return bool(np.array_equal(np.asarray(moved), np.asarray(images)))


def audited(ball: Ball, images: Array, result: Result, eps: Array | float) -> Audit:
    """Check the images of a result, [B] or [E, B], against the sizes they were made for."""
    eps = jnp.asarray(eps, jnp.float32)
    if not eps.ndim:
        return ball.audit(images, result.images, eps)
    of_each = jax.vmap(ball.audit, (None, 0, 0))
    return of_each(images, result.images, eps)


def falls(success: Array) -> Array:
    """Return by how much the rate of success [E, B] falls where more should help, [E - 1].

    The sizes (or steps, or restarts) must rise along E. An attack that works shows nothing but
    zeros, up to chance.
    """
    rates = jnp.zeros(len(success))
    if success.shape[1]:
        rates = success.astype(jnp.float32).mean(1)
    return jnp.maximum(-jnp.diff(rates), 0.0)


def equal_norm(key: Array, images: Array, size: Array, draws: int) -> Array:
    """Return images [N, B, H, W, C] moved at random by exactly ``size`` [B] in L2, in the box.

    A Gaussian direction, made longer until what the box leaves of it has the size; where it cannot,
    every pixel of the direction ends at the edge of the box.
    """

    def one(key: Array) -> Array:
        unit = steepest("l2", jax.random.normal(key, images.shape))
        return moved_by(images, unit, size)

    return lax.map(one, jax.random.split(key, draws))


def moved_by(
    images: Array,
    direction: Array,
    size: Array,
    halvings: int = 30,
) -> Array:
    """Return images moved along directions of L2 norm 1, clipped to [0, 1], by ``size`` [B]."""

    def clipped(length: Array) -> Array:
        return jnp.clip(images + like(length, images) * direction, 0.0, 1.0)

    def halve(
        ends: tuple[Array, Array],
        _: None,
    ) -> tuple[tuple[Array, Array], None]:
        low, high = ends
        middle = (low + high) / 2
        reach = norms(clipped(middle) - images).l2
        short = reach < size
        low = jnp.where(short, middle, low)
        high = jnp.where(short, high, middle)
        return (low, high), None

    largest = jnp.maximum(norms(direction).linf, 1e-6)
    # By then all pixels but those that hardly move are at the edge of the box.
    most = jnp.maximum(size, 1e3 / largest)
    ends = jnp.zeros_like(size), most
    (length, _), _ = lax.scan(halve, ends, None, length=halvings)
    return jnp.where(like(size > 0, images), clipped(length), images)


def noise(
    f: Logits,
    key: Array,
    images: Array,
    size: Array,
    draws: int = 20,
) -> Noise:
    """Return what ``draws`` random perturbations of L2 norm ``size`` [B] do to predictions."""
    clean = predictions(f(images))

    def one(moved: Array) -> Noise:
        flipped = _hits(f, moved, clean)
        return Noise(flipped, norms(moved - images).l2)

    return lax.map(one, equal_norm(key, images, size, draws))


def dead_gradients(f: Logits, images: Array, labels: Array) -> Array:
    """Return the share of images whose gradient is 0 or no number: attacks are blind there."""

    def odds(images: Array) -> Array:
        return log_odds_against(f(images), labels).sum()

    if not len(images):
        return jnp.float32(0.0)
    largest = norms(jax.grad(odds)(images)).linf
    dead = ~jnp.isfinite(largest) | (largest == 0)
    return dead.mean()


def masking_signs(
    f: Logits,
    key: Array,
    images: Array,
    labels: Array,
    eps: float,
    *,
    ball: Ball = LINF,
    steps: int = 40,
    draws: int = 20,
    others: Sequence[Logits] = (),
    slack: float = 0.02,
) -> list[Sign]:
    """Run the attacks that tell masked gradients from a robust net, and compare them.

    Args:
      f: the net.
      key: of random starts and of noise.
      images: [B, H, W, C] that the net classifies right, B at least 1.
      labels: int32 [B].
      eps: size.
      ball: "l2" or "linf".
      steps: of PGD.
      draws: random perturbations of each image.
      others: nets whose adversarial images are handed to ``f``.
      slack: differences of rates that are chance.

    Returns:
      The signs, those that were looked for; ``seen`` says which are there.
    """
    starts, noises, longer = jax.random.split(key, 3)
    climb = partial(_compiled(pgd, ball, "steps"), images=images, labels=labels)
    everything = ball.diameter(images.shape[1:])
    sizes = jnp.array([eps / 2, eps, everything], jnp.float32)
    by_size = climb(f, eps=sizes, steps=steps, key=starts)
    half, full, unbounded = by_size.success.mean(1)
    single = _compiled(fgsm, ball)(f, images, labels, eps)
    more = climb(f, eps=eps, steps=2 * steps, key=longer)
    random = _random_search(f, noises, images, labels, eps, ball, draws)
    dead = dead_gradients(f, images, labels)
    found = [
        _sign("one step beats many", single.success.mean(), full, slack),
        _sign("an unbounded attack fails", 1 - unbounded, 0.0, slack),
        _sign("random search beats gradients", random.mean(), full, slack),
        _sign("half of eps does better", half, full, slack),
        _sign("twice the steps find more", more.success.mean(), full, slack),
        _sign("gradients are 0 or no number", dead, 0.0, slack),
    ]
    for other in others:
        hits = _hits(f, climb(other, eps=eps, steps=steps).images, labels)
        found.append(_sign("transfer beats white box", hits.mean(), full, slack))
    if ball.norm == "linf":
        right = 1 - climb(f, eps=SOLID, steps=steps).success.mean()
        chance = 1 / f(images[:1]).shape[1]
        found.append(_sign("right above chance at eps .5", right, chance, slack))
    return found


def _compiled(attack: Callable[..., Result], ball: Ball, *static: str) -> Callable[..., Result]:
    """Return an attack that is one program a net, in place of one for every operation in it."""
    return runtime.jit(partial(attack, ball=ball), static_argnames=("f", *static))


def _sign(
    name: str,
    found: Array | float,
    against: Array | float,
    slack: float,
) -> Sign:
    return Sign(
        bool(found > against + slack),
        name,
        float(found),
        float(against),
    )


def _hits(f: Logits, moved: Array, labels: Array) -> Array:
    """Return whether the net takes moved images [B, ...] for another class than ``labels``."""
    return Aim(labels).reached(predictions(f(moved)))


def _random_search(
    f: Logits, key: Array, images: Array, labels: Array, eps: float, ball: Ball, draws: int
) -> Array:
    """Return whether any of ``draws`` random images of the ball is misclassified, [B]."""

    def one(key: Array) -> Array:
        return _hits(f, ball.random_start(key, images, eps), labels)

    return lax.map(one, jax.random.split(key, draws)).any(0)
