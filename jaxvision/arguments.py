"""What a public call or a command is given, looked at before it is used: a mistake is one line."""

import difflib
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxvision import terminal
from jaxvision.types import Array, PyTree, UserError

MOST = (1 << 31) - 1  # the largest int32

_FORMS = (
    "a function is (images) -> logits, with None after it, or (params, images), with its params"
)
# What the first line of an error does not say -> how it is mended.
_MENDS = {
    "ScopeCollectionNotFound": "hand over all that init returned, batch_stats too",
    "TracerArrayConversionError": "it computes with NumPy: write it with jax.numpy",
}
# What other programs call it, and the words that our names for it have.
_OTHER_WORDS = {
    "lr": ("learning_rate", "rate"),
    "wd": ("weight_decay",),
    "bs": ("batch_size",),
    "batch": ("batch_size",),
    "epochs": ("steps",),
    "iterations": ("steps",),
    "seed": ("seeds",),
    "depth": ("depths",),
    "layers": ("depths",),
    "output": ("results",),
    "silent": ("quiet",),
}


def check_taken(f: Callable[[PyTree], PyTree], images: PyTree) -> None:
    """Refuse images [B, ...] that a net does not take; the net is traced, not run.

    Raises:
      UserError: with the first line of what the net says, and how to mend it where that is known.
    """
    try:
        jax.eval_shape(f, jax.tree.map(_one, images))
    except UserError:
        raise
    except Exception as error:  # each maker of nets has its own
        sizes = [jnp.shape(leaf)[1:] for leaf in jax.tree.leaves(images)[:3]]
        size = " and ".join(" x ".join(map(str, sides)) for sides in sizes)
        raise UserError(f"the net does not take images of {size}: {told(error)}") from error


def _one(leaf: Array) -> jax.ShapeDtypeStruct:
    """Return what stands for the first image alone."""
    return jax.ShapeDtypeStruct((1, *jnp.shape(leaf)[1:]), jnp.result_type(leaf))


def told(error: Exception) -> str:
    """Return the first line of a net's error, and how it is mended where that is known."""
    kind = type(error).__name__
    first = terminal.first_line(error)
    first = first.partition(" (https://")[0]  # Flax ends with a page about the kind of error
    mend = _MENDS.get(kind, "")
    if isinstance(error, TypeError) and "positional argument" in first:
        mend = _FORMS
    return f"{mend} ({first})" if mend else first


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number; a truth, which Python takes for 0 or 1, is none."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def check_whole(name: str, value: Any, least: int, most: int = MOST) -> None:
    """Refuse what is no whole number from ``least`` to ``most``; what is traced is not looked at.

    Raises:
      UserError: naming the argument.
    """
    if isinstance(value, jax.core.Tracer):
        return
    upwards = f"at least {least}" if most == MOST else f"from {least} to {most}"
    try:
        if isinstance(value, bool):  # which counts as 0 or 1
            raise TypeError("a truth is no number")
        number = operator.index(value)
    except TypeError as error:
        raise UserError(f"{name}={value!r}: a whole number, {upwards}") from error
    if not least <= number <= most:
        raise UserError(f"{name}={value}: {upwards}")


def check_rate(name: str, value: Any) -> None:
    """Refuse a learning rate that is no finite number from 0 up.

    Raises:
      UserError: naming the argument.
    """
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise UserError(f"{name}={value!r} is no number") from error
    if not 0 <= number < math.inf:
        raise UserError(f"{name}={number:g}: a finite number, at least 0")


def check_numbers(name: str, tree: PyTree) -> None:
    """Refuse leaves that are no numbers, or NaN; of what is traced the values are not looked at.

    Raises:
      UserError: naming the argument.
    """
    for leaf in jax.tree.leaves(tree):
        if isinstance(leaf, jax.core.Tracer):
            continue
        if not isinstance(leaf, jax.Array) and np.asarray(leaf).dtype.kind in "OSU":
            shown = np.asarray(leaf).ravel()[:1].tolist()
            what = f", as {shown[0]!r} is" if shown else ""
            raise UserError(f"{name} are no numbers{what}: give an array of numbers")
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            continue
        library = jnp if isinstance(leaf, jax.Array) else np
        if library.isnan(leaf).any():
            raise UserError(f"{name} have values that are no number (NaN)")


def near(name: str, known: Sequence[str]) -> Sequence[str]:
    """Return up to three known names that may be meant, the likeliest first."""
    for word in _OTHER_WORDS.get(name, ()):
        if word in known:
            return [word]
        if having := [other for other in known if word in other]:
            return having[:3]
    close = difflib.get_close_matches(name[:60], known, n=3)
    likeness = [difflib.SequenceMatcher(None, other, name[:60]).ratio() for other in close]
    return [other for other, its in zip(close, likeness, strict=True) if its == likeness[0]]
