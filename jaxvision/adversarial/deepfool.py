"""DeepFool: the nearest boundary of the net made linear, crossed again and again."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.adversarial.aims import Aim, Logits, predictions
from jaxvision.adversarial.results import Result, judged
from jaxvision.adversarial.threat import L2, Ball, like
from jaxvision.types import Array, UserError


def deepfool(
    f: Logits,
    images: Array,
    labels: Array,
    *,
    ball: Ball = L2,
    steps: int = 50,
    overshoot: float = 0.02,
    candidates: int | None = 10,
) -> Result:
    """Move every image across the nearest boundary that its gradients show.

    Source: Moosavi-Dezfooli et al. 2016 (arXiv 1511.04599), algorithm 2; equations 8 to 14. On an
    affine net one step is exact in L2 and Linf. Images that are already wrong stay as they are, and
    their distance is 0. Every step ends inside the box: pixels at its edge push no further.

    Args:
      f: the net.
      images: [B, H, W, C].
      labels: int32 [B].
      ball: "l2" or "linf", and the box.
      steps: at most.
      overshoot: the perturbation is longer by this share, so that it crosses.
      candidates: classes to look at, the likeliest of the clean image; None: all K.

    Returns:
      The first image that crosses, or the last of ``steps``.

    Raises:
      UserError: another norm, or a single candidate, which is the image's own class.
    """
    if ball.norm not in ("l2", "linf"):
        raise UserError(f"DeepFool knows l2 and linf, not {ball.norm!r}")
    if candidates is not None and candidates < 2:
        raise UserError(f"candidates={candidates}: the own class and another one are at least 2")
    aim = Aim(labels)
    clean = f(images)
    num_classes = clean.shape[1]
    count = min(candidates or num_classes, num_classes) - 1
    others = jnp.where(_is(labels, num_classes), -jnp.inf, clean)
    classes = lax.top_k(others, count)[1]

    def step(state: _State, number: Array) -> tuple[_State, None]:
        logits, slopes = _slopes(f, state.images, labels, classes)
        slopes = _inside(ball, state.images, slopes)
        active = predictions(logits) == labels
        goes_on = like(active, images)
        nearest = _nearest(ball, logits, slopes, labels, classes)
        nearest = nearest.reshape(images.shape)
        total = state.total + jnp.where(goes_on, nearest, 0.0)
        moved = ball.clip(images + (1 + overshoot) * total)
        moved = jnp.where(goes_on, moved, state.images)
        taken = jnp.where(active, number + 1, state.taken)
        return _State(moved, total, taken), None

    none = jnp.zeros(len(images), jnp.int32)
    start = _State(images, jnp.zeros_like(images), none)
    end, _ = lax.scan(step, start, jnp.arange(steps, dtype=jnp.int32))
    return judged(f, images, aim, end.images, end.taken, steps + 1, steps * count)


def nearer(
    f: Logits,
    clean: Array,
    labels: Array,
    result: Result,
    bisections: int = 12,
) -> Result:
    """Return the images of a result drawn towards the clean ones until they just succeed.

    The boundary is searched on the line between the two by halving; what failed stays.

    Args:
      f: the net.
      clean: [B, H, W, C].
      labels: int32 [B].
      result: of an attack without targets.
      bisections: halvings.
    """
    aim = Aim(labels)
    images = on_boundary(f, clean, aim, result.images, bisections)
    forwards = result.forwards + bisections
    found = judged(f, clean, aim, images, result.best_step, 0, 0)
    return found._replace(forwards=forwards + found.forwards, backwards=result.backwards)


def on_boundary(
    f: Logits,
    clean: Array,
    aim: Aim,
    images: Array,
    bisections: int,
) -> Array:
    """Return the point between clean and attacked images that just reaches the aim."""
    delta = images - clean

    def at(share: Array) -> Array:
        return clean + like(share, delta) * delta

    def halve(
        ends: tuple[Array, Array],
        _: None,
    ) -> tuple[tuple[Array, Array], None]:
        low, high = ends
        middle = (low + high) / 2
        reached = aim.score(f(at(middle))) > 0
        low = jnp.where(reached, low, middle)
        high = jnp.where(reached, middle, high)
        return (low, high), None

    ones = jnp.ones(len(images), images.dtype)
    ends = jnp.zeros_like(ones), ones
    (_, share), _ = lax.scan(halve, ends, None, length=bisections)
    # 1 gives back the image to the bit.
    return jnp.where(like(share < 1, images), at(share), images)


class _State(NamedTuple):
    images: Array
    total: Array  # of the steps, without overshoot
    taken: Array  # steps, [B]


def _slopes(
    f: Logits,
    images: Array,
    labels: Array,
    classes: Array,
) -> tuple[Array, Array]:
    """Return logits, and gradients [B, k, D] of the candidates' logits minus the label's."""
    logits, pull = jax.vjp(f, images)
    num_classes = logits.shape[1]
    count = math.prod(images.shape[1:])
    own = _is(labels, num_classes).astype(logits.dtype)

    def gradient(cotangent: Array) -> Array:
        (found,) = pull(cotangent)
        return found.reshape(len(images), count)

    others = jax.nn.one_hot(classes.T, num_classes, dtype=logits.dtype)
    gradients = jax.vmap(gradient)(others - own[None])
    return logits, gradients.swapaxes(0, 1)


def _inside(ball: Ball, images: Array, slopes: Array) -> Array:
    """Return slopes [B, k, D] without the pixels that would leave the box along them.

    A linear net's nearest image in the box is clip(x - t w), which these steps lead to.
    """
    if ball.box is None:
        return slopes
    low, high = ball.box
    flat = images.reshape(len(images), 1, slopes.shape[-1])
    at_high = (flat >= high) & (slopes > 0)
    at_low = (flat <= low) & (slopes < 0)
    stuck = at_high | at_low
    return jnp.where(stuck, 0.0, slopes)


def _nearest(
    ball: Ball,
    logits: Array,
    slopes: Array,
    labels: Array,
    classes: Array,
) -> Array:
    """Return the smallest step [B, D] onto a boundary of the linearized net."""
    own = jnp.take_along_axis(logits, labels[:, None], 1)
    others = jnp.take_along_axis(logits, classes, 1)
    gaps = jnp.abs(others - own)
    # Divided by the largest entry first: squares of small gradients are 0 in float32.
    largest = jnp.abs(slopes).max(-1)
    alive = largest > 0
    scale = jnp.where(alive, largest, 1.0)
    unit = slopes / scale[..., None]
    reach = gaps / scale
    if ball.norm == "linf":
        length = jnp.abs(unit).sum(-1)
        direction = jnp.sign(unit)
        size = reach / _above_zero(length)
    else:
        squares = jnp.square(unit).sum(-1)
        length = jnp.sqrt(squares)
        direction = unit
        size = reach / _above_zero(squares)
    distance = reach / _above_zero(length)
    distance = jnp.where(alive, distance, jnp.inf)
    chosen = jnp.argmin(distance, 1)[:, None]
    size = jnp.take_along_axis(size, chosen, 1)
    direction = jnp.take_along_axis(direction, chosen[..., None], 1)
    step = size * direction[:, 0]
    return jnp.where(jnp.isfinite(step), step, 0.0)


def _above_zero(length: Array) -> Array:
    return jnp.where(length > 0, length, 1.0)


def _is(labels: Array, num_classes: int) -> Array:
    return labels[:, None] == jnp.arange(num_classes)[None]
