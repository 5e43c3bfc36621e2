"""What is found in a traced net: its layers, and where in the program they are."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jaxvision.dynamics.traced.sources import Source
from jaxvision.types import PyTree

Place = tuple[int, ...]  # of an equation: its number in each program from the outermost on


class Layer(NamedTuple):
    """A product of a signal with weights.

    Attributes:
      kernel: what the weights are made from.
      operand: which operand of the product they are.
      rounds: of each loop around it, outermost first, how many.
      output: shape and dtype of one round's output.
      primitive: which product; a "gather" looks rows of the weights up.
      summed: the parameter's axes that are summed over, of a convolution the window's first; None
        where they are not told apart.
    """

    kernel: Source
    operand: int
    rounds: tuple[int, ...]
    output: jax.ShapeDtypeStruct
    primitive: str
    summed: tuple[int, ...] | None

    @property
    def is_stacked(self) -> tuple[bool, ...]:
        """Of each loop, whether each round has weights of its own."""
        return tuple(level in self.kernel.varies for level in range(len(self.rounds)))

    @property
    def own_levels(self) -> list[int]:
        """The loops in which each round is a layer of its own."""
        return [level for level, own in enumerate(self.is_stacked) if own]

    @property
    def is_cut(self) -> bool:
        """Whether its weights are a part of a parameter, and not known to be which."""
        view = self.kernel.view
        if view is not None and not view.is_whole:
            return True
        return any(
            slices.get(level) is None
            for slices in self.kernel.params.values()
            for level in self.own_levels
        )


@dataclass
class Plan:
    """A traced net and what was found in it.

    Attributes:
      program: the net, flat: parameters first, then the input.
      output: shapes of what it returns.
      layers: in the order in which they are computed.
      products: where they are.
      biases: where each is added, and the layer.
      bias_params: the parameters that are biases of layers.
      expanded: what stands for an equation of our own.
      ways: of a parameter, the primitives by which it meets the signal.
    """

    program: ClosedJaxpr
    output: PyTree
    layers: list[Layer] = field(default_factory=list)
    products: dict[Place, int] = field(default_factory=dict)
    biases: dict[Place, int] = field(default_factory=dict)
    bias_params: dict[int, int] = field(default_factory=dict)
    expanded: dict[Place, ClosedJaxpr] = field(default_factory=dict)
    ways: dict[int, set[str]] = field(default_factory=dict)


def inner_program(eqn: JaxprEqn) -> ClosedJaxpr | None:
    """Return the first program inside an equation."""
    return next(iter(inner_programs(eqn)), None)


class Loop(NamedTuple):
    """A ``scan``: its program, and how many of its operands stay and how many are carried."""

    body: ClosedJaxpr
    fixed: int
    carried: int


def loop_of(eqn: JaxprEqn) -> Loop:
    """Return a ``scan`` in its parts, read off the shapes: their names differ between versions."""
    body = inner_program(eqn)
    sliced = _one_axis_more(eqn.invars, body.jaxpr.invars)
    stacked = _one_axis_more(eqn.outvars, body.jaxpr.outvars)
    carried = len(eqn.outvars) - stacked
    return Loop(body, len(eqn.invars) - carried - sliced, carried)


def _one_axis_more(outside: Sequence, inside: Sequence) -> int:
    pairs = zip(outside, inside, strict=True)
    return sum(len(out.aval.shape) > len(own.aval.shape) for out, own in pairs)


def inner_programs(eqn: JaxprEqn) -> list[ClosedJaxpr]:
    """Return the programs inside an equation, whatever their names."""
    found = []
    for value in eqn.params.values():
        for one in value if isinstance(value, tuple | list) else (value,):
            if isinstance(one, ClosedJaxpr):
                found.append(one)
            elif isinstance(one, Jaxpr):
                found.append(ClosedJaxpr(one, ()))
    return found
