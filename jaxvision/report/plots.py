"""Figures with one style: Okabe-Ito colors, large type, lines labeled at their end, same PNG bytes.

Matplotlib's object interface only, so nothing needs a display or leaves state behind. A figure is
``new_figure`` -> ``seed_band``, ``theory_line``, ``describe``, ``log_axis`` -> ``finish``.
"""

import contextlib
import io
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

# Okabe and Ito's palette, which color-blind readers can tell apart, less yellow (faint on white).
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
THEORY_COLOR = "#333333"
DPI = 150
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 13,
    "axes.titlesize": 14,
    "axes.titlelocation": "left",
    "axes.labelsize": 13,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.4,
    "xtick.labelsize": 12,
    "ytick.labelsize": 12,
    "legend.frameon": False,
    "figure.titlesize": 17,
    "figure.titleweight": "bold",
}
_MOST_DIRECT_LABELS = 6
_BANDS = {"range": "minimum to maximum", "quartiles": "the middle half of the seeds"}


class Drawn(Protocol):
    """What a footer is made from: a ``Record``, unnamed because its module imports this one."""

    command: str

    def origin(self) -> str:
        """Return seeds, device and commit in one line."""


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Apply the house style; also works as a decorator of a plotting function.

    Matplotlib reads its settings when an artist is made, so own calls to ``ax`` belong inside. The
    user's matplotlibrc is set aside: the same record gives the same figure everywhere.
    """
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def arm_colors(arms: Sequence[str]) -> dict[str, str]:
    """Return a color for each arm, by its place in the order.

    Raises:
      ValueError: more arms than colors a reader can tell apart (6).
    """
    if len(arms) > len(COLORS):
        raise ValueError(f"{len(arms)} arms in one figure, at most {len(COLORS)} can be told apart")
    return dict(zip(arms, COLORS, strict=False))


@style()
def new_figure(
    rows: int = 1, cols: int = 1, size: tuple[float, float] | None = None
) -> tuple[Figure, np.ndarray]:
    """Return a figure and its axes, an object array [rows, cols].

    Args:
      rows: panels from top to bottom.
      cols: panels from left to right.
      size: inches; by default as wide as 900 px on a page can carry.
    """
    figure = Figure(size or (5.6 * min(cols, 2) + 4.0 * max(cols - 2, 0), 4.2 * rows + 1.0))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    return figure, figure.subplots(rows, cols, squeeze=False)


@style()
def describe(ax: Axes, title: str, x: str, y: str) -> None:
    """Give a panel its title and the words on its axes."""
    ax.set_title(title)
    ax.set_xlabel(x)
    ax.set_ylabel(y)


@style()
def seed_band(ax: Axes, x: ArrayLike, values: ArrayLike, color: str, label: str) -> Line2D:
    """Draw the median over seeds as a line, minimum to maximum as a band; return the line.

    Args:
      ax: the panel.
      x: [T].
      values: [S, T]. A seed counts only where it is finite; where one leaves the finite numbers for
        good, a cross marks its last finite value.
      color: of line and band.
      label: written at the end of the line by ``finish``.
    """
    x, values = np.asarray(x), np.asarray(values, np.float64)
    finite = np.isfinite(values)
    some = finite.any(axis=0)
    kept = np.where(finite, values, np.nan)[:, some]
    if not kept.size:
        return ax.plot([], [], color=color, label=f"{label}: no finite value")[0]
    band = ax.fill_between(
        x[some], np.nanmin(kept, 0), np.nanmax(kept, 0), color=color, alpha=0.2, linewidth=0
    )
    band.set_gid("range")
    (line,) = ax.plot(x[some], np.nanmedian(kept, 0), color=color, label=label)
    for seed in np.flatnonzero(finite.any(axis=1) & ~finite[:, -1]):
        last = np.flatnonzero(finite[seed])[-1]
        ax.plot(x[last], values[seed, last], "x", color=color, markersize=9, markeredgewidth=2)
    return line


@style()
def quartile_band(ax: Axes, x: ArrayLike, values: ArrayLike, color: str, label: str) -> Line2D:
    """Draw the median over many seeds, finite ``values`` [S, T], and their middle half as a band.

    One seed of a kind of its own, which would spread ``seed_band``, is left out of sight here.
    """
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75), axis=0)
    band = ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    band.set_gid("quartiles")
    return ax.plot(x, middle, color=color, label=label)[0]


@style()
def theory_line(ax: Axes, x: ArrayLike, y: ArrayLike, label: str = "theory") -> Line2D:
    """Draw a closed form, dashed and dark, over the measurements; return the line."""
    dashes = (0, (4, 3))
    (line,) = ax.plot(
        x, y, color=THEORY_COLOR, linestyle=dashes, linewidth=1.6, label=label, zorder=3
    )
    return line


@style()
def log_panel(ax: Axes, x: ArrayLike, lines: Mapping[str, ArrayLike], *words: str) -> None:
    """Draw a ``seed_band`` for every label over a logarithmic y axis; ``describe`` with words."""
    for (label, values), color in zip(lines.items(), COLORS, strict=False):
        seed_band(ax, x, values, color, label)
    log_axis(ax, "y")
    describe(ax, *words)


@style()
def log_axis(ax: Axes, which: str) -> None:
    """Make axis ``which`` ('x' or 'y') logarithmic, with ticks people can read."""
    getattr(ax, f"set_{which}scale")("log", nonpositive="mask")
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(_LogTicks())
    axis.set_major_formatter(_LogLabels())
    axis.set_minor_formatter(ticker.NullFormatter())


@style()
def finish(figure: Figure, record: Drawn, title: str) -> Figure:
    """Label the lines, put the title above and the origin below; return the figure.

    Args:
      figure: from ``new_figure``, drawn.
      record: what it was drawn from.
      title: what is shown, in one sentence.
    """
    for ax in figure.axes:
        _label_lines(ax)
    width = figure.get_figwidth()
    figure.suptitle(textwrap.fill(title, int(width * 7.2)), x=0.01, ha="left")
    drawn = {band.get_gid() for ax in figure.axes for band in ax.collections}
    bands = [words for gid, words in _BANDS.items() if gid in drawn]
    parts = [f"Line: median over seeds. Band: {', or '.join(bands)}."] if bands else []
    parts += [record.origin(), record.command]
    footer = "\n".join(textwrap.fill(part, int(width * 11.5)) for part in parts)
    # As a super label it is part of the layout: no panel can run into it.
    look = {"fontsize": 10.5, "color": "#555555", "linespacing": 1.35}
    # parse_math: a command may hold a dollar sign.
    figure.supxlabel(footer, x=0.01, ha="left", parse_math=False, **look)
    return figure


@style()
def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG of 150 dots per inch; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


def _label_lines(ax: Axes) -> None:
    """Write each line's label beside its end, pushed apart where they would touch."""
    lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    if not lines or ax.get_legend() is not None:
        return
    if len(lines) > _MOST_DIRECT_LABELS or not all(len(line.get_xdata()) for line in lines):
        ax.legend()
        return
    ax.autoscale_view()  # the limits are lazy: without this they are those of an empty panel
    to_axes = ax.transScale + ax.transLimits
    ends = [to_axes.transform((line.get_xdata()[-1], line.get_ydata()[-1]))[1] for line in lines]
    font = matplotlib.rcParams["font.size"]
    height = ax.get_position().height * ax.figure.get_figheight() * 72
    for line, y in zip(lines, _spread(ends, gap=1.35 * font / height), strict=True):
        ax.annotate(
            line.get_label(),
            (1.0, y),
            (6, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=line.get_color(),
            va="center",
            fontweight="bold",
            annotation_clip=False,
        )


def _spread(positions: Sequence[float], gap: float) -> list[float]:
    """Move positions in [0, 1] apart to at least ``gap``, keeping their order."""
    wanted = np.clip(np.nan_to_num(np.float64(positions), nan=0.5), 0, 1)
    order = np.argsort(wanted, kind="stable")
    placed = wanted[order]
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    top = max(1.0, gap * (len(placed) - 1))
    for i in reversed(range(len(placed))):
        limit = top if i == len(placed) - 1 else placed[i + 1] - gap
        placed[i] = min(placed[i], limit)
    spread = np.empty_like(placed)
    spread[order] = placed
    return spread.tolist()


class _LogTicks(ticker.LogLocator):
    """Powers of ten; 1-2-5 steps where fewer than two decades are in view."""

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        """Return the ticks between ``vmin`` and ``vmax``."""
        narrow = vmin > 0 and vmax / vmin < 100
        self.set_params(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=9)
        return super().tick_values(vmin, vmax)


class _LogLabels(ticker.Formatter):
    """Plain numbers where all in view read well so, powers of ten otherwise."""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return one label for each of ``values``."""
        low, high = self.axis.get_view_interval()
        if all(1e-3 <= value < 1e5 for value in values if low <= value <= high):
            return [f"{value:g}" for value in values]
        return [_power_of_ten(value) for value in values]

    def __call__(self, value: float, pos: int | None = None) -> str:
        return f"{value:g}"


def _power_of_ten(value: float) -> str:
    exponent = int(np.floor(np.log10(value) + 1e-9))
    mantissa = round(value / 10.0**exponent, 3)
    factor = "" if mantissa == 1 else rf"{mantissa:g}\times "
    return rf"${factor}10^{{{exponent}}}$"
