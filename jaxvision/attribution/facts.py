"""What is known of the values of a traced net that is read, not computed.

``relus`` makes out from it which operations are a ReLU, and which are another activation.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import JaxprEqn, Literal

from jaxvision.dynamics.traced.layers import INLINE
from jaxvision.dynamics.traced.plan import Place

AFFINE = {"add", "div", "mul", "neg", "sub"}  # of one fed operand
_COMPARISONS = {"ge", "gt", "le", "lt"}
_SPREADING = {"broadcast_in_dim", "convert_element_type", "copy", "reshape", "squeeze"}
_KEEPING = {"convert_element_type", "copy"}
_SCALING = {*_KEEPING, "mul", "neg"}
_JOINING = {"concatenate": "dimension", "stack": "axis"}
# Truths and whole numbers that are made of truths, as ``jnp.select`` makes them.
_LOGIC = {"and", "argmax", "clamp", "cumsum", "eq", "ne", "not", "or", *_SPREADING, *_JOINING}
_FAR = 1e4  # a bound beyond this is there for -inf and the like
_GUARD = 1e-3  # and one from 0 to this keeps what is divided by from 0
_LARGEST = 2**22  # entries of constants that are looked through


class Gate(NamedTuple):
    """A value that is true, or 1, where another one is above a number; or just where it is not.

    Attributes:
      of: the other one's name.
      is_open: it is true above the number; False: it is true below.
      at: the number. What holds at the number itself is left open.
    """

    of: Place
    is_open: bool
    at: float


class Fact(NamedTuple):
    """What is known of a value.

    Attributes:
      fed: the input is in it.
      number: what it is, if it is one number everywhere and known.
      sign: it is made of where something fed, not the pixels, is above zero.
      gate: it says where something fed is above a number.
      square: it is the square of something fed.
      variance: it is something fed minus such a square.
      pixel: it is the input itself, whatever its shape, type and unit, or what is left of it
        between bounds.
      rectified: the place of the ReLU whose output it is, if it is one's.
      same: the name of the value that it is, whatever its type; None: nothing else is.
      root: the name of the value that it is a multiple of; None: nothing else is.
      bent: the root of what it has a kink or a step of, as |x|, the sign of x and x > 0.
      exponential: it is the exponential of something fed; not exp(-|x|), which ``logaddexp`` of
        any two values has.
      joined: the axis along which it has something fed beside a number or its own multiple.
      maximum: it is the largest along that axis: a ReLU, or what a softmax takes off.
    """

    fed: bool = False
    number: float | None = None
    sign: bool = False
    gate: Gate | None = None
    square: bool = False
    variance: bool = False
    pixel: bool = False
    rectified: Place | None = None
    same: Place | None = None
    root: Place | None = None
    bent: Place | None = None
    exponential: bool = False
    joined: int | None = None
    maximum: bool = False


def fact_of(variable: Any, known: Mapping[Any, Fact]) -> Fact:
    """Return what is known of an operand."""
    if isinstance(variable, Literal):
        return Fact(number=number_of(variable.val))
    return known[variable]


def number_of(value: Any) -> float | None:
    """Return a constant that is one real number everywhere; truths count as 0 and 1."""
    if isinstance(value, jax.core.Tracer) or not 1 <= np.size(value) <= _LARGEST:
        return None
    kind = jnp.result_type(value)
    if not any(jnp.issubdtype(kind, real) for real in (jnp.floating, jnp.integer, jnp.bool_)):
        return None
    entries = np.ravel(value)
    return float(entries[0]) if (entries == entries[0]).all() else None


def rooted(facts: Sequence[Fact], place: Place) -> list[Fact]:
    """Return facts with names: of a value that is no other's nor a multiple, its own place."""
    named = []
    for which, fact in enumerate(facts):
        own = (*place, which)
        names = {"same": fact.same or own, "root": fact.root or own} if fact.fed else {}
        named.append(fact._replace(**names))
    return named


def of_constants(eqn: JaxprEqn, given: Sequence[Fact]) -> Fact:
    """Return what is known of what an equation makes of nothing fed."""
    return Fact(number=given[0].number if eqn.primitive.name in _SPREADING else None)


def computed(eqn: JaxprEqn, given: Sequence[Fact]) -> Fact:
    """Return what is known of what an equation makes of something fed."""
    name = eqn.primitive.name
    fed = [fact for fact in given if fact.fed]
    is_truth = name in _LOGIC and not is_of_floats(eqn.outvars[0])
    fact = Fact(
        fed=True,
        sign=is_truth and all(one.sign for one in fed),
        gate=_gate(eqn, given),
        square=_is_square(eqn),
        variance=name == "sub" and given[0].fed and given[1].square,
        exponential=name == "exp" and not fed[0].pixel and fed[0].bent is None,
        joined=_joined(eqn, given),
        maximum=_is_maximum(eqn, given),
    )
    if len(fed) > 1:
        return fact
    (value,) = fed
    is_comparison = name in _COMPARISONS and is_of_floats(eqn.invars[-1])
    if (is_comparison or name in ("abs", "sign")) and not value.pixel:
        is_sign = is_comparison and fact.gate is not None and fact.gate.at == 0
        return fact._replace(sign=is_sign, bent=value.root)
    if name in AFFINE | _SPREADING | {"not"}:
        fact = fact._replace(pixel=value.pixel, bent=value.bent)
    if name in _KEEPING and is_of_floats(eqn.outvars[0]):
        fact = fact._replace(same=value.same)
    is_multiple = name in _SCALING or (name == "div" and given[0].fed)
    return fact._replace(root=value.root) if is_multiple else fact


def _gate(eqn: JaxprEqn, given: Sequence[Fact]) -> Gate | None:
    """Return what gate an equation makes, of a value and a number or of another gate."""
    name = eqn.primitive.name
    if name in _KEEPING:
        return given[0].gate
    if name == "not":
        gate = given[0].gate
        return None if gate is None else gate._replace(is_open=not gate.is_open)
    if len(given) != 2:
        return None
    value, other = given if given[0].fed else given[::-1]
    if other.fed or other.number is None:
        return None
    if name in _COMPARISONS and is_of_floats(eqn.invars[-1]):
        return Gate(value.same, (name in ("ge", "gt")) == given[0].fed, other.number)
    is_neutral = (name, other.number) in (("or", 0), ("and", 1))
    return value.gate if is_neutral else None


def _joined(eqn: JaxprEqn, given: Sequence[Fact]) -> int | None:
    """Return the axis along which an equation puts values beside numbers or their multiples."""
    if eqn.primitive.name not in _JOINING:
        return None
    roots = [fact.root for fact in given if fact.fed and not fact.pixel]
    numbers = [fact.number for fact in given if fact.number is not None]
    has_kink = any(number > -_FAR for number in numbers) or len(set(roots)) < len(roots)
    return eqn.params[_JOINING[eqn.primitive.name]] if roots and has_kink else None


def _is_maximum(eqn: JaxprEqn, given: Sequence[Fact]) -> bool:
    name = eqn.primitive.name
    if name == "reduce_max":
        return given[0].joined in eqn.params["axes"]
    return name in _SPREADING | {"select_n"} and any(fact.maximum for fact in given)


def keeps_maximum(name: str, given: Sequence[Fact]) -> bool:
    """Whether an operation on the largest of several is one that a softmax has for it."""
    if name == "sub" and given[0].joined is not None:
        return True
    if name == "max" and any(bounds_nothing(name, fact.number) for fact in given):
        return True
    return name in _SPREADING | {"is_finite", "select_n", "stop_gradient"} | INLINE


def is_step(given: Sequence[Fact]) -> bool:
    """Whether a choice takes a value or not by where it lies, and not to keep it from 0."""
    chooser, *cases = given
    if chooser.bent is None or all(case.root != chooser.bent for case in cases):
        return False
    at = 1.0 if chooser.gate is None else abs(chooser.gate.at)
    return at == 0 or _GUARD < at < _FAR


def is_of_floats(variable: Any) -> bool:
    """Whether a value has gradients, not one of indices."""
    return jnp.issubdtype(variable.aval.dtype, jnp.floating)


def is_never(eqn: JaxprEqn) -> bool:
    """Whether an equation asks if something is not itself: NaN are left aside."""
    return eqn.primitive.name == "ne" and eqn.invars[0] is eqn.invars[1]


def bounds_nothing(name: str, bound: float | None) -> bool:
    """Whether a bound is no activation's: that of a maximum of nothing, or of what divides."""
    if bound is None:
        return False
    if name == "max":
        return bound <= -_FAR or 0 < bound <= _GUARD
    return bound >= _FAR


def _is_square(eqn: JaxprEqn) -> bool:
    name = eqn.primitive.name
    if name == "mul":
        return eqn.invars[0] is eqn.invars[1]
    return name == "square" or (name == "integer_pow" and eqn.params["y"] == 2)
