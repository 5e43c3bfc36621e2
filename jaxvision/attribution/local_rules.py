"""What operations make of a value that is changed in part, where the result is so too.

A rule takes an equation and its operands, at least one of them changed in part and none all over,
and returns a patch for every result; None where the equation has to be evaluated as a whole.
"""

import math
from collections.abc import Callable, Sequence

from jax.extend.core import JaxprEqn

from jaxvision.attribution.patches import Here, Patch, Seen
from jaxvision.attribution.spans import Spans, multiplied, split, union

Rule = Callable[[Here, JaxprEqn, Sequence[Seen]], list[Patch] | None]

_ELEMENTWISE = (
    "abs",
    "acos",
    "acosh",
    "add",
    "add_any",
    "and",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "cbrt",
    "ceil",
    "clamp",
    "convert_element_type",
    "copy",
    "copy_p",
    "cos",
    "cosh",
    "digamma",
    "div",
    "eq",
    "erf",
    "erf_inv",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "ge",
    "gt",
    "integer_pow",
    "is_finite",
    "le",
    "lgamma",
    "log",
    "log1p",
    "logistic",
    "lt",
    "max",
    "min",
    "mul",
    "name",
    "ne",
    "neg",
    "nextafter",
    "not",
    "or",
    "pow",
    "reduce_precision",
    "rem",
    "round",
    "rsqrt",
    "select_n",
    "sign",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "stop_gradient",
    "sub",
    "tan",
    "tanh",
    "xor",
)
_REDUCTIONS = (
    "argmax",
    "argmin",
    "reduce_and",
    "reduce_max",
    "reduce_min",
    "reduce_or",
    "reduce_prod",
    "reduce_sum",
    "reduce_xor",
)


def _shape(eqn: JaxprEqn) -> tuple[int, ...]:
    return eqn.outvars[0].aval.shape


def _of_all(seen: Sequence[Seen], shape: tuple[int, ...]) -> Spans:
    changed = [one.patch for one in seen if one.patch is not None]
    return union([patch.spans for patch in changed], shape)


def _elementwise(here: Here, eqn: JaxprEqn, seen: Sequence[Seen]) -> list[Patch]:
    spans = _of_all(seen, _shape(eqn))
    operands = [here.values(one, spans) for one in seen]
    values = eqn.primitive.bind(*operands, **eqn.params)
    return [Patch(values, spans)]


def _barrier(here: Here, eqn: JaxprEqn, seen: Sequence[Seen]) -> list[Patch] | None:
    del here
    if any(one.patch is None for one in seen):
        return None
    patches = [one.patch for one in seen]
    values = eqn.primitive.bind(*(patch.values for patch in patches))
    return [patch._replace(values=x) for x, patch in zip(values, patches, strict=True)]


def _moved(eqn: JaxprEqn, patch: Patch, to: dict[int, int], **changes) -> list[Patch] | None:
    """Return the results where the changed axes become others, None where some vanish."""
    spans = _renamed(patch.spans, to)
    if spans is None:
        return None
    values = eqn.primitive.bind(patch.values, **(eqn.params | changes))
    return [Patch(values, spans)]


def _renamed(spans: Spans, to: dict[int, int]) -> Spans | None:
    if not all(axis in to for axis in spans):
        return None
    return {to[axis]: one for axis, one in spans.items()}


def _kept(gone: Sequence[int], rank: int) -> dict[int, int]:
    left = [axis for axis in range(rank) if axis not in gone]
    return {axis: number for number, axis in enumerate(left)}


def _reduction(here: Here, eqn: JaxprEqn, seen: Sequence[Seen]) -> list[Patch] | None:
    del here
    (x,) = seen
    return _moved(eqn, x.patch, _kept(eqn.params["axes"], x.whole.ndim))


def _squeeze(here: Here, eqn: JaxprEqn, seen: Sequence[Seen]) -> list[Patch] | None:
    del here
    (x,) = seen
    return _moved(eqn, x.patch, _kept(eqn.params["dimensions"], x.whole.ndim))


def _transpose(here: Here, eqn: JaxprEqn, seen: Sequence[Seen]) -> list[Patch] | None:
    del here
    (x,) = seen
    to = {axis: number for number, axis in enumerate(eqn.params["permutation"])}
    return _moved(eqn, x.patch, to)


def _broadcast(here: Here, eqn: JaxprEqn, seen: Sequence[Seen]) -> list[Patch] | None:
    del here
    x, *dynamic = seen
    if dynamic:
        return None
    to = dict(enumerate(eqn.params["broadcast_dimensions"]))
    shape = list(eqn.params["shape"])
    for axis, one in x.patch.spans.items():
        shape[to[axis]] = one.frame.size
    return _moved(eqn, x.patch, to, shape=tuple(shape))


def _concatenate(here: Here, eqn: JaxprEqn, seen: Sequence[Seen]) -> list[Patch] | None:
    joined = eqn.params["dimension"]
    spans = _of_all(seen, _shape(eqn))
    if any(one.patch is not None and joined in one.patch.spans for one in seen):
        return None
    operands = [here.values(one, spans) for one in seen]
    return [Patch(eqn.primitive.bind(*operands, **eqn.params), spans)]


def _product(here: Here, eqn: JaxprEqn, seen: Sequence[Seen]) -> list[Patch] | None:
    changed = [number for number, one in enumerate(seen) if one.patch is not None]
    if len(changed) != 1:
        return None
    (side,) = changed
    summed, batched = eqn.params["dimension_numbers"]
    free = [
        _kept((*summed[number], *batched[number]), one.whole.ndim)
        for number, one in enumerate(seen)
    ]
    before = len(batched[0]) + side * len(free[0])
    to = {axis: before + number for axis, number in free[side].items()}
    patch = seen[side].patch
    spans = _renamed(patch.spans, to)
    if spans is None:
        return None
    operands = [one.whole for one in seen]
    operands[side] = patch.values
    values = eqn.primitive.bind(*operands, **eqn.params)
    return [Patch(values, spans)]


def _reshape(here: Here, eqn: JaxprEqn, seen: Sequence[Seen]) -> list[Patch] | None:
    """Split axes, such as for a pool, and put axes together that are changed by their first."""
    (x,) = seen
    old, new = x.whole.shape, _shape(eqn)
    wanted, spans, sizes = dict(x.patch.spans), {}, list(new)
    for before, after in _groups(old, new):
        changed = [axis for axis in before if axis in wanted]
        if not changed:
            continue
        if changed != before[:1]:
            return None
        axis, first = before[0], after[0]
        held = math.prod(old[other] for other in before[1:])
        made = math.prod(new[other] for other in after[1:])
        if made % held and held % made:
            return None
        given = wanted.pop(axis)
        if made > held:
            found = split(given, made // held, new[first])
            if found is None:
                continue
            given = multiplied(found, made // held)
        else:
            found = multiplied(given, held // made)
        wanted[axis], spans[first] = given, found
        sizes[first] = found.frame.size
    return [Patch(here.values(x, wanted).reshape(sizes), spans)]


def _groups(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return the fewest axes before and after that hold the same indices, those of 1 left out."""
    left = [axis for axis, size in enumerate(old) if size > 1]
    right = [axis for axis, size in enumerate(new) if size > 1]
    groups = []
    while left:
        before, after = [left.pop(0)], [right.pop(0)]
        held, made = old[before[0]], new[after[0]]
        while held != made:
            if held < made:
                before.append(left.pop(0))
                held *= old[before[-1]]
            else:
                after.append(right.pop(0))
                made *= new[after[-1]]
        groups.append((before, after))
    return groups


def _pad(here: Here, eqn: JaxprEqn, seen: Sequence[Seen]) -> list[Patch] | None:
    x, fill = seen
    if x.patch is None or fill.patch is not None:
        return None
    pads = list(eqn.params["padding_config"])
    spans = {}
    for axis, one in x.patch.spans.items():
        low, high, holes = pads[axis]
        if holes or min(low, high) < 0:
            return None
        pads[axis] = (0, 0, 0)
        frame = one.frame.shifted(low)
        spans[axis] = one._replace(first=one.first + low, end=one.end + low, frame=frame)
    values = eqn.primitive.bind(x.patch.values, fill.whole, padding_config=tuple(pads))
    return [Patch(values, spans)]


RULES: dict[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_REDUCTIONS, _reduction),
    "broadcast_in_dim": _broadcast,
    "concatenate": _concatenate,
    "dot_general": _product,
    "optimization_barrier": _barrier,
    "pad": _pad,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "transpose": _transpose,
}
