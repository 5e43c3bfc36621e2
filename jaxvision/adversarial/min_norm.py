"""The smallest perturbation that reaches an aim, by a penalty whose weight is searched.

Two objectives over the box, one solver:

* "norm", Szegedy et al. 2014 (arXiv 1312.6199), section 4.1: minimize c |r| + log(1 + e^gap).
* "squared", the Lagrangian of lectures: maximize -gap - c |r|^2. Where the gap is linear it ends at
  r = -gradient / (2 c).

The gap is by how much the aim is missed: the best other logit minus the target's, or the label's
minus the best other one. With two classes log(1 + e^gap) is the cross-entropy of the source. With
more, the cross-entropy also pushes down classes that are no rivals, and a net of small weights can
be sure of no target anywhere in the box.

In both c multiplies the norm, so the smallest perturbation comes from the *largest* c whose
minimizer succeeds (section 4.1 says the smallest, of a c that would multiply the loss). It is found
by halving log c, image by image. The smallest success that was ever seen is returned.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxvision.adversarial.aims import Aim, Logits
from jaxvision.adversarial.deepfool import on_boundary
from jaxvision.adversarial.results import Result, judged
from jaxvision.adversarial.threat import like, norms
from jaxvision.types import Array, UserError

Penalty = Literal["norm", "squared"]
OCTAVES = 8.0  # that c is searched over, on either side of where a linear net has it
POLISH = 10  # halvings on the line back to the clean image, at the end
_SMOOTH = 1e-12  # under the root of a norm, whose gradient at 0 is none


class Found(NamedTuple):
    """What one minimization has seen, image by image.

    Attributes:
      last: [B, H, W, C], the minimizer.
      last_score: [B], of it.
      nearest: [B, H, W, C], the smallest success.
      size: [B], its L2 norm; infinite where nothing succeeded.
      step: int32 [B], when it was seen.
    """

    last: Array
    last_score: Array
    nearest: Array
    size: Array
    step: Array


def min_norm(
    f: Logits,
    images: Array,
    labels: Array,
    *,
    targets: Array | None = None,
    penalty: Penalty = "norm",
    bisections: int = 12,
    steps: int = 100,
    learning_rate: float = 0.02,
) -> Result:
    """Return the nearest images in L2, inside [0, 1], that the net takes for another class.

    Args:
      f: the net.
      images: [B, H, W, C] in [0, 1].
      labels: int32 [B].
      targets: int32 [B], the classes wanted; None: any but the label.
      penalty: the objective, see above.
      bisections: values of c, each a minimization.
      steps: of Adam in one minimization, its rate falling in a line to 0.
      learning_rate: of the first step, in the unit of pixels.

    Returns:
      Images that were right to begin with and could not be moved come back as the last minimizer,
      with ``success`` false: leave them out of means of norms.

    Raises:
      UserError: there is no such objective.
    """
    _check(penalty)
    aim = Aim(labels, targets)
    center = _center(f, aim, images, penalty)

    def halve(search: _Search, number: Array) -> tuple[_Search, None]:
        middle = (search.low + search.high) / 2
        weights = center * 2.0**middle
        start = jnp.where(like(jnp.isfinite(search.size), images), search.nearest, images)
        found = minimize(
            f, images, aim, weights, start, penalty, steps=steps, learning_rate=learning_rate
        )
        reached = found.last_score > 0
        closer = found.size < search.size
        return _Search(
            low=jnp.where(reached, middle, search.low),
            high=jnp.where(reached, search.high, middle),
            nearest=jnp.where(like(closer, images), found.nearest, search.nearest),
            size=jnp.minimum(found.size, search.size),
            step=jnp.where(closer, number * steps + found.step, search.step),
            last=found.last,
        ), None

    numbers = jnp.arange(bisections, dtype=jnp.int32)
    end, _ = lax.scan(halve, _first(f, images, aim), numbers)
    succeeded = jnp.isfinite(end.size)
    nearest = on_boundary(f, images, aim, end.nearest, POLISH)
    chosen = jnp.where(like(succeeded, images), nearest, end.last)
    forwards = 1 + bisections * (steps + 1) + POLISH
    return judged(f, images, aim, chosen, end.step, forwards + 1, 1 + bisections * steps)


def minimize(
    f: Logits,
    images: Array,
    aim: Aim,
    weights: Array,
    start: Array,
    penalty: Penalty,
    *,
    steps: int,
    learning_rate: float,
) -> Found:
    """Minimize one of the two objectives over the box, for weights c [B] of the norm.

    Args:
      f: the net.
      images: [B, H, W, C] in [0, 1].
      aim: what counts as success.
      weights: c, [B].
      start: [B, H, W, C], where to begin.
      penalty: "norm" or "squared".
      steps: of Adam.
      learning_rate: of the first step.
    """
    rates = optax.linear_schedule(learning_rate, 0.0, steps)
    adam = optax.scale_by_adam()

    def cost(moved: Array) -> tuple[Array, Array]:
        logits = f(moved)
        gap = -aim.score(logits)
        squares = jnp.square(moved - images).reshape(len(images), -1).sum(1)
        if penalty == "squared":
            return jnp.sum(weights * squares + gap), aim.score(logits)
        size = jnp.sqrt(squares + _SMOOTH)
        return jnp.sum(weights * size + jax.nn.softplus(gap)), aim.score(logits)

    def step(carry: tuple[Array, object, Found], number: Array) -> tuple[tuple, None]:
        moved, state, found = carry
        gradient, score = jax.grad(cost, has_aux=True)(moved)
        found = _seen(found, images, moved, score, number)
        direction, state = adam.update(jnp.where(jnp.isfinite(gradient), gradient, 0.0), state)
        moved = jnp.clip(moved - rates(number) * direction, 0.0, 1.0)
        return (moved, state, found), None

    carry = (start, adam.init(start), _nothing(start))
    (moved, _, found), _ = lax.scan(step, carry, jnp.arange(steps, dtype=jnp.int32))
    return _seen(found, images, moved, aim.score(f(moved)), jnp.int32(steps))


def _check(penalty: str) -> None:
    known = get_args(Penalty)
    if penalty not in known:
        raise UserError(f"penalty={penalty!r}: use {' or '.join(known)}")


class _Search(NamedTuple):
    """Where the search for c stands: log2 of c over its center, and the nearest success."""

    low: Array
    high: Array
    nearest: Array
    size: Array
    step: Array
    last: Array


def _first(f: Logits, images: Array, aim: Aim) -> _Search:
    """Return the search before its first minimization: images that succeed as they are, do."""
    count = len(images)
    succeeds = aim.score(f(images)) > 0
    return _Search(
        low=jnp.full(count, -OCTAVES),
        high=jnp.full(count, OCTAVES),
        nearest=images,
        size=jnp.where(succeeds, 0.0, jnp.inf),
        step=jnp.zeros(count, jnp.int32),
        last=images,
    )


def _center(f: Logits, aim: Aim, images: Array, penalty: Penalty) -> Array:
    """Return the c [B] that is exact where the gap to the aim is linear and the box far away."""

    def gaps(images: Array) -> tuple[Array, Array]:
        gap = -aim.score(f(images))
        return gap.sum(), gap

    gradient, gap = jax.grad(gaps, has_aux=True)(images)
    slope = norms(gradient).l2
    if penalty == "norm":
        return jnp.maximum(slope / 2, 1e-12)
    return jnp.maximum(jnp.square(slope) / (2 * jnp.maximum(gap, 1e-3)), 1e-12)


def _nothing(start: Array) -> Found:
    count = len(start)
    worst = jnp.full(count, -jnp.inf)
    return Found(start, worst, start, -worst, jnp.zeros(count, jnp.int32))


def _seen(found: Found, images: Array, moved: Array, score: Array, step: Array) -> Found:
    """Return what has been seen, one more iterate counted."""
    size = norms(moved - images).l2
    closer = (score > 0) & (size < found.size)
    return Found(
        moved,
        score,
        jnp.where(like(closer, images), moved, found.nearest),
        jnp.where(closer, size, found.size),
        jnp.where(closer, step, found.step),
    )
