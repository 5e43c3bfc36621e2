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

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

from jaxvision.attribution.local_rules import RULES
from jaxvision.attribution.patches import Here, Patch, Seen, is_any_local
from jaxvision.attribution.spans import Spans, frames
from jaxvision.attribution.unchanged import Unchanged, is_unrolled, opened, run_rounds
from jaxvision.attribution.windowed import Windowed, multiplications, windowed
from jaxvision.dynamics.traced.evaluating import evaluate, run_one
from jaxvision.dynamics.traced.plan import Place
from jaxvision.types import Array, PyTree

_MOST = 0.75  # of the results of windows: more are evaluated whole


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
        known = Unchanged()
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
class _Changed:
    """Evaluates a program anew where its operands are changed.

    Attributes:
      known: what it is without the change.
      here: the position.
      work: done and left undone.
    """

    known: Unchanged
    here: Here
    work: Work = field(default_factory=Work)

    def program(self, program: ClosedJaxpr, arguments: Sequence[Seen], place: Place) -> list[Seen]:
        """Return the outputs of a program."""
        return evaluate(program, arguments, place, self._seen, Seen)

    def _seen(self, jaxpr: Jaxpr, eqn: JaxprEqn, operands: list[Seen], at: Place) -> list[Seen]:
        if any(operand.patch is not None for operand in operands):
            return self._equation(jaxpr, eqn, operands, at)
        return [Seen(whole) for whole in self.known.outs[at]]

    def _equation(self, jaxpr: Jaxpr, eqn: JaxprEqn, operands: list[Seen], at: Place) -> list[Seen]:
        wholes = self.known.outs[at]
        if not is_any_local(operands):
            return self._whole(jaxpr, eqn, operands, wholes)
        if is_unrolled(eqn):
            return self._loop(eqn, operands, at)
        inner = opened(eqn)
        if inner is not None:
            return self.program(inner, operands, at)
        patches = self._local(eqn, operands, at)
        if patches is None:
            return self._whole(jaxpr, eqn, operands, wholes)
        self._count(eqn, patches[0])
        return [Seen(*pair) for pair in zip(wholes, patches, strict=True)]

    def _whole(
        self, jaxpr: Jaxpr, eqn: JaxprEqn, operands: list[Seen], wholes: list[Array]
    ) -> list[Seen]:
        """Put pieces in their places, and evaluate as ever."""
        self.work.whole += multiplications(eqn)
        given = [self.here.everything(operand) for operand in operands]
        outs = run_one(jaxpr, eqn, given)
        patches = [Patch(out, {}) for out in outs]
        return [Seen(*pair) for pair in zip(wholes, patches, strict=True)]

    def _count(self, eqn: JaxprEqn, patch: Patch) -> None:
        work = multiplications(eqn)
        made = patch.values.size / eqn.outvars[0].aval.size
        self.work.whole += work
        self.work.saved += work * (1 - made)

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
        shape = eqn.outvars[0].aval.shape
        spans = windows.results(first.patch.spans, shape)
        if spans is None or _share(spans, shape) > _MOST:
            return None
        reads = {
            axis: step.reads(spans[step.out].frame)
            for axis, step in windows.steps.items()
            if step.out in spans
        }
        framed = self.known.framed[at]
        own = windows.in_frame(first.patch.spans, first.whole.shape)
        x = self.here.replaced(framed, first.patch.values, own, reads)
        outs = windows.bind([x, *(other.whole for other in others)], tuple(reads))
        return [Patch(values, spans) for values in outs]

    def _loop(self, eqn: JaxprEqn, operands: list[Seen], at: Place) -> list[Seen]:
        def one_round(body: ClosedJaxpr, given: list[Seen], number: int) -> list[Seen]:
            return self.program(body, given, (*at, number))

        carry, columns = run_rounds(eqn, operands, one_round, self._round)
        wholes = self.known.outs[at][len(carry) :]
        return [*carry, *map(self._stacked, columns, wholes)]

    def _round(self, x: Seen, number: int) -> Seen:
        whole = x.whole[number]
        if x.patch is None:
            return Seen(whole)
        changed = self.here.everything(x)
        return Seen(whole, Patch(changed[number], {}))

    def _stacked(self, rounds: Sequence[Seen], whole: Array) -> Seen:
        if all(one.patch is None for one in rounds):
            return Seen(whole)
        changed = [self.here.everything(one) for one in rounds]
        return Seen(whole, Patch(jnp.stack(changed), {}))


def _share(spans: Spans, shape: tuple[int, ...]) -> float:
    """Return the share of a value that lies in the frames."""
    return math.prod(one.frame.size / shape[axis] for axis, one in spans.items())
