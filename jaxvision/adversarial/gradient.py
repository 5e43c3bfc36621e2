"""Attacks of given size that climb a gradient: FGSM, its iterated forms, PGD.

All take ``f(images) -> logits``, images [B, H, W, C] in the box, labels int32 [B] and a size
``eps``, a scalar or [E]: then all E are attacked in one program and lead every field of the result.
Everything may be traced but the counts of steps and restarts.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.adversarial.aims import Aim, Logits, Loss, log_odds_against
from jaxvision.adversarial.results import (
    Best,
    Result,
    better,
    judged,
    nothing_yet,
    over_epsilons,
)
from jaxvision.adversarial.threat import LEVELS, LINF, Ball, Rows, steepest
from jaxvision.types import Array


def fgsm(
    f: Logits,
    images: Array,
    labels: Array,
    eps: Array | float,
    *,
    ball: Ball = LINF,
    targets: Array | None = None,
    loss: Loss = log_odds_against,
) -> Result:
    """Take one step of size ``eps`` up the loss: the sign of the gradient where the ball is Linf.

    Source: Goodfellow et al. 2015 (arXiv 1412.6572), section 4. The image is returned as the step
    leaves it, wherever that is.

    Args:
      f: the net.
      images: [B, H, W, C].
      labels: int32 [B].
      eps: size, scalar or [E].
      ball: "l1", "l2" or "linf".
      targets: int32 [B], classes to go down to; None goes up from the labels.
      loss: what is climbed.
    """
    aim = Aim(labels, targets)
    gradient, _ = _slope(f, aim, loss, images)
    direction = steepest(ball.norm, gradient)

    def at(eps: Array) -> Result:
        moved = ball.project(images, images + _finite(ball, images, eps) * direction, eps)
        return judged(f, images, aim, moved, 1, 1, 1)

    return over_epsilons(at, eps)


def pgd(
    f: Logits,
    images: Array,
    labels: Array,
    eps: Array | float,
    *,
    ball: Ball = LINF,
    steps: int = 40,
    relative_step: float | None = None,
    key: Array | None = None,
    restarts: int = 1,
    targets: Array | None = None,
    loss: Loss = log_odds_against,
    rows: Rows | None = None,
) -> Result:
    """Climb the loss by steps of one size, projected to the ball; keep the best image seen.

    Source: Madry et al. 2018 (arXiv 1706.06083), section 2.1.

    Args:
      f: the net.
      images: [B, H, W, C].
      labels: int32 [B].
      eps: size, scalar or [E].
      ball: "l2" or "linf".
      steps: T.
      relative_step: size of a step over eps; None: 2.5 / T, which can cross the ball.
      key: of random starts in the ball; None starts at the image.
      restarts: random starts, side by side, the best of which counts.
      targets: int32 [B], classes to go down to; None goes up from the labels.
      loss: what is climbed.
      rows: of a larger batch, whose random starts these images get.
    """
    aim = Aim(labels, targets)
    share = 2.5 / steps if relative_step is None else relative_step
    keys = None if key is None else jax.random.split(key, restarts)

    def at(eps: Array) -> Result:
        size = share * _finite(ball, images, eps)
        climb = partial(_climb, f, aim, loss, ball, images, eps=eps, size=size, steps=steps)
        if keys is None:
            best = climb(images)
        else:
            starts = jax.vmap(lambda key: ball.random_start(key, images, eps, rows))(keys)
            best = _best_of(jax.vmap(climb)(starts))
        count = 1 if keys is None else restarts
        return judged(f, images, aim, best.images, best.step, count * (steps + 1), count * steps)

    return over_epsilons(at, eps)


def basic_iterative(
    f: Logits,
    images: Array,
    labels: Array,
    eps: Array | float,
    *,
    steps: int | None = None,
    step_size: float = 1 / LEVELS,
    targets: Array | None = None,
    loss: Loss = log_odds_against,
) -> Result:
    """Iterate FGSM from the image by steps of a gray level, as often as its source does.

    Source: Kurakin et al. 2017 (arXiv 1607.02533), section 2.2: min(eps + 4, 1.25 eps) iterations,
    eps in gray levels, rounded up. The best image seen counts.

    Args:
      f: the net.
      images: [B, H, W, C].
      labels: int32 [B].
      eps: size in Linf, scalar or [E].
      steps: T, the same for every eps; None counts as the source does.
      step_size: of one iteration.
      targets: int32 [B], classes to go down to; None goes up from the labels.
      loss: what is climbed.
    """
    aim = Aim(labels, targets)
    return _iterated(f, images, aim, aim, eps, steps, step_size, loss)


def least_likely(
    f: Logits,
    images: Array,
    labels: Array,
    eps: Array | float,
    *,
    steps: int | None = None,
    step_size: float = 1 / LEVELS,
) -> Result:
    """Iterate towards the class that the net finds least likely of the clean image.

    Source: Kurakin et al. 2017, section 2.3. As there, ``success`` means that the label is left;
    compare ``predictions`` with the least likely class for the other question. The arguments are
    those of ``basic_iterative``.
    """
    down = Aim(labels, jnp.argmin(f(images), 1).astype(labels.dtype))
    found = _iterated(f, images, down, Aim(labels), eps, steps, step_size, log_odds_against)
    return found._replace(forwards=found.forwards + 1)


def _iterated(
    f: Logits,
    images: Array,
    aim: Aim,
    wanted: Aim,
    eps: Array | float,
    steps: int | None,
    step_size: float,
    loss: Loss,
) -> Result:
    """Climb towards ``aim`` from the image, and judge by ``wanted``."""

    def at(eps: Array) -> Result:
        count = iterations(eps) if steps is None else steps
        best = _climb(f, aim, loss, LINF, images, images, eps=eps, size=step_size, steps=count)
        return judged(f, images, wanted, best.images, best.step, count + 1, count)

    return over_epsilons(at, eps)


def iterations(eps: Array | float) -> Array:
    """Return Kurakin's number of steps at a size in [0, 1], int32: 20 at 16/255.

    No two pixels are more than 1 apart, so a larger size takes as many steps.
    """
    levels = jnp.minimum(jnp.asarray(eps, jnp.float32), 1.0) * LEVELS
    # 1e-3: a level is not quite a whole number in float32.
    return jnp.ceil(jnp.minimum(levels + 4, 1.25 * levels) - 1e-3).astype(jnp.int32)


def _climb(
    f: Logits,
    aim: Aim,
    loss: Loss,
    ball: Ball,
    images: Array,
    start: Array,
    *,
    eps: Array,
    size: Array | float,
    steps: Array | int,
) -> Best:
    """Return the best of T + 1 iterates from ``start``, T = ``steps`` of one ``size``."""

    def step(number: Array, carry: tuple[Array, Best]) -> tuple[Array, Best]:
        moved, best = carry
        gradient, score = _slope(f, aim, loss, moved)
        best = better(best, moved, score, number)
        moved = ball.project(images, moved + size * steepest(ball.norm, gradient), eps)
        return moved, best

    moved, best = lax.fori_loop(0, steps, step, (start, nothing_yet(start)))
    return better(best, moved, aim.score(f(moved)), steps)


def _slope(f: Logits, aim: Aim, loss: Loss, images: Array) -> tuple[Array, Array]:
    """Return the gradient [B, ...] of what is climbed, 0 where it is no number, and the score."""

    def risen(images: Array) -> tuple[Array, Array]:
        logits = f(images)
        return aim.rise(loss, logits).sum(), aim.score(logits)

    gradient, score = jax.grad(risen, has_aux=True)(images)
    return jnp.where(jnp.isfinite(gradient), gradient, 0.0), score


def _best_of(each: Best) -> Best:
    """Return the best of R restarts, fields [R, B, ...]."""
    winner = jnp.argmax(each.score, axis=0)
    rows = jnp.arange(len(winner))
    return jax.tree.map(lambda leaf: leaf[winner, rows], each)


def _finite(ball: Ball, images: Array, eps: Array) -> Array:
    """Return eps, or the largest size that makes sense: an infinite step times 0 is NaN."""
    return jnp.minimum(eps, ball.diameter(images.shape[1:]))
