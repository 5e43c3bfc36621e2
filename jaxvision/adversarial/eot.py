"""Expectation over transformation: pictures that fool a net in whatever pose it sees them.

    eot(f, transform, pictures, labels, eps, key, targets=targets) -> Drawn
    answers(f, transform, pictures, key, draws) -> classes [D, B]

``transform(pictures [B, ...], key) -> images [B, H, W, C]`` draws one pose for each picture. What
is attacked need not be what the net sees: a texture that is rendered, a patch that is pasted onto
random scenes. Every step draws anew, and the whole attack is one ``lax.scan``. A patch, which may
be any legal picture, is an attack of size ``eps=jnp.inf``.

Source: Athalye et al. 2018 (arXiv 1707.07397), equation 1: maximize E_t[log p(target | t(x))]
within a distance of x. Their penalty on the distance is a ball of given size here.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxvision.adversarial.aims import Aim, Logits, Loss, cross_entropy, predictions
from jaxvision.adversarial.results import over_epsilons
from jaxvision.adversarial.threat import LINF, Ball, Norms, like, norms, steepest
from jaxvision.types import Array

Transform = Callable[[Array, Array], Array]  # pictures [B, ...], key -> images [B, H, W, C]


class Drawn(NamedTuple):
    """B pictures made to hold over poses; with several epsilons every field leads with [E].

    Attributes:
      images: [B, ...], the last iterate: the best one seen would have had the luckiest poses.
      norms: of ``images`` minus the pictures, each [B].
      rise: float32 [T, B], what was raised at every step, mean over its poses.
      reached: float32 [T, B], share of these poses in which the aim was reached. They are the poses
        that are trained on: no rate to report. ``answers`` asks in fresh ones.
    """

    images: Array
    norms: Norms
    rise: Array
    reached: Array


def eot(
    f: Logits,
    transform: Transform,
    pictures: Array,
    labels: Array,
    eps: Array | float,
    key: Array,
    *,
    ball: Ball = LINF,
    steps: int = 100,
    draws: int = 8,
    relative_step: float | None = None,
    optimizer: optax.GradientTransformation | None = None,
    targets: Array | None = None,
    loss: Loss = cross_entropy,
) -> Drawn:
    """Climb the mean loss over poses drawn anew at every step, projected to the ball.

    Args:
      f: the net.
      transform: draws poses.
      pictures: [B, ...], in the box.
      labels: int32 [B].
      eps: size, scalar, [E], or [E, B] of each picture's own; infinite: only the box holds.
      key: of the poses. All sizes see the same ones.
      ball: "l2" or "linf".
      steps: T.
      draws: D, poses of a picture in one step.
      relative_step: size of a step over eps; None: 2.5 / T, as ``pgd`` has it.
      optimizer: turns gradients into steps instead, such as ``optax.sgd(5.0)``.
      targets: int32 [B], classes to be seen; None goes up from the labels.
      loss: whose mean is climbed. Where there are targets, the default is the paper's log p.
    """
    aim = Aim(labels, targets)
    share = 2.5 / steps if relative_step is None else relative_step
    keys = jax.random.split(key, steps)

    def at(eps: Array) -> Drawn:
        size = share * jnp.minimum(eps, ball.diameter(pictures.shape[1:]))
        size = jnp.broadcast_to(size, pictures.shape[:1])
        rule = _steepest_steps(ball, size) if optimizer is None else optimizer

        def step(carry: tuple, key: Array) -> tuple[tuple, tuple[Array, Array]]:
            moved, state = carry
            poses = jax.random.split(key, draws)
            gradient, told = _slope(f, transform, aim, loss, moved, poses)
            updates, state = rule.update(-gradient, state, moved)
            moved = ball.project(pictures, moved + updates, eps)
            return (moved, state), told

        start = pictures, rule.init(pictures)
        (moved, _), (rise, reached) = lax.scan(step, start, keys)
        return Drawn(moved, norms(moved - pictures), rise, reached)

    return over_epsilons(at, eps)


def answers(f: Logits, transform: Transform, pictures: Array, key: Array, draws: int) -> Array:
    """Return the classes int32 [D, B] that a net sees in D fresh poses of each picture.

    -1 where a logit is no number. The key must not be the attack's.
    """

    def seen(key: Array) -> Array:
        images = transform(pictures, key)
        return predictions(f(images))

    return lax.map(seen, jax.random.split(key, draws))


def _slope(
    f: Logits, transform: Transform, aim: Aim, loss: Loss, pictures: Array, keys: Array
) -> tuple[Array, tuple[Array, Array]]:
    """Return the gradient of the mean over D poses, that mean [B], and the share reached [B]."""
    draws = len(keys)
    everywhere = jax.tree.map(lambda classes: jnp.tile(classes, draws), aim)

    def mean(values: Array) -> Array:
        by_pose = values.reshape(draws, -1)
        return by_pose.mean(0)

    def risen(pictures: Array) -> tuple[Array, tuple[Array, Array]]:
        # Pose after pose, which compiles faster than all side by side. Then they join the batch: a
        # net sees D B images at once.
        posed = lax.map(lambda key: transform(pictures, key), keys)
        seen = posed.reshape(-1, *posed.shape[2:])
        logits = f(seen)
        rise = mean(everywhere.rise(loss, logits))
        reached = mean(everywhere.reached(predictions(logits)))
        return rise.sum(), (rise, reached)

    gradient, told = jax.grad(risen, has_aux=True)(pictures)
    return jnp.where(jnp.isfinite(gradient), gradient, 0.0), told


def _steepest_steps(ball: Ball, size: Array) -> optax.GradientTransformation:
    """Return steps of sizes [B] along which the loss rises most, which keep no state."""

    def update(
        descent: Array, state: optax.OptState, params: Array
    ) -> tuple[Array, optax.OptState]:
        del params
        return like(size, descent) * steepest(ball.norm, -descent), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
