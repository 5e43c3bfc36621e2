"""What a public call is asked for: a method, and only what that method takes."""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxvision.adversarial.evolution import Budget
from jaxvision.adversarial.results import Result
from jaxvision.adversarial.threat import LINF, Ball
from jaxvision.arguments import is_whole
from jaxvision.types import UserError

_COUNTS = ("steps", "restarts", "pixels", "bisections", "candidates")  # options that say how often
_LENGTHS = ("relative_step", "step_size", "learning_rate")  # that say how far a step goes
_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def check_call(
    method: Callable[..., Result], eps: Any, seed: int | None, options: dict[str, Any]
) -> None:
    """Refuse a method that is none, and options that it does not take.

    Args:
      method: of an attack.
      eps: as the user gave it, or None.
      seed: likewise.
      options: the method's own, by name.

    Raises:
      UserError: with what is wrong, in one line.
    """
    example = "jaxvision.adversarial.gradient.fgsm"
    takes = _taken_by(method, example)
    _check_size_and_seed(_name_of(method), takes, eps, seed, options)
    sizes = () if eps is None else ("eps",)
    drawn = {} if seed is None else {"key": seed}
    given = ("net", "images", "labels", *sizes)
    check_method(method, given, options | drawn, example)
    _check_options(takes, options)
    restarts = options.get("restarts", 1)
    if restarts > 1 and seed is None and options.get("key") is None:
        raise UserError(
            f"restarts={restarts} without a seed would all start at the image: give one"
        )


def _check_options(
    takes: Mapping[str, inspect.Parameter],
    options: Mapping[str, Any],
) -> None:
    """Refuse options of a name that is known here, and of a kind or size that makes no sense."""
    if not isinstance(options.get("ball", LINF), Ball):
        raise UserError(f"ball={options['ball']!r}: one of jaxvision.adversarial.threat, as L2")
    for name, value in options.items():
        if name not in takes or (value is None and takes[name].default is None):
            continue
        if name in _COUNTS:
            _check_count(name, value)
        if name in _LENGTHS:
            _check_length(name, value)
        if name in _KINDS and (name == "key" or _KINDS[name][0](takes[name].default)):
            _check_kind(name, value)


def _check_size_and_seed(
    name: str,
    takes: Mapping[str, inspect.Parameter],
    eps: Any,
    seed: int | None,
    options: Mapping[str, Any],
) -> None:
    """Refuse a size or a seed that the method has no use for, and none where it needs one."""
    kinds = {parameter.kind for parameter in takes.values()}
    any_place = inspect.Parameter.VAR_POSITIONAL in kinds
    any_name = inspect.Parameter.VAR_KEYWORD in kinds
    fourth = [name for name, found in takes.items() if found.kind in _BY_POSITION][3:4]
    if eps is not None and not any_place and fourth in ([], ["key"]):
        raise UserError(f"{name} takes no eps: leave it out")
    if seed is not None and "key" not in takes and not any_name:
        raise UserError(f"{name} draws nothing at random: leave seed={seed} out")
    needs_key = "key" in takes and takes["key"].default is inspect.Parameter.empty
    if needs_key and seed is None and "key" not in options:
        raise UserError(f"{name} draws at random: give it a seed, as seed=0")


def _check_count(name: str, count: Any) -> None:
    """Refuse what is no number of times."""
    if not is_whole(count) or count < 1:
        raise UserError(f"{name}={count!r}: a whole number, at least 1")


def _check_length(name: str, length: Any) -> None:
    """Refuse what is no length of a step: by steps that go nowhere every net looks robust."""
    number = np.asarray(length)
    is_number = number.ndim == 0 and number.dtype.kind in "iuf"
    if not is_number or not 0 < number < math.inf:
        raise UserError(f"{name}={length!r}: a finite number above 0")
    if name == "step_size" and length >= 1:
        raise UserError(f"step_size={length:g} crosses all of [0, 1]: write {length:g}/255")


def _check_kind(name: str, value: Any) -> None:
    """Refuse an option of another kind: its error would speak of JAX's insides."""
    is_right, kind = _KINDS[name]
    if not is_right(value):
        raise UserError(f"{name}={value!r}: {kind}")


def _is_share(value: Any) -> bool:
    number = np.asarray(value)
    return number.ndim == 0 and number.dtype.kind in "iuf" and 0 <= number < math.inf


def _is_key(value: Any) -> bool:
    """Return whether it is a key, of the new kind or the old."""
    if not isinstance(value, jax.Array):
        return False
    is_old = value.shape == (2,) and value.dtype == np.uint32
    return is_old or jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key)


def _taken_by(method: Callable, example: str) -> Mapping[str, inspect.Parameter]:
    """Return what a method takes, by name; refuse what is no function."""
    if not callable(method):
        raise UserError(f"method={method!r} is no function: take one such as {example}")
    return inspect.signature(method).parameters


def _name_of(method: Callable) -> str:
    return getattr(method, "__name__", "the method")


# What an option must be, and how to mend what is not.
_KINDS = {
    "overshoot": (_is_share, "a finite number, at least 0"),
    "loss": (callable, "a function of logits [B, K] and classes [B], as aims.log_odds_against"),
    "budget": (
        lambda value: isinstance(value, Budget),
        "a jaxvision.adversarial.evolution.Budget, as Budget(400, 100)",
    ),
    "key": (_is_key, "one of jax.random.key, or leave it out and give seed=0"),
}


def check_method(
    method: Callable, given: Sequence[str], options: Mapping[str, Any], example: str
) -> None:
    """Refuse a method that is none, and options that it does not take.

    Args:
      method: what a public call was handed.
      given: names of the arguments that it gets by position, three or more.
      options: those that it gets by name.
      example: a method, with its module.

    Raises:
      UserError: with what the method takes beside the first three.
    """
    takes = _taken_by(method, example)
    try:
        inspect.signature(method).bind(*given, **options)
    except TypeError as error:
        others = ", ".join(list(takes)[3:])
        first, second, third = given[:3]
        raise UserError(
            f"{_name_of(method)}: {error}; beside {first}, {second} and {third} it takes {others}"
        ) from error
