"""Which part of an axis a moving window changes: an interval for each of P positions.

The positions are known before anything is computed, so these are NumPy's numbers, and the sizes of
what has to be computed are the same for all positions.
"""

from typing import NamedTuple

import numpy as np


class Frame(NamedTuple):
    """A piece of an axis, of one size at all positions.

    Attributes:
      start: int [P].
      size: of the piece.
    """

    start: np.ndarray
    size: int

    @property
    def end(self) -> np.ndarray:
        """One past the last index, int [P]."""
        return self.start + self.size

    def shifted(self, by: int) -> "Frame":
        """Return the same piece of an axis that begins ``by`` before this one."""
        return Frame(self.start + by, self.size)

    def multiplied(self, by: int) -> "Frame":
        """Return the piece where every index becomes ``by``."""
        return Frame(self.start * by, self.size * by)


class Span(NamedTuple):
    """What is changed of an axis, and a frame that holds it.

    Attributes:
      first: int [P], the first index that is changed.
      end: int [P], one past the last; no less than ``first``.
      frame: inside the axis, around all that is changed.
    """

    first: np.ndarray
    end: np.ndarray
    frame: Frame


Spans = dict[int, Span]  # by axis; all of the others is changed
Frames = dict[int, Frame]  # by axis; the others whole


def span(first: np.ndarray, end: np.ndarray, length: int) -> Span | None:
    """Return the span of intervals of an axis, None where a frame would be all of it."""
    size = max(1, int((end - first).max()))
    if size >= length:
        return None
    return Span(first, end, Frame(np.clip(first, 0, length - size), size))


def frames(spans: Spans) -> Frames:
    """Return the frame of every span."""
    return {axis: one.frame for axis, one in spans.items()}


def hull(one: Frame, other: Frame, length: int) -> Frame:
    """Return a frame around two, inside an axis."""
    start = np.minimum(one.start, other.start)
    size = min(length, int((np.maximum(one.end, other.end) - start).max()))
    return Frame(np.clip(start, 0, length - size), size)


def union(given: list[Spans], shape: tuple[int, ...]) -> Spans:
    """Return the spans around those of several values of one shape."""
    found = {}
    for axis in set.intersection(*(set(spans) for spans in given)):
        first = np.min([spans[axis].first for spans in given], axis=0)
        end = np.max([spans[axis].end for spans in given], axis=0)
        around = span(first, end, shape[axis])
        if around is not None:
            found[axis] = around
    return found


class Step(NamedTuple):
    """How windows move along an axis, which is padded first.

    Attributes:
      out: the axis of the results.
      window: indices from the first to the last of a window, holes counted.
      stride: between two windows.
      low: what is padded before the axis, not negative.
      high: what is padded behind it.
      offset: of the first window in the padded axis.
    """

    out: int
    window: int
    stride: int
    low: int = 0
    high: int = 0
    offset: int = 0

    def results(self, given: Span, count: int) -> Span | None:
        """Return which of ``count`` results read what is changed."""
        shift = self.low - self.offset
        first = -((self.window - 1 - shift - given.first) // self.stride)
        end = (given.end - 1 + shift) // self.stride + 1
        first, end = np.clip(first, 0, count), np.clip(end, 0, count)
        return span(first, np.maximum(first, end), count)

    def reads(self, results: Frame) -> Frame:
        """Return what the results of a frame read of the padded axis."""
        size = (results.size - 1) * self.stride + self.window
        return Frame(results.start * self.stride + self.offset, size)


def split(given: Span, by: int, length: int) -> Span | None:
    """Return which groups of ``by`` indices are changed, of an axis of ``length`` groups."""
    return span(given.first // by, -(-given.end // by), length)


def multiplied(given: Span, by: int) -> Span:
    """Return what is changed where every index becomes ``by``."""
    return Span(given.first * by, given.end * by, given.frame.multiplied(by))
