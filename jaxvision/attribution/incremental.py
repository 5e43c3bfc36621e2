"""A net evaluated anew where a window changes its input, and only there.

Convolutions and pools look at a few pixels, so that in the first layers a window changes a part of
each map; the rest is what it is without the window (Nakandala et al. 2020, "Incremental and
approximate computations for accelerating deep CNN inference", ACM TODS 45(4); exact here). The
traced net is run twice. Once whole, for the images as they are. Then, for every position of the
window, equations are evaluated on the changed pieces and as much around them as they read; where a
piece is nearly everything, or an operation is not local, it is put in its place and all that
follows is evaluated as ever.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal

from jaxvision.attribution.local_rules import RULES
from jaxvision.attribution.patches import Here, Patch, Seen, is_any_local
from jaxvision.attribution.spans import Spans, frames
from jaxvision.attribution.windowed import Windowed, multiplications, windowed
from jaxvision.dynamics.traced.layers import INLINE
from jaxvision.dynamics.traced.plan import Loop, Place, inner_program, loop_of
from jaxvision.dynamics.traced.tapped import run_one
from jaxvision.native import primitives
from jaxvision.native.definition import Scaled, Spec
from jaxvision.relu import relu
from jaxvision.types import Array, PyTree

_MOST = 0.75  # of the results of windows: more are evaluated whole
_LONGEST = 16  # rounds of a loop that is unrolled
_OPENED = INLINE | {"custom_jvp_call", "custom_vjp_call"}


@dataclass
class Work:
    """Multiplications of convolutions and products.

    Attributes:
      whole: where everything is computed.
      saved: of them those that are not made.
    """

    whole: float = 0
    saved: float = 0

    @property
    def share(self) -> float:
        """The share that is not made."""
        return self.saved / max(self.whole, 1)


# A position, a piece of the first input, and the spans in whose frames it lies -> what the function
# is with that piece in place, and the work.
Anew = Callable[[Here, Array, Spans], tuple[PyTree, Work]]


class Traced:
    """A function of arrays, of which the first changes in pieces; traced once."""

    def __init__(self, function: Callable[..., PyTree], *inputs: jax.ShapeDtypeStruct) -> None:
        """Trace the function for inputs of some shapes."""
        self._program, shapes = jax.make_jaxpr(function, return_shape=True)(*inputs)
        self._output = jax.tree.structure(shapes)
        self._inputs = inputs

    def at(self, *inputs: Array) -> Anew:
        """Evaluate the function, and return how it is evaluated anew where a piece changes."""
        known = _Whole()
        known.program(self._program, inputs, ())
        first, *others = inputs

        def anew(here: Here, piece: Array, spans: Spans) -> tuple[PyTree, Work]:
            walk = _Changed(known, here)
            given = [Seen(first, Patch(piece, spans)), *map(Seen, others)]
            outs = [here.everything(out) for out in walk.program(self._program, given, ())]
            return jax.tree.unflatten(self._output, outs), walk.work

        return anew

    def work(self, spans: Spans) -> Work:
        """Return the work at one position; nothing is computed."""
        found = []

        def one(index: Array, *inputs: Array) -> PyTree:
            here = Here(index)
            outs, work = self.at(*inputs)(here, here.cut(inputs[0], frames(spans)), spans)
            found.append(work)
            return outs

        jax.eval_shape(one, jax.ShapeDtypeStruct((), jnp.int32), *self._inputs)
        return found[0]


@dataclass
class _Whole:
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

    def _equation(self, jaxpr: Any, eqn: JaxprEqn, operands: list[Array], at: Place) -> list[Array]:
        if is_unrolled(eqn):
            return self._loop(loop_of(eqn), eqn, operands, at)
        inner = opened(eqn)
        if inner is not None:
            return self.program(inner, operands, at)
        windows = windowed(eqn)
        if windows is not None:
            self.framed[at] = windows.framed(operands[0])
        return run_one(jaxpr, eqn, operands)

    def _loop(self, loop: Loop, eqn: JaxprEqn, operands: list[Array], at: Place) -> list[Array]:
        last = loop.fixed + loop.carried
        carry, stacked = operands[loop.fixed : last], {}
        for number in rounds_of(eqn):
            sliced = [x[number] for x in operands[last:]]
            given = [*operands[: loop.fixed], *carry, *sliced]
            outs = self.program(loop.body, given, (*at, number))
            carry, stacked[number] = outs[: loop.carried], outs[loop.carried :]
        return [*carry, *map(jnp.stack, zip(*(stacked[n] for n in sorted(stacked)), strict=True))]


@dataclass
class _Changed:
    """Evaluates a program anew where its operands are changed.

    Attributes:
      known: what it is without the change.
      here: the position.
      work: done and left undone.
    """

    known: _Whole
    here: Here
    work: Work = field(default_factory=Work)

    def program(self, program: ClosedJaxpr, arguments: Sequence[Seen], place: Place) -> list[Seen]:
        """Return the outputs of a program."""
        jaxpr = program.jaxpr
        constants = [Seen(value) for value in program.consts]
        values: dict[Any, Seen] = dict(zip(jaxpr.constvars, constants, strict=True))
        values |= dict(zip(jaxpr.invars, arguments, strict=True))

        def value(variable: Any) -> Seen:
            return Seen(variable.val) if isinstance(variable, Literal) else values[variable]

        for number, eqn in enumerate(jaxpr.eqns):
            at = (*place, number)
            operands = [value(variable) for variable in eqn.invars]
            wholes = self.known.outs[at]
            if any(operand.patch is not None for operand in operands):
                outs = self._equation(jaxpr, eqn, operands, at)
            else:
                outs = [Seen(whole) for whole in wholes]
            values |= dict(zip(eqn.outvars, outs, strict=True))
        return [value(variable) for variable in jaxpr.outvars]

    def _equation(self, jaxpr: Any, eqn: JaxprEqn, operands: list[Seen], at: Place) -> list[Seen]:
        wholes = self.known.outs[at]
        if is_any_local(operands):
            if is_unrolled(eqn):
                return self._loop(loop_of(eqn), eqn, operands, at)
            inner = opened(eqn)
            if inner is not None:
                return self.program(inner, operands, at)
            patches = self._local(eqn, operands, at)
            self._count(eqn, patches)
            if patches is not None:
                return [Seen(*pair) for pair in zip(wholes, patches, strict=True)]
        else:
            self._count(eqn, None)
        outs = run_one(jaxpr, eqn, [self.here.everything(operand) for operand in operands])
        return [Seen(whole, Patch(out, {})) for whole, out in zip(wholes, outs, strict=True)]

    def _count(self, eqn: JaxprEqn, patches: list[Patch] | None) -> None:
        work = multiplications(eqn)
        self.work.whole += work
        if patches is not None:
            self.work.saved += work * (1 - patches[0].values.size / eqn.outvars[0].aval.size)

    def _local(self, eqn: JaxprEqn, operands: list[Seen], at: Place) -> list[Patch] | None:
        windows = windowed(eqn)
        if windows is not None:
            return self._windowed(windows, eqn, operands, at)
        rule = RULES.get(eqn.primitive.name)
        return None if rule is None else rule(self.here, eqn, operands)

    def _windowed(
        self, windows: Windowed, eqn: JaxprEqn, operands: list[Seen], at: Place
    ) -> list[Patch] | None:
        first, *others = operands
        if first.patch is None or any(other.patch is not None for other in others):
            return None
        out = eqn.outvars[0].aval
        spans = windows.results(first.patch.spans, out.shape)
        if spans is None:
            return None
        share = math.prod(one.frame.size / out.shape[axis] for axis, one in spans.items())
        if share > _MOST:
            return None
        steps = windows.steps.items()
        reads = {
            axis: step.reads(spans[step.out].frame) for axis, step in steps if step.out in spans
        }
        own = {
            axis: piece.shifted(windows.steps[axis].low)
            for axis, piece in frames(first.patch.spans).items()
        }
        x = self.here.replaced(self.known.framed[at], first.patch.values, own, reads)
        outs = windows.bind([x, *(other.whole for other in others)], tuple(reads))
        return [Patch(values, spans) for values in outs]

    def _loop(self, loop: Loop, eqn: JaxprEqn, operands: list[Seen], at: Place) -> list[Seen]:
        last = loop.fixed + loop.carried
        carry, stacked = operands[loop.fixed : last], {}
        for number in rounds_of(eqn):
            sliced = [self._round(x, number) for x in operands[last:]]
            given = [*operands[: loop.fixed], *carry, *sliced]
            outs = self.program(loop.body, given, (*at, number))
            carry, stacked[number] = outs[: loop.carried], outs[loop.carried :]
        columns = zip(*(stacked[number] for number in sorted(stacked)), strict=True)
        wholes = self.known.outs[at][loop.carried :]
        return [*carry, *map(self._stacked, columns, wholes)]

    def _round(self, x: Seen, number: int) -> Seen:
        if x.patch is None:
            return Seen(x.whole[number])
        return Seen(x.whole[number], Patch(self.here.everything(x)[number], {}))

    def _stacked(self, rounds: Sequence[Seen], whole: Array) -> Seen:
        if all(one.patch is None for one in rounds):
            return Seen(whole)
        return Seen(whole, Patch(jnp.stack([self.here.everything(one) for one in rounds]), {}))


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
    return jax.make_jaxpr(lambda *operands: _in_steps(spec, operands))(
        *(variable.aval for variable in eqn.invars)
    )


def _in_steps(spec: Spec, operands: Sequence[Array]) -> list[Array]:
    """Return what ``act_conv`` puts out, its convolution alone by the kernel."""
    x, kernel, affine, residual = spec.named(operands)
    h = x if affine is None else Scaled(x, *affine).value()
    h = h if residual is None else h + residual
    h = relu(h) if spec.relu else h
    alone = spec._replace(relu=False, affine=False, residual=False, keep=False)
    outs = primitives.forward(alone, [h, kernel])
    return [*outs, h] if spec.keep else outs
