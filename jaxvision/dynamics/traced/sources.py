"""What each value in a traced net is made from: which parameters, and the net's input or not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

# By the level of a loop around the value, outermost 0: the axis of a parameter that the loop runs
# along, or None where it is not known.
Slices = Mapping[int, int | None]


@dataclass(frozen=True)
class View:
    """The numbers of one parameter, rearranged.

    Attributes:
      param: which.
      axes: the parameter's axis that each axis is; None where they are no longer told apart.
      is_whole: False of a part.
    """

    param: int
    axes: tuple[int, ...] | None
    is_whole: bool = True


@dataclass(frozen=True)
class Source:
    """What a value is made from.

    Attributes:
      params: the parameters, and how the loops around the value have cut them.
      fed: the net's input is in it.
      varies: levels of the loops in which it is another value each round.
      view: set where it is a parameter, rearranged.
      layer: set where it is this layer's output, rearranged.
    """

    params: Mapping[int, Slices] = field(default_factory=dict)
    fed: bool = False
    varies: frozenset[int] = frozenset()
    view: View | None = None
    layer: int | None = None

    @property
    def is_weight(self) -> bool:
        """Whether it is made from parameters and not from the input."""
        return bool(self.params) and not self.fed


NOTHING = Source()


def parameter(index: int, ndim: int) -> Source:
    """Return the source of a parameter itself."""
    return Source({index: {}}, view=View(index, tuple(range(ndim))))


def mixed(sources: Sequence[Source]) -> Source:
    """Return the source of what is computed from all of these."""
    params: dict[int, Slices] = {}
    fed = False
    varies: frozenset[int] = frozenset()
    for source in sources:
        fed = fed or source.fed
        varies = varies | source.varies
        for param, slices in source.params.items():
            before = params.get(param, slices)
            params[param] = _common(before, slices)
    return Source(params, fed, varies)


def round_of(source: Source, level: int) -> Source:
    """Return the source of the slice that a loop takes each round, along the first axis."""
    view = source.view
    axis = None
    if view is not None and view.axes is not None:
        axis, *rest = view.axes
        view = replace(view, axes=tuple(rest))
    cut = carried(source, level, axis)
    return replace(cut, view=view)


def carried(source: Source, level: int, axis: int | None = None) -> Source:
    """Return the source of what a loop changes from round to round."""
    params = {}
    for param, slices in source.params.items():
        params[param] = {**slices, level: axis}
    return Source(params, source.fed, source.varies | {level})


def after_loop(source: Source, level: int) -> Source:
    """Return the source of what a loop leaves behind."""
    params = {}
    for param, slices in source.params.items():
        kept = dict(slices)
        kept.pop(level, None)
        params[param] = kept
    view = None if level in source.varies else source.view
    return Source(params, source.fed, source.varies - {level}, view)


def _common(one: Slices, other: Slices) -> Slices:
    common = {}
    for level in one.keys() | other.keys():
        axis = one.get(level)
        is_same = axis == other.get(level)
        common[level] = axis if is_same else None
    return common
