"""Learning rates as functions of the step and of the training so far, inside the compiled step.

What a schedule remembers is part of the optimizer's state. How often a run is evaluated, looked at
or stopped therefore changes nothing of what it computes::

    drops, start = step_decay((32_000, 48_000)), warm_up(below=0.8, window=100)
    scheduled(partial(caffe_sgd, 1e-4), drops, start)
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import optax

from jaxvision.types import Array, Hyper, PyTree

Optimizer = Callable[[Hyper], optax.GradientTransformation]


class Rule(NamedTuple):
    """One change of the learning rate over time.

    Attributes:
      start: what it remembers before the first step, a tree of arrays.
      rate: ``(rate, step, memory) -> rate`` of this step, which is counted from 0.
      remember: ``(memory, step, error) -> memory`` after the step, whose batch had this training
        error before the update.
    """

    start: PyTree
    rate: Callable[[Array, Array, PyTree], Array]
    remember: Callable[[PyTree, Array, Array], PyTree]


def step_decay(drops: Sequence[int], factor: float = 0.1) -> Rule:
    """Return the rule that multiplies the rate by ``factor`` at each of the steps ``drops``."""

    def rate(rate: Array, step: Array, memory: PyTree) -> Array:
        del memory
        for drop in drops:
            rate = jnp.where(step >= drop, rate * factor, rate)
        return rate

    return _forgetful(rate)


def linear_warm_up(steps: int | Array) -> Rule:
    """Return the rule by which the rate climbs in a line: 1/steps of it, 2/steps, ..., all of it.

    The first step has a rate already. Schedules that begin at 0, as optax's do, waste it: what they
    give the step i of a warm-up, counted from 0, is given here to the step before.

    Args:
      steps: that it takes; 0 is no warm-up. It may be traced: one program serves several.
    """

    def rate(rate: Array, step: Array, memory: PyTree) -> Array:
        del memory
        done = (step + 1).astype(jnp.float32)
        return rate * jnp.minimum(1.0, done / jnp.maximum(steps, 1))

    return _forgetful(rate)


def cosine_decay(first: int, end: int) -> Rule:
    """Return the rule by which the rate falls along half a cosine from step ``first`` on.

    It would reach zero at step ``end``, the number of steps of the run, which is thus never taken.
    Both ends are steps of the run, so a warm-up before ``first`` is neither forgotten nor counted
    twice.
    """

    def rate(rate: Array, step: Array, memory: PyTree) -> Array:
        del memory
        share = (step - first).astype(jnp.float32) / (end - first)
        return rate * (1 + jnp.cos(jnp.pi * jnp.clip(share, 0.0, 1.0))) / 2

    return _forgetful(rate)


def _forgetful(rate: Callable[[Array, Array, PyTree], Array]) -> Rule:
    """Return the rule of a rate that depends on the step alone."""
    return Rule((), rate, lambda memory, step, error: memory)


def linear_decay(steps: Array | float) -> Rule:
    """Return the rule by which the rate falls along a line and reaches 0 at step ``steps``.

    They may be traced: a run's hyper-parameter.
    """

    def rate(rate: Array, step: Array, memory: PyTree) -> Array:
        del memory
        done = step.astype(jnp.float32) / steps
        return rate * jnp.maximum(1 - done, 0.0)

    return Rule((), rate, lambda memory, step, error: memory)


class _WarmUp(NamedTuple):
    errors: Array  # sum of the training errors of the window so far
    over: Array  # bool


def warm_up(below: float, window: int, factor: float = 0.1) -> Rule:
    """Return the rule that holds the rate down until the net has begun to learn.

    The rate is multiplied by ``factor`` until the training error, its mean over one of the windows
    of steps [0, window), [window, 2 window), ..., has once been below ``below``. Source: He et al.
    2016 (arXiv 1512.03385), section 4.2, which starts 110 layers at .01 until 80 %, then takes .1.
    """

    def rate(rate: Array, step: Array, memory: _WarmUp) -> Array:
        del step
        return jnp.where(memory.over, rate, rate * factor)

    def remember(memory: _WarmUp, step: Array, error: Array) -> _WarmUp:
        errors = memory.errors + error
        ends = (step + 1) % window == 0
        over = memory.over | (ends & (errors / window < below))
        return _WarmUp(jnp.where(ends, 0.0, errors), over)

    return Rule(_WarmUp(jnp.float32(0), jnp.bool_(False)), rate, remember)


class ScheduledState(NamedTuple):
    """The state of an optimizer whose learning rate is scheduled."""

    step: Array  # int32 []
    learning_rate: Array  # float32 [], of the last step; before the first, its own
    memories: tuple[PyTree, ...]  # one a rule
    inner: PyTree  # of the optimizer itself


def scheduled(optimizer: Optimizer, *rules: Rule) -> Optimizer:
    """Return ``optimizer`` with its ``learning_rate`` changed by every rule, one after the other.

    The hyper-parameter stays traced: it is the rate that the rules start from. ``train_step``
    reports the rate of each step as the metric ``learning_rate``.
    """

    def rate_at(hyper: Hyper, step: Array, memories: tuple[PyTree, ...]) -> Array:
        rate = jnp.asarray(hyper["learning_rate"], jnp.float32)
        for rule, memory in zip(rules, memories, strict=True):
            rate = rule.rate(rate, step, memory)
        return rate

    def of(hyper: Hyper) -> optax.GradientTransformationExtraArgs:
        def init(params: PyTree) -> ScheduledState:
            step, memories = jnp.int32(0), tuple(rule.start for rule in rules)
            inner = optimizer(hyper).init(params)
            return ScheduledState(step, rate_at(hyper, step, memories), memories, inner)

        def update(
            gradients: PyTree,
            state: ScheduledState,
            params: PyTree,
            *,
            error: Array,
            **others: Array,
        ) -> tuple[PyTree, ScheduledState]:
            rate = rate_at(hyper, state.step, state.memories)
            now = optax.with_extra_args_support(optimizer(hyper | {"learning_rate": rate}))
            updates, inner = now.update(gradients, state.inner, params, error=error, **others)
            memories = tuple(
                rule.remember(memory, state.step, error)
                for rule, memory in zip(rules, state.memories, strict=True)
            )
            return updates, ScheduledState(state.step + 1, rate, memories, inner)

        return optax.GradientTransformationExtraArgs(init, update)

    return of


def rate_used(opt_state: PyTree) -> dict[str, Array]:
    """Return ``{'learning_rate': of the last step}`` of a scheduled optimizer, else nothing.

    It may lie within another one, as in ``averaging``.
    """
    if isinstance(opt_state, ScheduledState):
        return {"learning_rate": opt_state.learning_rate}
    inner = getattr(opt_state, "inner", None)
    return {} if inner is None else rate_used(inner)
