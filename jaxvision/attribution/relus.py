"""Where the ReLUs of a traced net are, whoever wrote it; the program is read, nothing is computed.

A ReLU is a maximum of zero and something that the net's input is in: ``jax.nn.relu``, ``nn.relu``
and ``jnp.maximum(x, 0)`` are all that. Not so the variance of a normalization, a difference of
means of squares and squared means, which Flax keeps from falling below 0 in the same way. Loops,
``jit``, ``remat`` and branches are looked into. The published rules for the way back are about
ReLUs alone, so other activations are refused by name: JAX's own, and those written out that
``_refuse_written`` and ``_bounded`` know. A kink written in still another way is not seen.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxvision.dynamics.traced.layers import INLINE
from jaxvision.dynamics.traced.plan import Loop, Place, inner_program, inner_programs, loop_of
from jaxvision.types import PyTree, UserError

# Programs of JAX's own activations -> what a user calls them.
_NAMED = {
    "celu": "CELU",
    "elu": "ELU",
    "gelu": "GELU",
    "glu": "GLU",
    "hard_sigmoid": "a hard sigmoid",
    "hard_silu": "hard SiLU",
    "hard_swish": "hard SiLU",
    "hard_tanh": "a hard tanh",
    "leaky_relu": "leaky ReLU",
    "log_sigmoid": "a log sigmoid",
    "mish": "Mish",
    "relu6": "ReLU6",
    "selu": "SELU",
    "silu": "SiLU",
    "soft_sign": "softsign",
    "softplus": "softplus",
    "squareplus": "squareplus",
    "swish": "SiLU",
}
# Primitives of which activations are made.
_MADE_OF = {
    "erf": "GELU",
    "erfc": "GELU",
    "logistic": "a sigmoid or SiLU",
    "tanh": "tanh or GELU",
}
_COMPARISONS = {"ge", "gt", "le", "lt"}
_SPREADING = {"broadcast_in_dim", "convert_element_type", "copy", "reshape", "squeeze"}
_AFFINE = {"add", "div", "mul", "neg", "sub"}  # of one fed operand
_SCALING = {"convert_element_type", "copy", "mul", "neg"}
_FAR = 1e4  # a bound beyond this is there for -inf and the like
_GUARD = 1e-3  # and one from 0 to this keeps what is divided by from 0


class _Fact(NamedTuple):
    """What is known of a value.

    Attributes:
      fed: the input is in it.
      number: what it is, if it is one number everywhere and known.
      sign: it tells where something fed, not the pixels, is above zero.
      square: it is the square of something fed.
      variance: it is something fed minus such a square.
      pixel: it is the input itself, whatever its shape, type and unit, or what is left of it
        between bounds.
      rectified: the place of the ReLU whose output it is, if it is one's.
      root: the name of the value that it is a multiple of; None: nothing else is.
      bent: the root of what it has a kink or a step of, as |x|, the sign of x and x > 0.
      exponential: it is the exponential of something fed; not exp(-|x|), which ``logaddexp`` of
        any two values has.
    """

    fed: bool = False
    number: float | None = None
    sign: bool = False
    square: bool = False
    variance: bool = False
    pixel: bool = False
    rectified: Place | None = None
    root: Place | None = None
    bent: Place | None = None
    exponential: bool = False


@dataclass
class Sites:
    """A traced function and its ReLUs.

    Attributes:
      program: the function, flat.
      output: shapes of what it returns.
      places: of the ReLUs, and which operand each rectifies. A place is the number of an equation
        and, where programs are inside it, which of them, in turn.
      count: of the ReLUs, those in loops as often as the loop runs.
    """

    program: ClosedJaxpr
    output: PyTree
    places: dict[Place, int] = field(default_factory=dict)
    count: int = 0


def find(function: Callable[..., PyTree], *inputs: PyTree) -> Sites:
    """Trace ``function(*inputs)`` and return its ReLUs; arrays or shapes will do for inputs.

    Raises:
      UserError: the net has an activation that is no ReLU, or ReLUs where no gradient reaches them.
    """
    program, output = jax.make_jaxpr(function, return_shape=True)(*inputs)
    sites = Sites(program, output)
    fed = [_Fact(fed=True, pixel=True)] * len(program.jaxpr.invars)
    _Reader(sites).read(program, fed, (), 1)
    return sites


@dataclass
class _Reader:
    """Reads a program from top to bottom and notes its ReLUs."""

    sites: Sites

    def read(
        self, program: ClosedJaxpr, given: Sequence[_Fact], place: Place, rounds: int
    ) -> list[_Fact]:
        """Return what is known of the program's outputs."""
        jaxpr: Jaxpr = program.jaxpr
        known = {
            variable: _Fact(number=_number(value))
            for variable, value in zip(jaxpr.constvars, program.consts, strict=True)
        }
        known |= dict(zip(jaxpr.invars, _rooted(given, (*place, -1)), strict=True))
        for number, eqn in enumerate(jaxpr.eqns):
            facts = [_fact(variable, known) for variable in eqn.invars]
            here = (*place, number)
            found = self._equation(eqn, facts, here, rounds)
            known |= dict(zip(eqn.outvars, _rooted(found, here), strict=True))
        return [_fact(variable, known) for variable in jaxpr.outvars]

    def _equation(
        self, eqn: JaxprEqn, given: list[_Fact], place: Place, rounds: int
    ) -> list[_Fact]:
        name = eqn.primitive.name
        if not any(fact.fed for fact in given):
            number = given[0].number if name in _SPREADING else None
            return [_Fact(number=number)] * len(eqn.outvars)
        _refuse_named(eqn)
        _refuse_written(eqn, given)
        if name in INLINE:
            return self.read(inner_program(eqn), given, (*place, 0), rounds)
        if name == "scan":
            return self._loop(eqn, given, place, rounds)
        if name in ("while", "cond", "custom_jvp_call", "custom_vjp_call"):
            self._inside(eqn, given, place, rounds)
        elif name in ("max", "min") and _is_of_floats(eqn) and not all(f.fed for f in given):
            return [self._bounded(name, given, place, rounds)]
        elif name == "clamp" and _is_of_floats(eqn) and not given[1].pixel:
            raise _refusal("a hard tanh or another activation with bounds")
        elif name == "act_conv" and eqn.params["spec"].relu and given[0].fed:
            self._note(place, 0, rounds)
        elif name == "select_n" and given[0].sign:
            raise _refusal("an activation by cases, such as leaky ReLU or jnp.where(x > 0, x, 0)")
        return [_computed(eqn, given)] * len(eqn.outvars)

    def _bounded(self, name: str, given: list[_Fact], place: Place, rounds: int) -> _Fact:
        """Return what is known of the maximum or minimum of something fed and a constant."""
        which = 0 if given[0].fed else 1
        value, bound = given[which], given[1 - which].number
        if name == "max" and value.variance:
            return _Fact(fed=True)
        if name == "max" and bound == 0:
            self._note(place, which, rounds)
            return _Fact(fed=True, pixel=value.pixel, rectified=place)
        if _bounds_nothing(name, bound):
            return value
        if not value.pixel:
            raise _refusal(_with_bound(name, bound))
        if value.rectified is not None:  # as ``jnp.clip(images, 0, 1)``, which is no ReLU
            del self.sites.places[value.rectified]
            self.sites.count -= rounds
        return _Fact(fed=True, pixel=True)

    def _note(self, place: Place, operand: int, rounds: int) -> None:
        self.sites.places[place] = operand
        self.sites.count += rounds

    def _loop(self, eqn: JaxprEqn, given: list[_Fact], place: Place, rounds: int) -> list[_Fact]:
        loop: Loop = loop_of(eqn)
        fixed = given[: loop.fixed]
        changing = [_Fact(fed=True)] * (len(given) - loop.fixed)
        rounds *= eqn.params["length"]
        found = self.read(loop.body, [*fixed, *changing], (*place, 0), rounds)
        return [_Fact(fed=True) for _ in found]

    def _inside(self, eqn: JaxprEqn, given: list[_Fact], place: Place, rounds: int) -> None:
        """Look into an equation whose programs stand for themselves."""
        name = eqn.primitive.name
        before = self.sites.count
        for which, program in enumerate(inner_programs(eqn)):
            facts = [_Fact(fed=True)] * len(program.jaxpr.invars)
            if name == "cond":
                facts = given[1:]
            elif name == "custom_jvp_call":
                facts = given
            self.read(program, facts, (*place, which), rounds)
        found = self.sites.count - before
        if found and name == "while":
            raise UserError(
                "the net has ReLUs in a while loop, through which no gradient goes back: use"
                " jax.lax.scan, or fori_loop with bounds that are known"
            )
        is_alone = name == "custom_jvp_call" and _is_relu_alone(inner_program(eqn))
        if found and name in ("custom_jvp_call", "custom_vjp_call") and not is_alone:
            raise _refusal("an activation with a derivative of its own")


def _rooted(facts: Sequence[_Fact], place: Place) -> list[_Fact]:
    """Return facts with a root each: of a value that is no multiple of another, its own place."""
    return [
        fact._replace(root=(*place, which)) if fact.fed and fact.root is None else fact
        for which, fact in enumerate(facts)
    ]


def _computed(eqn: JaxprEqn, given: Sequence[_Fact]) -> _Fact:
    """Return what is known of what an equation makes of something fed."""
    name = eqn.primitive.name
    fed = [fact for fact in given if fact.fed]
    fact = _Fact(
        fed=True,
        square=_is_square(eqn),
        variance=name == "sub" and given[0].fed and given[1].square,
        exponential=name == "exp" and not fed[0].pixel and fed[0].bent is None,
    )
    if len(fed) > 1:
        return fact
    (value,) = fed
    is_bend = name in ("abs", "sign") or (name in _COMPARISONS and _is_of_floats(eqn))
    if is_bend and not value.pixel:
        is_sign = name in _COMPARISONS and any(other.number == 0 for other in given)
        return fact._replace(sign=is_sign, bent=value.root)
    if name in _AFFINE | _SPREADING:
        fact = fact._replace(pixel=value.pixel, bent=value.bent)
    is_multiple = name in _SCALING or (name == "div" and given[0].fed)
    return fact._replace(root=value.root) if is_multiple else fact


def _is_of_floats(eqn: JaxprEqn) -> bool:
    """Whether an equation is about numbers that have gradients, not about indices."""
    return jnp.issubdtype(eqn.invars[-1].aval.dtype, jnp.floating)


def _is_square(eqn: JaxprEqn) -> bool:
    name = eqn.primitive.name
    if name == "mul":
        return eqn.invars[0] is eqn.invars[1]
    return name == "square" or (name == "integer_pow" and eqn.params["y"] == 2)


def _fact(variable: Any, known: Mapping[Any, _Fact]) -> _Fact:
    if isinstance(variable, Literal):
        return _Fact(number=_number(variable.val))
    return known[variable]


def _number(value: Any) -> float | None:
    """Return a constant that is one real number; arrays are not looked through."""
    if isinstance(value, jax.core.Tracer) or math.prod(np.shape(value)) != 1:
        return None
    kind = jnp.result_type(value)
    is_real = jnp.issubdtype(kind, jnp.floating) or jnp.issubdtype(kind, jnp.integer)
    return float(np.ravel(value)[0]) if is_real else None


def _bounds_nothing(name: str, bound: float | None) -> bool:
    """Whether a bound is no activation's: that of a maximum of nothing, or of what divides."""
    if bound is None:
        return False
    if name == "max":
        return bound <= -_FAR or 0 < bound <= _GUARD
    return bound >= _FAR


def _with_bound(name: str, bound: float | None) -> str:
    if name == "max":
        return "a hard tanh or another activation with a lower bound that is not the number 0"
    if bound == 0:
        return "a minimum with 0, as a leaky ReLU may have"
    return "ReLU6 or another activation with an upper bound"


def _is_relu_alone(program: ClosedJaxpr) -> bool:
    """Whether a program is one maximum, perhaps with programs around it."""
    if len(program.jaxpr.eqns) != 1:
        return False
    (eqn,) = program.jaxpr.eqns
    if eqn.primitive.name in INLINE:
        return _is_relu_alone(inner_program(eqn))
    return eqn.primitive.name == "max"


def _refuse_named(eqn: JaxprEqn) -> None:
    name = eqn.primitive.name
    if name in _MADE_OF:
        raise _refusal(_MADE_OF[name])
    called = eqn.params.get("name")
    if name in INLINE and called in _NAMED:
        raise _refusal(_NAMED[called])


def _refuse_written(eqn: JaxprEqn, given: Sequence[_Fact]) -> None:
    """Refuse activations that are written out, of anything but the pixels."""
    name = eqn.primitive.name
    if name == "log1p" and given[0].exponential:
        raise _refusal("softplus")
    is_past_exponential = any(fact.exponential for fact in given)
    if name == "add" and is_past_exponential and any(fact.number == 1 for fact in given):
        raise _refusal("a sigmoid, SiLU or softplus")
    if name not in ("max", "min", *_AFFINE) or len(given) < 2:
        return
    one, other = given
    if not (one.fed and other.fed) or one.pixel:
        return
    if name in ("max", "min") and one.root == other.root:
        raise _refusal("leaky ReLU or another maximum of a value and its multiple")
    if one.root == other.bent or other.root == one.bent:
        raise _refusal("an activation by cases, such as x * (x > 0) or (x + |x|) / 2")


def _refusal(what: str) -> UserError:
    return UserError(
        f"the net has {what}: deconvnet and guided backpropagation are defined for ReLU alone, use"
        ' rule="gradient"'
    )
