"""DeepFool: the nearest boundary of the net made linear, crossed again and again."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxvision.adversarial.aims import Aim, Logits, predictions
from jaxvision.adversarial.results import Result, judged
from jaxvision.adversarial.threat import L2, Ball, like
from jaxvision.types import Array


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
      ValueError: another norm.
    """
    if ball.norm not in ("l2", "linf"):
        raise ValueError(f"DeepFool knows l2 and linf, not {ball.norm!r}")
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
        nearest = _nearest(ball, logits, slopes, labels, classes).reshape(images.shape)
        total = state.total + jnp.where(like(active, images), nearest, 0.0)
        moved = ball.clip(images + (1 + overshoot) * total)
        moved = jnp.where(like(active, images), moved, state.images)
        taken = jnp.where(active, number + 1, state.taken)
        return _State(moved, total, taken), None

    start = _State(images, jnp.zeros_like(images), jnp.zeros(len(images), jnp.int32))
    end, _ = lax.scan(step, start, jnp.arange(steps, dtype=jnp.int32))
    return judged(f, images, aim, end.images, end.taken, steps + 1, steps * count)


def nearer(f: Logits, clean: Array, labels: Array, result: Result, bisections: int = 12) -> Result:
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


def on_boundary(f: Logits, clean: Array, aim: Aim, images: Array, bisections: int) -> Array:
    """Return the point between clean and attacked images that just reaches the aim."""
    delta = images - clean

    def halve(ends: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = ends
        middle = (low + high) / 2
        reached = aim.score(f(clean + like(middle, delta) * delta)) > 0
        return (jnp.where(reached, low, middle), jnp.where(reached, middle, high)), None

    ones = jnp.ones(len(images), images.dtype)
    (_, share), _ = lax.scan(halve, (jnp.zeros_like(ones), ones), None, length=bisections)
    # 1 gives back the image to the bit.
    return jnp.where(like(share < 1, images), clean + like(share, delta) * delta, images)


class _State(NamedTuple):
    images: Array
    total: Array  # of the steps, without overshoot
    taken: Array  # steps, [B]


def _slopes(f: Logits, images: Array, labels: Array, classes: Array) -> tuple[Array, Array]:
    """Return logits, and gradients [B, k, D] of the candidates' logits minus the label's."""
    logits, pull = jax.vjp(f, images)
    own = _is(labels, logits.shape[1]).astype(logits.dtype)

    def gradient(cotangent: Array) -> Array:
        (found,) = pull(cotangent)
        return found.reshape(len(images), math.prod(images.shape[1:]))

    wanted = jax.nn.one_hot(classes.T, logits.shape[1], dtype=logits.dtype) - own[None]
    return logits, jnp.moveaxis(jax.vmap(gradient)(wanted), 0, 1)


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
    return jnp.where(at_high | at_low, 0.0, slopes)


def _nearest(ball: Ball, logits: Array, slopes: Array, labels: Array, classes: Array) -> Array:
    """Return the smallest step [B, D] onto a boundary of the linearized net."""
    own = jnp.take_along_axis(logits, labels[:, None], 1)
    gaps = jnp.abs(jnp.take_along_axis(logits, classes, 1) - own)
    largest = jnp.abs(slopes).max(-1)
    scale = jnp.where(largest > 0, largest, 1.0)[..., None]
    unit = slopes / scale  # squares of small gradients are 0 in float32
    dual = jnp.abs(unit).sum(-1) if ball.norm == "linf" else jnp.square(unit).sum(-1)
    reach = gaps / scale[..., 0]  # how far along ``unit``, times ``dual``
    length = dual if ball.norm == "linf" else jnp.sqrt(dual)
    distance = jnp.where(largest > 0, reach / jnp.where(length > 0, length, 1.0), jnp.inf)
    chosen = jnp.argmin(distance, 1)[:, None]
    direction = jnp.take_along_axis(unit, chosen[..., None], 1)[:, 0]
    direction = jnp.sign(direction) if ball.norm == "linf" else direction
    size = jnp.take_along_axis(reach / jnp.where(dual > 0, dual, 1.0), chosen, 1)
    step = jnp.where(jnp.isfinite(size * direction), size * direction, 0.0)
    return step


def _is(labels: Array, num_classes: int) -> Array:
    return labels[:, None] == jnp.arange(num_classes)[None]
