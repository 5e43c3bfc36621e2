"""A traced net evaluated for the images as they are, and all that it computes on the way.

What stands for other programs is opened, so that pieces of them can be evaluated: compiled
functions, functions with derivatives of their own, the library's activated convolution, and loops
of a few rounds.
"""

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jaxvision.attribution.windowed import windowed
from jaxvision.dynamics.traced.evaluating import Value, evaluate, run_one
from jaxvision.dynamics.traced.layers import INLINE
from jaxvision.dynamics.traced.plan import Place, inner_program, loop_of
from jaxvision.native import primitives
from jaxvision.native.definition import Scaled, Spec
from jaxvision.relu import relu
from jaxvision.types import Array

_LONGEST = 16  # rounds of a loop that is opened
_OPENED = INLINE | {"custom_jvp_call", "custom_vjp_call"}


@dataclass
class Unchanged:
    """Evaluates a program and keeps what every equation puts out.

    Attributes:
      outs: of every equation.
      framed: the padded operand of equations of windows.
    """

    outs: dict[Place, list[Array]] = field(default_factory=dict)
    framed: dict[Place, Array] = field(default_factory=dict)

    def program(
        self, program: ClosedJaxpr, arguments: Sequence[Array], place: Place
    ) -> list[Array]:
        """Return the outputs of a program."""
        return evaluate(program, arguments, place, self._kept)

    def _kept(self, jaxpr: Jaxpr, eqn: JaxprEqn, operands: list[Array], at: Place) -> list[Array]:
        self.outs[at] = self._equation(jaxpr, eqn, operands, at)
        return self.outs[at]

    def _equation(
        self, jaxpr: Jaxpr, eqn: JaxprEqn, operands: list[Array], at: Place
    ) -> list[Array]:
        if is_unrolled(eqn):
            return self._loop(eqn, operands, at)
        inner = opened(eqn)
        if inner is not None:
            return self.program(inner, operands, at)
        windows = windowed(eqn)
        if windows is not None:
            self.framed[at] = windows.framed(operands[0])
        return run_one(jaxpr, eqn, operands)

    def _loop(self, eqn: JaxprEqn, operands: list[Array], at: Place) -> list[Array]:
        def one_round(body: ClosedJaxpr, given: list[Array], number: int) -> list[Array]:
            return self.program(body, given, (*at, number))

        carry, columns = run_rounds(eqn, operands, one_round, operator.getitem)
        return [*carry, *map(jnp.stack, columns)]


def run_rounds(
    eqn: JaxprEqn,
    operands: list[Value],
    one_round: Callable[[ClosedJaxpr, list[Value], int], list[Value]],
    of_round: Callable[[Value, int], Value],
) -> tuple[list[Value], list[tuple[Value, ...]]]:
    """Run a loop round by round.

    Args:
      eqn: a loop that is unrolled.
      operands: its own.
      one_round: the loop's program, its inputs, the number of the round -> its outputs.
      of_round: an operand that has a slice for every round, and the number -> that slice.

    Returns:
      What is carried in the end, and of each other output what every round puts out.
    """
    loop = loop_of(eqn)
    last = loop.fixed + loop.carried
    fixed, carry, sliced = operands[: loop.fixed], operands[loop.fixed : last], operands[last:]
    rounds = range(eqn.params["length"])
    stacked = {}
    for number in reversed(rounds) if eqn.params["reverse"] else rounds:
        own = [of_round(x, number) for x in sliced]
        outs = one_round(loop.body, [*fixed, *carry, *own], number)
        carry = outs[: loop.carried]
        stacked[number] = outs[loop.carried :]
    return carry, list(zip(*(stacked[number] for number in rounds), strict=True))


def is_unrolled(eqn: JaxprEqn) -> bool:
    """Whether an equation is a loop whose rounds are evaluated one by one."""
    return eqn.primitive.name == "scan" and eqn.params["length"] <= _LONGEST


def opened(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """Return the program that an equation stands for, None where it stands for itself."""
    if eqn.primitive.name in _OPENED:
        return inner_program(eqn)
    if eqn.primitive.name != "act_conv":
        return None
    spec: Spec = eqn.params["spec"]
    if spec.moments or not (spec.affine or spec.residual or spec.keep):
        return None
    shapes = [variable.aval for variable in eqn.invars]
    return jax.make_jaxpr(lambda *operands: _in_steps(spec, operands))(*shapes)


def _in_steps(spec: Spec, operands: Sequence[Array]) -> list[Array]:
    """Return what ``act_conv`` puts out, its convolution alone by the kernel."""
    x, kernel, affine, residual = spec.named(operands)
    h = x if affine is None else Scaled(x, *affine).value()
    h = h if residual is None else h + residual
    h = relu(h) if spec.relu else h
    alone = spec._replace(relu=False, affine=False, residual=False, keep=False)
    outs = primitives.forward(alone, [h, kernel])
    return [*outs, h] if spec.keep else outs
