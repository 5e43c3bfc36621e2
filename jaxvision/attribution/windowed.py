"""Operations whose results each read a window of their first operand: what they read of it."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jax import lax
from jax.extend.core import JaxprEqn

from jaxvision.attribution.spans import Frame, Frames, Spans, Step
from jaxvision.types import Array

Bound = Callable[[list[Array], Sequence[int]], list[Array]]


class Windowed(NamedTuple):
    """An equation of windows.

    Attributes:
      steps: by axis of the first operand; on the other axes windows cover all, or one index.
      fill: what the axes are padded with.
      bind: (operands, the first padded on all axes that have a step and cut to what is read; the
        axes that are cut) -> the results.
    """

    steps: dict[int, Step]
    fill: float
    bind: Bound

    def framed(self, x: Array) -> Array:
        """Return the first operand, padded."""
        pads = [(0, 0, 0)] * x.ndim
        for axis, step in self.steps.items():
            pads[axis] = (step.low, step.high, 0)
        if not any(map(any, pads)):
            return x
        return lax.pad(x, np.asarray(self.fill, x.dtype), pads)

    def in_frame(self, spans: Spans, shape: Sequence[int]) -> Frames:
        """Return where pieces of the first operand, of a shape, lie when it is padded.

        An axis without a span is changed all over: its piece is as long as the axis was.
        """
        found = {}
        for axis, step in self.steps.items():
            if axis in spans:
                found[axis] = spans[axis].frame.shifted(step.low)
            elif step.low or step.high:
                found[axis] = Frame(np.array([step.low]), shape[axis])
        return found

    def results(self, spans: Spans, shape: Sequence[int]) -> Spans | None:
        """Return what is changed of results of a shape; None where it cannot be told."""
        found = {}
        for axis, given in spans.items():
            step = self.steps.get(axis)
            if step is None:
                return None
            result = step.results(given, shape[step.out])
            if result is not None:
                found[step.out] = result
        return found


def windowed(eqn: JaxprEqn) -> Windowed | None:
    """Return how an equation reads its first operand, None where it is none of these."""
    read = _READERS.get(eqn.primitive.name)
    found = None if read is None else read(eqn)
    if found is None or any(min(step.low, step.high) < 0 for step in found.steps.values()):
        return None
    return found


def multiplications(eqn: JaxprEqn) -> int:
    """Return how many an equation takes, if it is a convolution or a product; else 0."""
    name = eqn.primitive.name
    operands = [variable.aval for variable in eqn.invars]
    results = math.prod(eqn.outvars[0].aval.shape) if eqn.outvars else 0
    if name == "dot_general":
        (summed, _), _ = eqn.params["dimension_numbers"]
        return results * math.prod(operands[0].shape[axis] for axis in summed)
    if name not in ("act_conv", "conv2d", "conv_general_dilated"):
        return 0
    kernel = operands[1]
    axis = eqn.params["dimension_numbers"].rhs_spec[0] if name == "conv_general_dilated" else 3
    return results * kernel.size // kernel.shape[axis]


def _reach(size: int, dilation: int) -> int:
    return (size - 1) * dilation + 1


def _lax_convolution(eqn: JaxprEqn) -> Windowed | None:
    given = eqn.params
    if given["batch_group_count"] != 1 or any(one != 1 for one in given["lhs_dilation"]):
        return None
    lhs, rhs, out = given["dimension_numbers"]
    kernel = eqn.invars[1].aval.shape
    steps = {}
    for number, axis in enumerate(lhs[2:]):
        reach = _reach(kernel[rhs[2 + number]], given["rhs_dilation"][number])
        pads = given["padding"][number]
        steps[axis] = Step(out[2 + number], reach, given["window_strides"][number], *pads)
    return _without_padding(eqn, steps, {"padding": ((0, 0),) * len(lhs[2:])})


def _own_convolution(eqn: JaxprEqn) -> Windowed | None:
    given = eqn.params
    if given["input_dilation"] != (1, 1):
        return None
    kernel = eqn.invars[1].aval.shape
    steps = {}
    for number in (0, 1):
        reach = _reach(kernel[number], given["kernel_dilation"][number])
        stride = given["strides"][number]
        steps[1 + number] = Step(1 + number, reach, stride, *given["padding"][number])
    return _without_padding(eqn, steps, {"padding": ((0, 0), (0, 0))})


def _act_conv(eqn: JaxprEqn) -> Windowed | None:
    spec = eqn.params["spec"]
    if spec.wrap or spec.affine or spec.residual or spec.moments or spec.keep:
        return None
    kernel = eqn.invars[1].aval.shape
    steps = {
        1 + number: Step(1 + number, kernel[number], spec.stride, *spec.pads[number])
        for number in (0, 1)
    }
    return _without_padding(eqn, steps, {"spec": spec._replace(pads=((0, 0), (0, 0)))})


def _pool(fill: float) -> Callable[[JaxprEqn], Windowed | None]:
    def read(eqn: JaxprEqn) -> Windowed | None:
        given = eqn.params
        if any(one != 1 for one in given["base_dilation"]):
            return None
        sizes = map(_reach, given["window_dimensions"], given["window_dilation"])
        geometry = zip(sizes, given["window_strides"], given["padding"], strict=True)
        steps = {
            axis: Step(axis, size, stride, *pads)
            for axis, (size, stride, pads) in enumerate(geometry)
        }
        return _without_padding(eqn, steps, {"padding": ((0, 0),) * len(steps)})._replace(fill=fill)

    return read


def _without_padding(eqn: JaxprEqn, steps: dict[int, Step], unpadded: dict) -> Windowed:
    def bind(operands: list[Array], cut: Sequence[int]) -> list[Array]:
        del cut  # axes that are not cut are padded all the same
        outs = eqn.primitive.bind(*operands, **(eqn.params | unpadded))
        return list(outs) if eqn.primitive.multiple_results else [outs]

    return Windowed(steps, 0.0, bind)


def _slice(eqn: JaxprEqn) -> Windowed:
    given = eqn.params
    starts, limits = given["start_indices"], given["limit_indices"]
    strides = given["strides"] or (1,) * len(starts)
    geometry = enumerate(zip(starts, strides, strict=True))
    steps = {axis: Step(axis, 1, stride, offset=start) for axis, (start, stride) in geometry}

    def bind(operands: list[Array], cut: Sequence[int]) -> list[Array]:
        (x,) = operands
        first = [0 if axis in cut else start for axis, start in enumerate(starts)]
        last = [x.shape[axis] if axis in cut else limit for axis, limit in enumerate(limits)]
        return [lax.slice(x, first, last, strides)]

    return Windowed(steps, 0.0, bind)


_READERS = {
    "act_conv": _act_conv,
    "conv2d": _own_convolution,
    "conv_general_dilated": _lax_convolution,
    "reduce_window_max": _pool(-np.inf),
    "reduce_window_min": _pool(np.inf),
    "reduce_window_sum": _pool(0.0),
    "slice": _slice,
}
