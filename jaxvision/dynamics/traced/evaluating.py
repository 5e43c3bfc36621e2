"""A traced program evaluated equation by equation, so that some can be evaluated otherwise."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, jaxpr_as_fun

from jaxvision.dynamics.traced.plan import Place
from jaxvision.types import Array

Value = TypeVar("Value")
# The program around an equation, the equation, its operands, its place -> what it puts out.
Equation = Callable[[Jaxpr, JaxprEqn, list[Value], Place], list[Value]]


def evaluate(
    program: ClosedJaxpr,
    arguments: Sequence[Value],
    place: Place,
    equation: Equation,
    constant: Callable[[Array], Value] = lambda value: value,
) -> list[Value]:
    """Return the outputs of a program.

    Args:
      program: what is evaluated.
      arguments: one for each of its inputs, arrays or what ``equation`` takes for them.
      place: of the program; () is the outermost.
      equation: evaluates one equation.
      constant: what stands for a constant of the program.
    """
    jaxpr = program.jaxpr
    constants = map(constant, program.consts)
    values: dict[Any, Value] = dict(zip(jaxpr.constvars, constants, strict=True))
    values |= dict(zip(jaxpr.invars, arguments, strict=True))

    def value(variable: Any) -> Value:
        return constant(variable.val) if isinstance(variable, Literal) else values[variable]

    for number, eqn in enumerate(jaxpr.eqns):
        operands = [value(variable) for variable in eqn.invars]
        outs = equation(jaxpr, eqn, operands, (*place, number))
        values |= dict(zip(eqn.outvars, outs, strict=True))
    return [value(variable) for variable in jaxpr.outvars]


def run_one(jaxpr: Jaxpr, eqn: JaxprEqn, operands: list[Array]) -> list[Array]:
    """Run one equation of a program by JAX itself, so that derivative rules of its own stay."""
    values = {}
    for variable, operand in zip(eqn.invars, operands, strict=True):
        if not isinstance(variable, Literal):
            values[variable] = operand
    alone = jaxpr.replace(
        constvars=(),
        invars=list(values),
        outvars=list(eqn.outvars),
        eqns=[eqn],
        effects=eqn.effects,
    )
    return jaxpr_as_fun(ClosedJaxpr(alone, ()))(*values.values())
