"""A traced net evaluated for the images as they are, and all that it computes on the way.

What stands for other programs is opened, so that pieces of them can be evaluated: compiled
functions, functions with derivatives of their own, the library's activated convolution, and loops
of a few rounds.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from jaxvision.attribution.windowed import windowed
from jaxvision.dynamics.traced.layers import INLINE
from jaxvision.dynamics.traced.plan import Place, inner_program, loop_of
from jaxvision.dynamics.traced.tapped import run_one
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
        jaxpr = program.jaxpr
        values: dict[Any, Array] = dict(zip(jaxpr.constvars, program.consts, strict=True))
        values |= dict(zip(jaxpr.invars, arguments, strict=True))

        def value(variable: Any) -> Array:
            return variable.val if isinstance(variable, Literal) else values[variable]

        for number, eqn in enumerate(jaxpr.eqns):
            at = (*place, number)
            operands = [value(variable) for variable in eqn.invars]
            self.outs[at] = self._equation(jaxpr, eqn, operands, at)
            values |= dict(zip(eqn.outvars, self.outs[at], strict=True))
        return [value(variable) for variable in jaxpr.outvars]

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
        loop = loop_of(eqn)
        last = loop.fixed + loop.carried
        fixed, carry, sliced = operands[: loop.fixed], operands[loop.fixed : last], operands[last:]
        stacked = {}
        for number in rounds_of(eqn):
            own = [x[number] for x in sliced]
            outs = self.program(loop.body, [*fixed, *carry, *own], (*at, number))
            carry = outs[: loop.carried]
            stacked[number] = outs[loop.carried :]
        columns = zip(*(stacked[number] for number in sorted(stacked)), strict=True)
        return [*carry, *map(jnp.stack, columns)]


def is_unrolled(eqn: JaxprEqn) -> bool:
    """Whether an equation is a loop whose rounds are evaluated one by one."""
    return eqn.primitive.name == "scan" and eqn.params["length"] <= _LONGEST


def rounds_of(eqn: JaxprEqn) -> Sequence[int]:
    """Return the rounds of a loop, in the order in which they are run."""
    rounds = range(eqn.params["length"])
    return rounds[::-1] if eqn.params["reverse"] else rounds


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
