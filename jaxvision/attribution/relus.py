"""Where the ReLUs of a traced net are, whoever wrote it; the program is read, nothing is computed.

A ReLU is a maximum of zero and something that the net's input is in: ``jax.nn.relu``, ``nn.relu``
and ``jnp.maximum(x, 0)`` are all that. Not so the variance of a normalization, a difference of
means of squares and squared means, which Flax keeps from falling below 0 in the same way. Loops,
``jit``, ``remat`` and branches are looked into. The published rules for the way back are about
ReLUs alone, so other activations are refused by name.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
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
_SIGN_TESTS = {"ge", "gt", "le", "lt"}
_SPREADING = {"broadcast_in_dim", "convert_element_type", "copy", "reshape", "squeeze"}


class _Fact(NamedTuple):
    """What is known of a value.

    Attributes:
      fed: the input is in it.
      zero: it is zero.
      sign: it is the sign of something fed.
      square: it is the square of something fed.
      variance: it is something fed minus such a square.
      pixel: it is the input itself, whatever its shape and type, or what is left of it above zero.
      rectified: the place of the ReLU whose output it is, if it is one's.
    """

    fed: bool = False
    zero: bool = False
    sign: bool = False
    square: bool = False
    variance: bool = False
    pixel: bool = False
    rectified: Place | None = None


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
            variable: _Fact(zero=_is_zero(value))
            for variable, value in zip(jaxpr.constvars, program.consts, strict=True)
        }
        known |= dict(zip(jaxpr.invars, given, strict=True))
        for number, eqn in enumerate(jaxpr.eqns):
            facts = [_fact(variable, known) for variable in eqn.invars]
            found = self._equation(eqn, facts, (*place, number), rounds)
            known |= dict(zip(eqn.outvars, found, strict=True))
        return [_fact(variable, known) for variable in jaxpr.outvars]

    def _equation(
        self, eqn: JaxprEqn, given: list[_Fact], place: Place, rounds: int
    ) -> list[_Fact]:
        name = eqn.primitive.name
        if not any(fact.fed for fact in given):
            is_zero = name in _SPREADING and given[0].zero
            return [_Fact(zero=is_zero)] * len(eqn.outvars)
        _refuse_named(eqn)
        if name in INLINE:
            return self.read(inner_program(eqn), given, (*place, 0), rounds)
        if name == "scan":
            return self._loop(eqn, given, place, rounds)
        if name in ("while", "cond", "custom_jvp_call", "custom_vjp_call"):
            self._inside(eqn, given, place, rounds)
        elif name == "max" and any(fact.variance for fact in given):
            pass
        elif name == "max" and any(fact.zero for fact in given):
            operand = [fact.zero for fact in given].index(False)
            self._note(place, operand, rounds)
            return [_Fact(fed=True, pixel=given[operand].pixel, rectified=place)]
        elif name == "min" and not all(fact.fed for fact in given):
            self._cut_off(given[0] if given[0].fed else given[1], rounds)
        elif name == "act_conv" and eqn.params["spec"].relu and given[0].fed:
            self._note(place, 0, rounds)
        elif name == "select_n" and given[0].sign:
            raise _refusal("an activation by cases, such as leaky ReLU or jnp.where(x > 0, x, 0)")
        return [_computed(eqn, given)] * len(eqn.outvars)

    def _cut_off(self, fact: _Fact, rounds: int) -> None:
        """Take what bounds the pixels, as ``jnp.clip(images, 0, 1)``, for no ReLU."""
        if fact.rectified is None:
            return
        if not fact.pixel:
            raise _refusal("ReLU6 or another activation with an upper bound")
        del self.sites.places[fact.rectified]
        self.sites.count -= rounds

    def _note(self, place: Place, operand: int, rounds: int) -> None:
        self.sites.places[place] = operand
        self.sites.count += rounds

    def _loop(self, eqn: JaxprEqn, given: list[_Fact], place: Place, rounds: int) -> list[_Fact]:
        loop: Loop = loop_of(eqn)
        fixed = given[: loop.fixed]
        changing = [_Fact(fed=True)] * (len(given) - loop.fixed)
        rounds *= eqn.params["length"]
        found = self.read(loop.body, [*fixed, *changing], (*place, 0), rounds)
        return [fact._replace(zero=False) for fact in found]

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


def _computed(eqn: JaxprEqn, given: Sequence[_Fact]) -> _Fact:
    """Return what is known of what an equation makes of something fed."""
    name = eqn.primitive.name
    return _Fact(
        fed=True,
        sign=name in _SIGN_TESTS and any(fact.zero for fact in given),
        square=_is_square(eqn),
        variance=name == "sub" and given[0].fed and given[1].square,
        pixel=name in _SPREADING and given[0].pixel,
    )


def _is_square(eqn: JaxprEqn) -> bool:
    name = eqn.primitive.name
    if name == "mul":
        return eqn.invars[0] is eqn.invars[1]
    return name == "square" or (name == "integer_pow" and eqn.params["y"] == 2)


def _fact(variable: Any, known: Mapping[Any, _Fact]) -> _Fact:
    if isinstance(variable, Literal):
        return _Fact(zero=_is_zero(variable.val))
    return known[variable]


def _is_zero(value: Any) -> bool:
    """Whether a constant is the number 0; arrays are not looked through."""
    if isinstance(value, jax.core.Tracer) or math.prod(np.shape(value)) != 1:
        return False
    return bool(np.all(np.asarray(value) == 0))


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


def _refusal(what: str) -> UserError:
    return UserError(
        f"the net has {what}: deconvnet and guided backpropagation are defined for ReLU alone, use"
        ' rule="gradient"'
    )
