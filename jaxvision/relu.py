"""The rectifier of every net here, and the rule by which signals go back through it.

What passes a unit with pre-activation x when the signal g arrives:

    gradient   g where x > 0                   Simonyan et al. 2013 (arXiv 1312.6034)
    deconvnet  g where g > 0                   Zeiler & Fergus 2013 (arXiv 1311.2901)
    guided     g where x > 0 and g > 0         Springenberg et al. 2014 (arXiv 1412.6806)

The last two are derivatives of no function: they make pictures of what a unit responds to.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jaxvision.types import Array, UserError

Rule = Literal["gradient", "deconvnet", "guided"]
RULES: tuple[Rule, ...] = get_args(Rule)

_rule: ContextVar[Rule] = ContextVar("backward_rule", default="gradient")


@contextlib.contextmanager
def backward_rule(rule: Rule) -> Iterator[None]:
    """Nets traced inside send signals back through their ReLUs by this rule.

    It is read while a program is traced: one that is compiled already stays as it is, so what is
    traced here must not be kept under a name that is used elsewhere. ``attribution.ruled`` puts a
    rule into any function without that danger.

    Raises:
      UserError: there is no such rule.
    """
    if rule not in RULES:
        raise UserError(f"rule={rule!r}: use one of {', '.join(RULES)}")
    token = _rule.set(rule)
    try:
        yield
    finally:
        _rule.reset(token)


def current_rule() -> Rule:
    """Return the rule of nets that are traced now."""
    return _rule.get()


def relu(x: Array) -> Array:
    """Return max(x, 0), ``jax.nn.relu`` itself unless another rule is asked for."""
    rule = current_rule()
    return jax.nn.relu(x) if rule == "gradient" else _ruled(x, rule)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _ruled(x: Array, rule: Rule) -> Array:
    del rule
    return jax.nn.relu(x)


def _forward(x: Array, rule: Rule) -> tuple[Array, Array]:
    return _ruled(x, rule), x > 0


def _backward(rule: Rule, is_active: Array, signal: Array) -> tuple[Array]:
    positive = jax.nn.relu(signal)
    if rule == "deconvnet":
        return (positive,)
    return (jnp.where(is_active, positive, 0),)


_ruled.defvjp(_forward, _backward)
