"""One backward rule at every ReLU of any function: its program is run again with ours in place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jaxvision.attribution import relus
from jaxvision.dynamics.traced.evaluating import evaluate, run_one
from jaxvision.dynamics.traced.plan import Place, inner_program, inner_programs, loop_of
from jaxvision.native import primitives
from jaxvision.native.definition import Scaled, Spec
from jaxvision.relu import Rule, backward_rule, relu
from jaxvision.types import Array, PyTree, UserError


def ruled(function: Callable[..., PyTree], rule: Rule) -> Callable[..., PyTree]:
    """Return ``function`` with ``rule`` at all its ReLUs; its values are the same.

    The function may come from any framework and be compiled already. It is traced anew at every
    call, so that nothing of the rule stays behind in it: compile what calls it.

    Args:
      function: arrays -> arrays; all it takes are its inputs.
      rule: see ``jaxvision.relu``.

    Raises:
      UserError: when it is called: it has no ReLU, or an activation that is none.
    """

    def with_rule(*inputs: PyTree) -> PyTree:
        with backward_rule("gradient"):
            sites = relus.find(function, *inputs)
        if not sites.count:
            raise UserError(
                "no ReLU was reached, so the map would be the plain gradient: is the net linear, or"
                " its ReLU written in another way than jax.nn.relu or jnp.maximum(x, 0)?"
            )
        # At zero itself a ReLU by cases may have the gradient 1, and a maximum has 1/2.
        places = {} if rule == "gradient" else sites.places
        with backward_rule(rule):
            outs = _Walk(places).program(sites.program, jax.tree.leaves(inputs), ())
        return jax.tree.unflatten(jax.tree.structure(sites.output), outs)

    return with_rule


@dataclass
class _Walk:
    """Runs a program, our ReLU at ``places``, of the operand that is named there."""

    places: Mapping[Place, int]

    def __post_init__(self) -> None:
        self._around = {place[:size] for place in self.places for size in range(1, len(place))}

    def program(
        self, program: ClosedJaxpr, arguments: Sequence[Array], place: Place
    ) -> list[Array]:
        """Return the outputs of a program."""
        return evaluate(program, arguments, place, self._equation)

    def _equation(
        self, jaxpr: Jaxpr, eqn: JaxprEqn, operands: list[Array], at: Place
    ) -> list[Array]:
        if at in self.places:
            return _rectified(eqn, operands, self.places[at])
        if at in self._around:
            return self._opened(eqn, operands, at)
        return run_one(jaxpr, eqn, operands)

    def _opened(self, eqn: JaxprEqn, operands: list[Array], at: Place) -> list[Array]:
        """Run an equation that has ReLUs inside."""
        name = eqn.primitive.name
        if name == "scan":
            return self._loop(eqn, operands, at)
        if name == "cond":
            return self._branches(eqn, operands, at)
        inner = inner_program(eqn)
        if "prevent_cse" not in eqn.params:
            return self.program(inner, operands, (*at, 0))
        # What is computed again in the backward pass stays so.
        again = jax.checkpoint(
            lambda operands: self.program(inner, operands, (*at, 0)),
            prevent_cse=eqn.params["prevent_cse"],
            policy=eqn.params["policy"],
        )
        return again(operands)

    def _branches(self, eqn: JaxprEqn, operands: list[Array], at: Place) -> list[Array]:
        def branch(which: int, program: ClosedJaxpr) -> Callable[..., list[Array]]:
            return lambda *given: self.program(program, given, (*at, which))

        branches = [branch(which, inner) for which, inner in enumerate(inner_programs(eqn))]
        index, *given = operands
        return lax.switch(index, branches, *given)

    def _loop(self, eqn: JaxprEqn, operands: list[Array], at: Place) -> list[Array]:
        body, first, carried = loop_of(eqn)
        last = first + carried
        fixed = operands[:first]

        def one_round(carry: list[Array], sliced: list[Array]) -> tuple[list[Array], list[Array]]:
            outs = self.program(body, [*fixed, *carry, *sliced], (*at, 0))
            return outs[:carried], outs[carried:]

        carry, stacked = lax.scan(
            one_round,
            operands[first:last],
            operands[last:],
            length=eqn.params["length"],
            reverse=eqn.params["reverse"],
            unroll=eqn.params["unroll"],
        )
        return [*carry, *stacked]


def _rectified(eqn: JaxprEqn, operands: list[Array], which: int) -> list[Array]:
    """Return what an equation that is a ReLU, or holds one of ours, puts out."""
    if eqn.primitive.name == "act_conv":
        return _convolved(eqn.params["spec"], operands)
    (out,) = eqn.outvars
    return [jnp.broadcast_to(relu(operands[which]), out.aval.shape)]


def _convolved(spec: Spec, operands: list[Array]) -> list[Array]:
    """Return what ``act_conv`` puts out: our ReLU, then its kernels for the convolution alone."""
    x, kernel, affine, residual = spec.named(operands)
    h = x if affine is None else Scaled(x, *affine).value()
    h = relu(h if residual is None else h + residual)
    alone = spec._replace(relu=False, affine=False, residual=False, keep=False)
    outs = primitives.forward(alone, [h, kernel])
    return [*outs, h] if spec.keep else outs
