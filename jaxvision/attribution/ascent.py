"""Pictures that a class or a unit likes best, by gradient ascent on a picture's codes.

``maximize`` is one scan over steps and a pure function of arrays, to be traced; the batch holds
classes and starts. What it climbs is of ``objectives``, what codes mean of ``parametrizations``,
what is done to codes after a step of ``regularizers``::

    found = maximize(
        layers, logit(range(10)), pixels(mean), codes, optax.adam(0.05), steps=200
    )
    found.last, found.trace  # [10, H, W, C], [201, 10]

Sources: Simonyan et al. 2013 (arXiv 1312.6034), section 2: the score before the softmax, with an L2
penalty; Yosinski et al. 2015 (arXiv 1506.06579) and their code: the order of a step's parts.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxvision.adversarial.threat import like
from jaxvision.arguments import check_whole, is_whole
from jaxvision.attribution.objectives import Objective
from jaxvision.attribution.parametrizations import Parametrization
from jaxvision.attribution.regularizers import Touch
from jaxvision.types import Array, PyTree, UserError

_SPARE = 1e-3  # of a reach: so much farther a picture may go
_CUTS = 30  # of one step, at most

# Pictures [B, H, W, C] -> logits [B, K] and pre-activations by layer, normalization inside.
Layers = Callable[[Array], tuple[Array, dict[str, Array]]]


class Maximized(NamedTuple):
    """What gradient ascent found from B starts in T steps.

    Attributes:
      best: [B, H, W, C], the pictures of the highest objective on the way.
      last: [B, H, W, C], those after the last step.
      trace: float32 [T + 1, B], the objective before every step and after the last; of the shifted
        pictures where there is jitter, but for the last.
      distance: float32 [T + 1, B], L2 norm of a picture minus its start.
      fired: bool [B], whether the objective was ever above 0: a unit whose pre-activation never was
        has no picture.
    """

    best: Array
    last: Array
    trace: Array
    distance: Array
    fired: Array


class _State(NamedTuple):
    """What the loop carries: codes, the optimizer's state, the best so far and its objective."""

    codes: Array
    optimizer: PyTree
    best: Array
    highest: Array


def maximize(
    layers: Layers,
    objective: Objective,
    parametrization: Parametrization,
    start: Array,
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    touches: Sequence[Touch] = (),
    l2: float | Array = 0.0,
    jitter: int | Array = 0,
    key: Array | None = None,
    reach: float | Array | None = None,
) -> Maximized:
    """Climb ``objective`` minus l2 / 2 times the codes' squared norm.

    A step: decode, shift, differentiate, move by the optimizer, touch the codes one way after the
    other, and bring them back to where codes may lie.

    Args:
      layers: the net; in eval mode, so that no picture depends on the others of the batch.
      objective: see ``objectives``; ask for pre-activations, a shut ReLU has no gradient.
      parametrization: of pictures by codes.
      start: codes [B, ...].
      optimizer: of optax; it gets minus the gradient, as one that descends, and ``value`` [B], the
        objective, where it takes extra arguments. It must treat each row by itself.
      steps: T, at least 1.
      touches: functions of codes, the objective's gradient and the step.
      l2: weight of the penalty.
      jitter: every step looks at pictures rolled by up to so many pixels along both axes, around
        the border; one roll for the whole batch.
      key: of the jitter; None: there is none.
      reach: [] or [B]; no picture goes farther from its start (L2), but for a thousandth: a step
        that leads beyond is cut short. None: all go as far as they like.

    Raises:
      UserError: no step, steps or jitter that are no whole number, jitter without a key, or what
        the objective refuses.
    """
    _check(steps, jitter, key)
    optimizer = optax.with_extra_args_support(optimizer)
    shift = _shifts(jitter, key)
    downhill = jax.grad(_depth(layers, objective, parametrization, l2), has_aux=True)
    first = parametrization.decode(start)
    away = partial(_distance_from, parametrization, first)

    def step(state: _State, index: Array) -> tuple[_State, tuple[Array, Array]]:
        gradient, (pictures, values) = downhill(state.codes, shift(index))
        best, highest = _better(state, pictures, values)
        move, kept = optimizer.update(gradient, state.optimizer, state.codes, value=values)
        codes = _touched(state.codes + move, touches, -gradient, index)
        codes = parametrization.project(codes)
        distance = _norm(pictures - first)
        if reach is not None:
            codes = _cut_short(away, state.codes, codes, distance, reach)
        return _State(codes, kept, best, highest), (values, distance)

    state = _State(start, optimizer.init(start), first, jnp.full(len(start), -jnp.inf))
    state, (trace, distance) = lax.scan(step, state, jnp.arange(steps))
    last = parametrization.decode(state.codes)
    values = objective(*layers(last))
    best, highest = _better(state, last, values)
    trace = jnp.concatenate([trace, values[None]])
    distance = jnp.concatenate([distance, _norm(last - first)[None]])
    return Maximized(best, last, trace, distance, highest > 0)


def _depth(
    layers: Layers, objective: Objective, parametrization: Parametrization, l2: float | Array
) -> Callable[[Array, Array | None], tuple[Array, tuple[Array, Array]]]:
    """Return codes, shift -> what is to become smaller, and the pictures with their objective."""

    def depth(codes: Array, shift: Array | None) -> tuple[Array, tuple[Array, Array]]:
        pictures = parametrization.decode(codes)
        seen = pictures
        if shift is not None:
            seen = jnp.roll(pictures, shift, (1, 2))
        values = objective(*layers(seen))
        penalty = jnp.square(codes).sum() / 2
        return l2 * penalty - values.sum(), (pictures, values)

    return depth


def _distance_from(parametrization: Parametrization, first: Array, codes: Array) -> Array:
    """Return how far pictures [B, ...] have gone from where they started (L2), [B]."""
    return _norm(parametrization.decode(codes) - first)


def _shifts(jitter: int | Array, key: Array | None) -> Callable[[Array], Array | None]:
    """Return step -> the roll of pictures along both axes, int32 [2]."""

    def shift(index: Array) -> Array | None:
        if key is None:
            return None
        drawn = jax.random.fold_in(key, index)
        return jax.random.randint(drawn, (2,), -jitter, jitter + 1)

    return shift


def _check(steps: int, jitter: int | Array, key: Array | None) -> None:
    if not is_whole(steps) or steps < 1:
        raise UserError(f"steps={steps}: an ascent takes at least 1, and a whole number")
    check_whole("jitter", jitter, 0)
    if key is None and (isinstance(jitter, Array) or jitter):
        raise UserError("jitter is drawn at random: give a key")


def _touched(codes: Array, touches: Sequence[Touch], gradient: Array, index: Array) -> Array:
    """Return the codes after all that is done to them at a step."""
    for touch in touches:
        codes = touch(codes, gradient, index)
    return codes


def _better(state: _State, pictures: Array, values: Array) -> tuple[Array, Array]:
    """Return the best pictures and their objective, these among them."""
    is_higher = values > state.highest
    best = jnp.where(like(is_higher, pictures), pictures, state.best)
    return best, jnp.where(is_higher, values, state.highest)


def _cut_short(
    away: Callable[[Array], Array], old: Array, new: Array, before: Array, reach: float | Array
) -> Array:
    """Return the new codes, or the point on the way to them from which ``reach`` is not passed.

    ``away`` gives the distance [B] of codes, ``before`` is that of the old ones. The share of the
    way that fits if the distance rose evenly fits at once where pictures are codes. Waves are bent
    by a sigmoid: their distance rises fastest at first, and what is left is cut again.
    """
    most = (1 + _SPARE) * reach

    def shorter(state: tuple[Array, Array, int]) -> tuple[Array, Array, int]:
        codes, after, cuts = state
        share = (reach - before) / (after - before)
        cut = old + like(jnp.clip(share, 0, 1), old) * (codes - old)
        codes = jnp.where(like(after > reach, old), cut, codes)
        return codes, away(codes), cuts + 1

    def is_beyond(state: tuple[Array, Array, int]) -> Array:
        _, after, cuts = state
        return (after > most).any() & (cuts < _CUTS)

    codes, after, _ = lax.while_loop(is_beyond, shorter, shorter((new, away(new), 0)))
    return jnp.where(like(after > most, old), old, codes)


def _norm(pictures: Array) -> Array:
    """Return the L2 norm of each picture, [B]; no gradient is taken of it."""
    axes = tuple(range(1, pictures.ndim))
    return jnp.sqrt(jnp.square(pictures).sum(axes))
