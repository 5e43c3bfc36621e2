"""Run a traced net with a tap on the output of every layer, and read what flows there."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jaxvision.dynamics.traced.evaluating import evaluate, run_one
from jaxvision.dynamics.traced.plan import Place, Plan, inner_program, loop_of
from jaxvision.taps import gradient_tap
from jaxvision.types import Array, PyTree


class Tap(NamedTuple):
    """The tap of a layer, with a leading axis for each loop around it.

    Attributes:
      output: on what the layer puts out.
      weights: on the weights, where they are cut from a parameter.
    """

    output: Array
    weights: Array | None


Taps = dict[int, Tap]  # by layer
Ran = tuple[list[Array], dict[int, PyTree]]  # outputs, and what was read of each layer


class Instrument(NamedTuple):
    """What is done at a layer's output.

    Attributes:
      tap: ``(output, tap) -> output``.
      read: ``output -> numbers``, of the output with its bias.
      shape: shape of the tap of an output.
      weighs: cut weights have a tap too, whose gradient is the squared norm of dW.
    """

    tap: Callable[[Array, Array], Array]
    read: Callable[[Array], PyTree]
    shape: Callable[[jax.ShapeDtypeStruct], jax.ShapeDtypeStruct]
    weighs: bool


class Moments(NamedTuple):
    """Mean and variance of a layer's output over all that it holds, float32."""

    mean: Array
    var: Array


def _moments(output: Array) -> Moments:
    output = output.astype(jnp.float32)
    return Moments(output.mean(), output.var())


# The gradient of a tap is the squared norm of delta.
NORMS = Instrument(
    tap=gradient_tap,
    read=_moments,
    shape=lambda output: jax.ShapeDtypeStruct((), jnp.float32),
    weighs=True,
)
# The tap is added; its gradient is delta.
WHOLE = Instrument(
    tap=lambda output, tap: output + tap,
    read=lambda output: output,
    shape=lambda output: output,
    weighs=False,
)


def zeros(plan: Plan, instrument: Instrument) -> Taps:
    """Return taps that change nothing."""
    taps = {}
    for index, layer in enumerate(plan.layers):
        one = instrument.shape(layer.output)
        output = jnp.zeros((*layer.rounds, *one.shape), one.dtype)
        is_weighed = instrument.weighs and layer.is_cut
        weights = jnp.zeros(layer.rounds) if is_weighed else None
        taps[index] = Tap(output, weights)
    return taps


def run(
    plan: Plan, instrument: Instrument, params: PyTree, images: PyTree, taps: Taps
) -> tuple[PyTree, dict[int, PyTree]]:
    """Run the net.

    Returns:
      What the net returns, and what the instrument has read of each layer, with a leading axis for
      each loop around it.
    """
    arguments = jax.tree.leaves((params, images))
    around = set()
    for place in (*plan.products, *plan.biases):
        around |= {place[:size] for size in range(1, len(place))}
    walk = _Walk(plan, instrument, frozenset(around))
    outs, read = walk.program(plan.program, arguments, (), taps)
    return jax.tree.unflatten(jax.tree.structure(plan.output), outs), read


class _Walk(NamedTuple):
    plan: Plan
    instrument: Instrument
    around: frozenset[Place]  # equations with layers inside

    def program(
        self, program: ClosedJaxpr, arguments: Sequence[Array], place: Place, taps: Taps
    ) -> Ran:
        """Run a program."""
        read: dict[int, PyTree] = {}

        def equation(jaxpr: Jaxpr, eqn: JaxprEqn, operands: list[Array], at: Place) -> list[Array]:
            if at in self.around:
                outs, found = self._opened(eqn, operands, at, taps)
            elif at in self.plan.products:
                outs, found = self._layer(jaxpr, eqn, operands, self.plan.products[at], taps)
            else:
                outs, found = run_one(jaxpr, eqn, operands), {}
            if at in self.plan.biases:
                found = {self.plan.biases[at]: self.instrument.read(outs[0])}
            read.update(found)
            return outs

        return evaluate(program, arguments, place, equation), read

    def _layer(
        self, jaxpr: Jaxpr, eqn: JaxprEqn, operands: list[Array], index: int, taps: Taps
    ) -> Ran:
        tap = taps[index]
        if tap.weights is not None:
            operand = self.plan.layers[index].operand
            operands[operand] = gradient_tap(operands[operand], tap.weights)
        first, *rest = run_one(jaxpr, eqn, operands)
        first = self.instrument.tap(first, tap.output)
        return [first, *rest], {index: self.instrument.read(first)}

    def _opened(self, eqn: JaxprEqn, operands: list[Array], at: Place, taps: Taps) -> Ran:
        """Run an equation that has layers inside."""
        if at in self.plan.expanded:
            return self.program(self.plan.expanded[at], operands, at, taps)
        if eqn.primitive.name == "scan":
            return self._loop(eqn, operands, at, taps)
        inner = inner_program(eqn)
        if "prevent_cse" not in eqn.params:
            return self.program(inner, operands, at, taps)
        # What is computed again in the backward pass stays so.
        again = jax.checkpoint(
            lambda operands, taps: self.program(inner, operands, at, taps),
            prevent_cse=eqn.params["prevent_cse"],
            policy=eqn.params["policy"],
        )
        return again(operands, self._within(at, taps))

    def _within(self, at: Place, taps: Taps) -> Taps:
        """Return the taps of the layers inside the equation ``at``."""
        inside = [i for place, i in self.plan.products.items() if place[: len(at)] == at]
        return {index: taps[index] for index in inside}

    def _loop(self, eqn: JaxprEqn, operands: list[Array], at: Place, taps: Taps) -> Ran:
        body, first, carried = loop_of(eqn)
        last = first + carried
        fixed = operands[:first]

        def one_round(carry, given):
            sliced, taps = given
            arguments = [*fixed, *carry, *sliced]
            outs, read = self.program(body, arguments, at, taps)
            return outs[:carried], (outs[carried:], read)

        carry, (stacked, read) = lax.scan(
            one_round,
            operands[first:last],
            (operands[last:], self._within(at, taps)),
            length=eqn.params["length"],
            reverse=eqn.params["reverse"],
            unroll=eqn.params["unroll"],
        )
        return [*carry, *stacked], read
