"""Where the ReLUs of a traced net are, whoever wrote it; the program is read, nothing is computed.

A ReLU is a maximum of zero and something that the net's input is in: ``jax.nn.relu``, ``nn.relu``
and ``jnp.maximum(x, 0)`` are all that, of a zero or an array of zeros. So are ``jnp.clip(x, 0)``,
``jnp.fmax(x, 0)``, ``jnp.where(x > 0, x, 0)`` and ``x * (x > 0)``. Not so the variance of a
normalization, a difference of means of squares and squared means, which Flax keeps from falling
below 0 in the same way. Loops, ``jit``, ``remat`` and branches are looked into. The published rules
for the way back are about ReLUs alone, so other activations are refused by name: JAX's own, and
those written out that ``_Reader`` and ``_refuse_written`` know. A kink written in still another way
is not seen.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jaxvision.attribution.facts import (
    AFFINE,
    Fact,
    bounds_nothing,
    computed,
    fact_of,
    is_never,
    is_of_floats,
    is_step,
    keeps_maximum,
    number_of,
    of_constants,
    rooted,
)
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
    fed = [Fact(fed=True, pixel=True)] * len(program.jaxpr.invars)
    _Reader(sites).read(program, fed, (), 1)
    return sites


@dataclass
class _Reader:
    """Reads a program from top to bottom and notes its ReLUs."""

    sites: Sites

    def read(
        self, program: ClosedJaxpr, given: Sequence[Fact], place: Place, rounds: int
    ) -> list[Fact]:
        """Return what is known of the program's outputs."""
        jaxpr: Jaxpr = program.jaxpr
        known = {
            variable: Fact(number=number_of(value))
            for variable, value in zip(jaxpr.constvars, program.consts, strict=True)
        }
        known |= dict(zip(jaxpr.invars, rooted(given, (*place, -1)), strict=True))
        for number, eqn in enumerate(jaxpr.eqns):
            facts = [fact_of(variable, known) for variable in eqn.invars]
            here = (*place, number)
            found = self._equation(eqn, facts, here, rounds)
            known |= dict(zip(eqn.outvars, rooted(found, here), strict=True))
        return [fact_of(variable, known) for variable in jaxpr.outvars]

    def _equation(self, eqn: JaxprEqn, given: list[Fact], place: Place, rounds: int) -> list[Fact]:
        name = eqn.primitive.name
        if is_never(eqn):
            return [Fact(number=0)]
        if not any(fact.fed for fact in given):
            return [of_constants(eqn, given)] * len(eqn.outvars)
        _refuse_named(eqn)
        which = _rectified_by_cases(eqn, given)
        if which is not None:
            return [self._rectified(given[which], which, place, rounds)]
        _refuse_written(eqn, given)
        if name in INLINE:
            return self.read(inner_program(eqn), given, (*place, 0), rounds)
        if name == "scan":
            return self._loop(eqn, given, place, rounds)
        if name in ("while", "cond", "custom_jvp_call", "custom_vjp_call"):
            self._inside(eqn, given, place, rounds)
        elif name in ("max", "min") and _is_bound(eqn, given):
            return [self._bounded(name, given, place, rounds)]
        elif name == "act_conv" and eqn.params["spec"].relu and given[0].fed:
            self._note(place, 0, rounds)
        return [computed(eqn, given)] * len(eqn.outvars)

    def _bounded(self, name: str, given: list[Fact], place: Place, rounds: int) -> Fact:
        """Return what is known of the maximum or minimum of something fed and a constant."""
        which = 0 if given[0].fed else 1
        value, bound = given[which], given[1 - which].number
        if name == "max" and value.variance:
            return Fact(fed=True)
        if name == "max" and bound == 0:
            return self._rectified(value, which, place, rounds)
        if bounds_nothing(name, bound):
            return value
        if not value.pixel:
            raise _refusal(_with_bound(name, bound))
        if value.rectified is not None:  # as ``jnp.clip(images, 0, 1)``, which is no ReLU
            del self.sites.places[value.rectified]
            self.sites.count -= rounds
        return Fact(fed=True, pixel=True)

    def _rectified(self, value: Fact, which: int, place: Place, rounds: int) -> Fact:
        """Note a ReLU of an operand; return what is known of what it puts out."""
        self._note(place, which, rounds)
        return Fact(fed=True, pixel=value.pixel, rectified=place)

    def _note(self, place: Place, operand: int, rounds: int) -> None:
        self.sites.places[place] = operand
        self.sites.count += rounds

    def _loop(self, eqn: JaxprEqn, given: list[Fact], place: Place, rounds: int) -> list[Fact]:
        loop: Loop = loop_of(eqn)
        fixed = given[: loop.fixed]
        changing = [Fact(fed=True)] * (len(given) - loop.fixed)
        rounds *= eqn.params["length"]
        found = self.read(loop.body, [*fixed, *changing], (*place, 0), rounds)
        return [Fact(fed=True) for _ in found]

    def _inside(self, eqn: JaxprEqn, given: list[Fact], place: Place, rounds: int) -> None:
        """Look into an equation whose programs stand for themselves."""
        name = eqn.primitive.name
        before = self.sites.count
        for which, program in enumerate(inner_programs(eqn)):
            facts = [Fact(fed=True)] * len(program.jaxpr.invars)
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


def _is_bound(eqn: JaxprEqn, given: Sequence[Fact]) -> bool:
    """Whether one operand of two is a constant, and it is about numbers that have gradients."""
    return is_of_floats(eqn.invars[-1]) and not all(fact.fed for fact in given)


def _rectified_by_cases(eqn: JaxprEqn, given: Sequence[Fact]) -> int | None:
    """Return which operand comes out where it is above 0, and 0 elsewhere; None: none does."""
    name = eqn.primitive.name
    if not is_of_floats(eqn.outvars[0]):
        return None
    if name == "clamp" and given[0].number == 0 and bounds_nothing("min", given[2].number):
        return 1
    if name == "select_n" and len(given) == 3 and given[0].gate is not None:
        gate, *cases = given[0].gate, *given[1:]
        which = int(gate.is_open)
        is_zero = cases[1 - which].number == 0
        is_own = cases[which].same == gate.of and gate.at == 0
        return 1 + which if is_zero and is_own else None
    if name == "mul":
        for which, factor in enumerate(reversed(given)):
            gate = factor.gate
            if gate is not None and gate == (given[which].same, True, 0):
                return which
    return None


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


def _refuse_written(eqn: JaxprEqn, given: Sequence[Fact]) -> None:
    """Refuse activations that are written out, of anything but the pixels."""
    name = eqn.primitive.name
    if name == "log1p" and given[0].exponential:
        raise _refusal("softplus")
    is_past_exponential = any(fact.exponential for fact in given)
    if name == "clamp" and is_of_floats(eqn.invars[1]) and not given[1].pixel:
        raise _refusal("a hard tanh or another activation with bounds")
    if name == "select_n" and (given[0].sign or is_step(given)):
        raise _refusal("an activation by cases, such as leaky ReLU")
    if any(fact.maximum for fact in given) and not keeps_maximum(name, given):
        raise UserError(
            "the net has a maximum over values beside a number or their multiples, as a ReLU or"
            " leaky ReLU may be written, at which no rule can be put: write jax.nn.relu(x), or use"
            ' rule="gradient"'
        )
    if name == "add" and is_past_exponential and any(fact.number == 1 for fact in given):
        raise _refusal("a sigmoid, SiLU or softplus")
    if name not in ("max", "min", *AFFINE) or len(given) < 2:
        return
    one, other = given
    if not (one.fed and other.fed) or one.pixel:
        return
    if name in ("max", "min") and one.root == other.root:
        raise _refusal("leaky ReLU or another maximum of a value and its multiple")
    if one.root == other.bent or other.root == one.bent:
        raise _refusal("an activation by cases, such as x * (x > 0.5) or (x + |x|) / 2")


def _refusal(what: str) -> UserError:
    return UserError(
        f"the net has {what}: deconvnet and guided backpropagation are defined for ReLU alone, use"
        ' rule="gradient"'
    )
