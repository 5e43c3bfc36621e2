"""Class pictures of one net, by all ways in one program: a way is a row of numbers."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxvision.attribution.ascent import Layers, maximize
from jaxvision.attribution.objectives import Objective, log_probability, logit, probability
from jaxvision.attribution.parametrizations import SPREAD, Parametrization, fourier, pixels
from jaxvision.attribution.regularizers import (
    Touch,
    blurred,
    decayed,
    progress,
    without_small,
    without_unhelpful,
)
from jaxvision.types import Array, PyTree

OBJECTIVES = (logit, log_probability, probability)
FIRST_PART = 0.2  # of the way from a start to its picture, on which gradients are compared
NOISE = 10 / 255  # of a start in pixels, around the mean image: Yosinski et al. 2015


class Ways(NamedTuple):
    """Ways to make pictures, fields [W] of one row for each.

    Attributes:
      objective: int32, a row of ``OBJECTIVES``.
      waves: bool, codes are waves and no pixels.
      jitter: int32, pixels.
      l2: weight of the penalty.
      rate: of Adam.
      gain: of the objective, a step: Yosinski's steps; 0: those of Adam.
      decay: share of the codes.
      blur: pixels.
      keeps_contrast: bool, the blur leaves codes as long as they were.
      small_norm: percentage of pixels.
      small_contribution: percentage of pixels.
      leads: bool, ways that are ``near`` and follow end where this one ended.
      near: bool, pictures stop as far from their start as those of the last way that led.
    """

    objective: Array
    waves: Array
    jitter: Array
    l2: Array
    rate: Array
    gain: Array
    decay: Array
    blur: Array
    keeps_contrast: Array
    small_norm: Array
    small_contribution: Array
    leads: Array
    near: Array


class Made(NamedTuple):
    """What W ways made of B starts.

    Attributes:
      pictures: [W, B, H, W, C], after the last step.
      distance: [W, B], L2 norm from the start.
      start: [B, H, W, C], of the first way.
    """

    pictures: Array
    distance: Array
    start: Array


def make(
    layers: Layers,
    key: Array,
    ways: Ways,
    center: Array,
    *,
    classes: Sequence[int],
    colors: np.ndarray,
    steps: int,
) -> Made:
    """Climb from one set of starts by every way; to be traced.

    Args:
      layers: the net.
      key: of starts and jitter.
      ways: fields [W].
      center: [H, W, C], the mean image, in [0, 1].
      classes: B of them, one for each start.
      colors: see ``fourier``.
      steps: of every way.
    """
    drawn, shifts = jax.random.split(key)
    noise = jax.random.normal(drawn, (len(classes), *center.shape))

    def one(reach: Array, way: Ways) -> tuple[Array, tuple[Array, Array]]:
        found = maximize(
            layers,
            _objective(way, classes),
            _parametrization(way, center, colors),
            noise * jnp.where(way.waves, SPREAD, NOISE),
            _optimizer(way),
            steps=steps,
            touches=_touches(way),
            l2=way.l2,
            jitter=way.jitter,
            key=shifts,
            reach=jnp.where(way.near, reach, jnp.inf),
        )
        ended = found.distance[-1]
        return jnp.where(way.leads, ended, reach), (found.last, ended)

    anywhere = jnp.full(len(classes), jnp.inf)
    _, (pictures, distance) = lax.scan(one, anywhere, ways)
    start = jnp.clip(center[None] + NOISE * noise, 0.0, 1.0)
    return Made(pictures, distance, start)


def _objective(way: Ways, classes: Sequence[int]) -> Objective:
    climbed = [objective(classes) for objective in OBJECTIVES]

    def value(logits: Array, activations: dict[str, Array]) -> Array:
        each = [of(logits, activations) for of in climbed]
        return jnp.stack(each)[way.objective]

    return value


def _parametrization(way: Ways, center: Array, colors: np.ndarray) -> Parametrization:
    height, width, _ = center.shape
    of_waves = fourier(height, width, colors)
    of_pixels = pixels(center)

    def decode(codes: Array) -> Array:
        return lax.cond(way.waves, of_waves.decode, of_pixels.decode, codes)

    def project(codes: Array) -> Array:
        return jnp.where(way.waves, codes, of_pixels.project(codes))

    return Parametrization(decode, None, project)


def _optimizer(way: Ways) -> optax.GradientTransformation:
    adam = optax.adam(way.rate)
    rising = progress(way.gain, jnp.inf)

    def update(gradient: Array, state: PyTree, params: Array | None = None) -> tuple[Array, PyTree]:
        by_adam, state = adam.update(gradient, state, params)
        by_progress, _ = rising.update(gradient, optax.EmptyState())
        return jnp.where(way.gain > 0, by_progress, by_adam), state

    return optax.GradientTransformation(adam.init, update)


def _touches(way: Ways) -> Sequence[Touch]:
    return (
        decayed(way.decay),
        only_where(way.blur > 0, blurring(way)),
        only_where(way.small_norm > 0, without_small(way.small_norm)),
        only_where(way.small_contribution > 0, without_unhelpful(way.small_contribution)),
    )


def only_where(is_wanted: Array, touch: Touch) -> Touch:
    """Return a touch that costs nothing in ways that do not want it."""

    def some(codes: Array, gradient: Array, step: Array) -> Array:
        return lax.cond(is_wanted, touch, lambda codes, *_: codes, codes, gradient, step)

    return some


def blurring(way: Ways) -> Touch:
    """Return the blur of a way, after which codes may be stretched to the length that they had."""
    soften = blurred(way.blur)

    def touch(codes: Array, gradient: Array, step: Array) -> Array:
        soft = soften(codes, gradient, step)
        shrunk = _norm(codes) / jnp.maximum(_norm(soft), 1e-12)
        scale = jnp.where(way.keeps_contrast, shrunk, 1.0)
        return scale[:, None, None, None] * soft

    return touch


class Slopes(NamedTuple):
    """Gradients of a class's logit, log p and p on the first part of the way to a picture.

    Attributes:
      norms: [3, T, B], L2.
      probability: [T, B], p.
      log_error: [T, B], |grad log p - (grad S_c - sum_k p_k grad S_k)| over the norm of grad S_c.
      p_error: [T, B], |grad p - p grad log p| over the norm of grad S_c.
    """

    norms: Array
    probability: Array
    log_error: Array
    p_error: Array


def slopes(layers: Layers, start: Array, end: Array, classes: Sequence[int], points: int) -> Slopes:
    """Compare the gradients of the three objectives at T ``points`` of the straight way; traced.

    Of its first fifth: beyond it the net has long been sure.
    """
    rows = np.arange(len(classes))

    def values(x: Array) -> tuple[Array, Array]:
        logits, activations = layers(x)
        each = [objective(classes)(logits, activations) for objective in OBJECTIVES]
        p = jax.nn.softmax(logits)
        return jnp.concatenate([logits.T, jnp.stack(each)]), p

    def at(share: Array) -> Slopes:
        x = start + share * (end - start)
        summed = _rows_summed(values)
        count = jax.eval_shape(values, x)[0].shape[0]
        gradients, p = lax.map(lambda row: jax.grad(summed, has_aux=True)(x, row), np.arange(count))
        p = p[0]
        of_scores, (own, of_log, of_p) = gradients[:-3], gradients[-3:]
        others = jnp.einsum("bk,kbhwc->bhwc", p, of_scores)
        own_p = p[rows, np.asarray(classes)]
        expected = own_p[:, None, None, None] * of_log
        norms = jnp.stack([_norm(own), _norm(of_log), _norm(of_p)])
        log_error = _norm(of_log - (own - others)) / norms[0]
        p_error = _norm(of_p - expected) / norms[0]
        return Slopes(norms, own_p, log_error, p_error)

    found = lax.map(at, jnp.linspace(0.0, FIRST_PART, points))
    return found._replace(norms=jnp.moveaxis(found.norms, 1, 0))


def _rows_summed(values: Callable) -> Callable:
    def summed(x: Array, row: Array) -> tuple[Array, Array]:
        each, p = values(x)
        return each[row].sum(), p

    return summed


def _norm(pictures: Array) -> Array:
    return jnp.sqrt(jnp.square(pictures).sum((1, 2, 3)))
