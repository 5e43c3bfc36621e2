"""One perturbation for all images: by gradient ascent and by DeepFool.

A perturbation v [H, W, C] fools the net on an image whose predicted class it changes, whether that
class was right or not (Moosavi-Dezfooli et al. 2017, arXiv 1610.08401). The perturbed image is
clipped to the box, while v is made and when it is judged. Make v from some images and judge it on
others. ``patterns`` has what it must beat.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.adversarial.aims import Logits, log_odds_against, predictions
from jaxvision.adversarial.deepfool import deepfool
from jaxvision.adversarial.results import over_epsilons
from jaxvision.adversarial.threat import LINF, Ball, steepest
from jaxvision.types import Array

CAP = 10.0  # nats of loss beyond which a fooled image pulls no more
ROUNDS = 10  # times that ascent looks at all images and keeps the best


class Universal(NamedTuple):
    """One perturbation; with several epsilons every field has a leading axis [E].

    Attributes:
      perturbation: [H, W, C], of norm at most eps before the box cuts it; the best that was seen.
      fooling: [], share of the images it was made from that it fools.
      passes: int32 [], over these images.
    """

    perturbation: Array
    fooling: Array
    passes: Array


class Fooled(NamedTuple):
    """What P perturbations do to images.

    Attributes:
      rate: [P], share of images whose class changes.
      classes: [P, K], share of images that change to each class; they sum to ``rate``.
    """

    rate: Array
    classes: Array

    @property
    def dominant(self) -> Array:
        """Return the largest class's share [P] of the images that change; 0 where none does."""
        total = jnp.where(self.rate > 0, self.rate, 1.0)
        return self.classes.max(-1) / total


def ascend(
    f: Logits,
    images: Array,
    eps: Array | float,
    key: Array,
    *,
    ball: Ball = LINF,
    steps: int = 300,
    batch_size: int = 64,
    relative_step: float = 0.8,
) -> Universal:
    """Climb the capped loss of all images by stochastic gradient steps on one perturbation.

    Source: Shafahi et al. 2018 (arXiv 1811.11304), algorithm 2: v <- project(v + step), the mean
    over a batch of min(cross-entropy, cap) climbed. The classes are the net's own predictions, and
    the step falls to zero along a line.

    Args:
      f: the net.
      images: [B, H, W, C], what it is made from.
      eps: size, scalar or [E].
      key: of the batches.
      ball: "l2" or "linf", and the box.
      steps: of ascent, rounded up to whole rounds.
      batch_size: images a step, drawn with replacement.
      relative_step: size of the first step over eps.
    """
    if not len(images):
        return _of_no_images(images, eps)
    crowd = _Crowd(f, images, predictions(f(images)), ball)
    a_round = -(-steps // ROUNDS)
    total = a_round * ROUNDS
    passes = -(-total * batch_size // len(images))

    def at(eps: Array) -> Universal:
        sizes = relative_step * eps * (1 - jnp.arange(total) / total)
        step = partial(_ascent, crowd, key, batch_size, eps)

        def round_(state: _State, some: tuple[Array, Array]) -> tuple[_State, None]:
            v, _ = lax.scan(step, state.v, some)
            return state.met(crowd, v), None

        schedule = jnp.arange(total).reshape(ROUNDS, a_round), sizes.reshape(ROUNDS, a_round)
        end, _ = lax.scan(round_, _start(images), schedule)
        return Universal(end.best, end.fooling, jnp.int32(passes))

    return over_epsilons(at, eps)


def accumulate(
    f: Logits,
    images: Array,
    eps: Array | float,
    key: Array,
    *,
    ball: Ball = LINF,
    passes: int = 5,
    wanted: float = 0.8,
    steps: int = 10,
    overshoot: float = 0.02,
    candidates: int | None = 10,
) -> Universal:
    """Add up DeepFool's smallest steps over images that are not fooled yet.

    Source: Moosavi-Dezfooli et al. 2017, algorithm 1. A step counts if DeepFool got across before
    its last iteration. Unlike the published code it clips images to the box, and it ends after
    ``passes`` where the wanted rate is out of reach.

    Args:
      f: the net.
      images: [B, H, W, C], what it is made from.
      eps: size, scalar or [E].
      key: of the order of the images.
      ball: "l2" or "linf", and the box; DeepFool's own steps are shortest in L2.
      passes: over all images, at most.
      wanted: share of fooled images at which it ends.
      steps: iterations of DeepFool, at most.
      overshoot: of DeepFool.
      candidates: classes that DeepFool looks at.
    """
    if not len(images):
        return _of_no_images(images, eps)
    crowd = _Crowd(f, images, predictions(f(images)), ball)
    fool = partial(deepfool, f, steps=steps, overshoot=overshoot, candidates=candidates)

    def at(eps: Array) -> Universal:
        visit = partial(_visit, crowd, fool, steps, eps)

        def unfinished(carry: tuple[_State, Array]) -> Array:
            state, done = carry
            return (done < passes) & (state.fooling < wanted)

        def one_pass(carry: tuple[_State, Array]) -> tuple[_State, Array]:
            state, done = carry
            order = jax.random.permutation(jax.random.fold_in(key, done), len(images))
            v, _ = lax.scan(visit, state.v, order)
            return state.met(crowd, v), done + 1

        end, done = lax.while_loop(unfinished, one_pass, (_start(images), jnp.int32(0)))
        return Universal(end.best, end.fooling, done)

    return over_epsilons(at, eps)


def fooled(f: Logits, images: Array, perturbations: Array, ball: Ball = LINF) -> Fooled:
    """Return what perturbations [P, H, W, C] do to images [B, H, W, C], clipped to the box."""
    if not len(images):
        one = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
        nobody = jnp.zeros((len(perturbations), jax.eval_shape(f, one).shape[1]))
        return Fooled(nobody.sum(1), nobody)
    clean = f(images)
    labels = predictions(clean)

    def one(v: Array) -> Array:
        found = predictions(f(ball.clip(images + v[None])))
        changed = (found != labels)[:, None].astype(jnp.float32)
        return (jax.nn.one_hot(found, clean.shape[1]) * changed).mean(0)

    shares = lax.map(one, perturbations)
    return Fooled(shares.sum(1), shares)


class _Crowd(NamedTuple):
    """The images that one perturbation is made for."""

    f: Logits
    images: Array
    labels: Array  # int32 [B], what the net says of them
    ball: Ball

    def moved(self, v: Array, rows: Array) -> Array:
        """Return some of the images, perturbed and clipped."""
        return self.ball.clip(self.images[rows] + v[None])

    def fooling(self, v: Array) -> Array:
        """Return the share of all images whose class v changes."""
        found = predictions(self.f(self.ball.clip(self.images + v[None])))
        answered = found >= 0  # a logit that is no number fools nobody
        return (answered & (found != self.labels)).mean()

    def inside(self, v: Array, eps: Array) -> Array:
        """Return v, drawn back to norm ``eps``."""
        free = Ball(self.ball.norm, None)
        return free.project(jnp.zeros_like(v)[None], v[None], eps)[0]


class _State(NamedTuple):
    """A perturbation on its way, and the best one so far."""

    v: Array
    best: Array
    fooling: Array

    def met(self, crowd: _Crowd, v: Array) -> "_State":
        """Return the state after all images were looked at through a new v."""
        fooling = crowd.fooling(v)
        wins = fooling > self.fooling
        best = jnp.where(wins, v, self.best)
        return _State(v, best, jnp.where(wins, fooling, self.fooling))


def _start(images: Array) -> _State:
    zero = jnp.zeros(images.shape[1:], images.dtype)
    return _State(zero, zero, jnp.float32(0.0))


def _ascent(
    crowd: _Crowd,
    key: Array,
    batch_size: int,
    eps: Array,
    v: Array,
    at: tuple[Array, Array],
) -> tuple[Array, None]:
    """Take one step up the capped loss of a batch; ``at``: the step's number and size."""
    number, size = at
    drawn = jax.random.fold_in(key, number)
    rows = jax.random.randint(drawn, (batch_size,), 0, len(crowd.images))

    def odds(v: Array) -> Array:
        logits = crowd.f(crowd.moved(v, rows))
        return log_odds_against(logits, crowd.labels[rows])

    found, pulled = jax.vjp(odds, v)
    (gradient,) = pulled(_pulls(found))
    gradient = jnp.where(jnp.isfinite(gradient), gradient, 0)
    uphill = steepest(crowd.ball.norm, gradient[None])[0]
    return crowd.inside(v + size * uphill, eps), None


def _pulls(odds: Array) -> Array:
    """Return how much each image pulls [B]: the slope of its capped cross-entropy in its log odds.

    Where the net is so sure of every image that all slopes are 0 in float32, their ratios count,
    which are those of e^odds: a net cannot look robust by being sure.
    """

    def capped(odds: Array) -> Array:
        losses = jax.nn.softplus(odds)
        return jnp.minimum(losses, CAP).mean()

    slopes = jax.grad(capped)(odds)
    sure = odds < 0
    vanished = sure.any() & (slopes == 0).all()
    ratios = jax.nn.softmax(odds, where=sure)
    return jnp.where(vanished, ratios, slopes)


def _visit(
    crowd: _Crowd,
    fool: Callable,
    steps: int,
    eps: Array,
    v: Array,
    row: Array,
) -> tuple[Array, None]:
    """Add to v what DeepFool needs for one image, unless v fools it already."""
    moved = crowd.moved(v, row[None])
    found = fool(moved, crowd.labels[row][None])
    taken = found.best_step[0]
    counts = found.success[0] & (taken > 0) & (taken < steps)
    longer = crowd.inside(v + found.images[0] - moved[0], eps)
    return jnp.where(counts, longer, v), None


def _of_no_images(images: Array, eps: Array | float) -> Universal:
    zero = _start(images)
    nothing = Universal(zero.best, zero.fooling, jnp.int32(0))
    leading = jnp.shape(eps)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, leading + leaf.shape), nothing)
