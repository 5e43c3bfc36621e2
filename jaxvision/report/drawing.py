"""Figures of one style: large type, lines labeled at their end, one color one meaning, equal bytes.

Matplotlib's object interface only, so nothing needs a display or leaves state behind. A figure is
``new_figure`` -> ``seed_band``, ``theory_line``, ``describe``, ``log_axis``, ``mark_contradicted``
-> ``finish``.
"""

import io
import itertools
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

import numpy as np
from matplotlib import patheffects, ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from numpy.typing import ArrayLike

from jaxvision.report import panels, provenance, words
from jaxvision.report.colors import CONTRADICTED_COLOR, THEORY_COLOR
from jaxvision.report.colors import color_of as color_of  # of this module, to those who draw
from jaxvision.report.colors import shades as shades
from jaxvision.report.judgement import counts
from jaxvision.report.labels import LogLabels, LogTicks, label_lines
from jaxvision.report.panels import POINTS
from jaxvision.report.style import style as style

DPI = 150
WIDTH = 9.0  # inches, of every figure: 1350 pixels, read at 900 on a page and at 390 on a phone
MOST_PANELS = 6
FOOTER_SIZE = 9  # points
FOOTER_SPACING = 1.35  # heights of a letter from line to line
FOOTER_LETTERS = 118  # in a line
_BANDS = {"range": "minimum to maximum", "quartiles": "the middle half of the seeds"}


class Drawn(Protocol):
    """What a footer is made from: a ``Record``, unnamed because its module imports this one."""

    command: str
    claims: list[dict[str, Any]]
    provenance: dict[str, Any]

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdicts by claim."""

    def origin(self) -> str:
        """Return seeds, device and commit in one line."""


@style()
def new_figure(
    rows: int = 1, cols: int = 1, height: float | None = None
) -> tuple[Figure, np.ndarray]:
    """Return a figure of the house's width and its axes, an object array [rows, cols].

    Args:
      rows: panels from top to bottom.
      cols: panels from left to right.
      height: inches; by default what gives panels their usual shape.

    Raises:
      ValueError: more than six panels: nobody reads them.
    """
    if rows * cols > MOST_PANELS:
        raise ValueError(f"{rows} x {cols} panels: a figure has at most {MOST_PANELS}")
    figure = Figure((WIDTH, height or 3.3 * rows + 1.5))
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    return figure, figure.subplots(rows, cols, squeeze=False)


@style()
def merged(panels: np.ndarray) -> Axes:
    """Return one panel in place of neighbors, ``panels`` an array of axes of one figure."""
    first, last = (ax.get_subplotspec() for ax in (panels.flat[0], panels.flat[-1]))
    rows = slice(first.rowspan.start, last.rowspan.stop)
    columns = slice(first.colspan.start, last.colspan.stop)
    figure = panels.flat[0].figure
    for ax in panels.flat:
        ax.remove()
    return figure.add_subplot(first.get_gridspec()[rows, columns])


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


def halo(width: float = 3) -> dict[str, Any]:
    """Return what draws white around lines and letters, which are then read on what lies below."""
    return {"path_effects": [patheffects.withStroke(linewidth=width, foreground="white")]}


@style()
def log_axis(ax: Axes, which: str) -> None:
    """Make axis ``which`` ('x' or 'y') logarithmic, with ticks people can read."""
    getattr(ax, f"set_{which}scale")("log", nonpositive="mask")
    axis = getattr(ax, f"{which}axis")
    axis.set_major_locator(LogTicks())
    axis.set_major_formatter(LogLabels())
    axis.set_minor_formatter(ticker.NullFormatter())


def headline(record: Drawn, titles: Mapping[str | tuple[str, ...], str], otherwise: str) -> str:
    """Return the first of ``titles`` whose claims came out as it needs them.

    So a title says no more than the verdicts do.

    Args:
      record: judged.
      titles: claim id, or several -> the title that their being reproduced allows, best first;
        "not ID" asks that the claim be contradicted.
      otherwise: the title where none fits, which therefore says nothing.

    Raises:
      ValueError: the record has claims, but none of such an id.
    """
    verdicts = record.verdicts
    needed = {(ids,) if isinstance(ids, str) else ids: title for ids, title in titles.items()}
    for name in itertools.chain.from_iterable(needed):
        name = name.removeprefix(_NOT)
        if verdicts and name not in verdicts:
            raise ValueError(f"a title asks for claim {name!r}, which the record does not have")
    for names, title in needed.items():
        if all(_came_out(verdicts, name) for name in names):
            return title
    return otherwise


_NOT = "not "


def _came_out(verdicts: Mapping[str, str], name: str) -> bool:
    """Return whether a claim is reproduced, or contradicted where the name asks for that."""
    wanted = "contradicted" if name.startswith(_NOT) else "reproduced"
    return verdicts.get(name.removeprefix(_NOT)) == wanted


@style()
def mark_contradicted(ax: Axes, record: Drawn, *claim_ids: str) -> None:
    """Name those of the claims that the record contradicts, in red above the panel they show in.

    Raises:
      KeyError: the record has claims, but none of such an id.
    """
    verdicts = record.verdicts
    found = [name for name in claim_ids if verdicts and verdicts[name] == "contradicted"]
    if not found:
        return
    place = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    look = {"color": CONTRADICTED_COLOR, "fontsize": 10, "va": "bottom"}
    mark = ax.annotate(_marking(found, _letters_above(ax)), (0, 1), (0, 3), **look, **place)
    mark.set_gid(_MARK)


_MARK = "contradicted"
_MARK_LINES = 2
MARK_WIDTH = 44  # letters: as many as stand above a panel of half the figure's width


def _letters_above(ax: Axes) -> int:
    """Return how many letters stand in a line above a panel."""
    spec = ax.get_subplotspec()
    share = len(spec.colspan) / spec.get_gridspec().ncols
    return int(2 * MARK_WIDTH * share)


def _marking(names: list[str], width: int) -> str:
    """Return the names in two lines at most; how many more there are, where that is too short."""
    for shown in range(len(names), 0, -1):
        more = [f"+{len(names) - shown} more"] if shown < len(names) else []
        listed = ", ".join(names[:shown] + more)
        lines = textwrap.wrap(
            f"✗ contradicted: {listed}", width, break_on_hyphens=False, break_long_words=False
        )
        if len(lines) <= _MARK_LINES:
            break
    return "\n".join(lines)


def _marks_on(ax: Axes) -> list[Text]:
    """Return the panel's marks of contradicted claims."""
    return [text for text in ax.texts if text.get_gid() == _MARK]


def _verdicts_of(record: Drawn) -> list[str]:
    """Return how the claims came out, and those contradicted, a line each."""
    if not record.claims:
        return []
    found = counts(record.verdicts.values())
    counted = [f"{found[verdict]} {verdict}" for verdict in words.MARKS if verdict in found]
    against = [claim for claim in record.claims if claim["verdict"] == "contradicted"]
    stated = [f"✗ {claim['id']}: {claim['sentence']} ({claim['source']})" for claim in against]
    return [f"Claims: {', '.join(counted)}{':' if stated else '.'}", *stated]


@style()
def finish(
    figure: Figure,
    record: Drawn,
    title: str,
    *,
    net: str,
    optimizer: str,
    paper: str,
    data: str = "",
) -> Figure:
    """Label the lines, put the title above and the origin below; return the figure.

    Args:
      figure: from ``new_figure``, drawn.
      record: what it was drawn from.
      title: what is shown, in one sentence; see ``headline``.
      net: which net, with its width.
      optimizer: which one, with its rate; or that nothing is trained.
      paper: whose figure it is.
      data: the inputs, where they are no data set; else the record names the set.
    """
    for ax in figure.axes:
        for mark in _marks_on(ax):
            lines = mark.get_text().count("\n") + 1
            ax.set_title(ax.get_title(loc="left"), pad=6 + 14 * lines)  # above the mark
    figure.suptitle(textwrap.fill(title, 62), x=0.01, ha="left")
    verdicts = _footer_lines(_verdicts_of(record))
    set_up = data or provenance.data_line(record.provenance)
    setup = f"{'. '.join(filter(None, [set_up, net, optimizer, f'Source: {paper}']))}."
    made = _footer_lines([setup, *_bands_of(figure), record.origin(), record.command])
    # As a super label it is part of the layout: no panel can run into it.
    look = {"fontsize": FOOTER_SIZE, "color": "#555555", "linespacing": FOOTER_SPACING}
    # parse_math: a command may hold a dollar sign.
    figure.supxlabel("\n".join(verdicts + made), x=0.01, ha="left", parse_math=False, **look)
    # Panels keep their height, however many claims are contradicted.
    line = FOOTER_SIZE * FOOTER_SPACING / POINTS
    figure.set_figheight(figure.get_figheight() + len(verdicts) * line)
    # What stands above and below decides how high the panels are, and so how far labels must part.
    figure.get_layout_engine().execute(figure)
    for ax in figure.axes:
        label_lines(ax)
    return figure


def _footer_lines(parts: Iterable[str]) -> list[str]:
    """Return parts of the footer, wrapped: each begins a line."""
    wrapped = [textwrap.wrap(_printable(part), FOOTER_LETTERS) for part in parts]
    return list(itertools.chain.from_iterable(wrapped))


def _bands_of(figure: Figure) -> list[str]:
    """Return the sentence that explains the bands there are.

    Where there are two kinds it names the panels of the rarer one.
    """
    titles = {gid: [] for gid in _BANDS}
    for ax in figure.axes:
        title, _, _ = ax.get_title(loc="left").partition("\n")
        for gid in {band.get_gid() for band in ax.collections} & titles.keys():
            titles[gid].append(f'"{title.rstrip(" ,:")}"')
    most, *fewer = sorted(titles, key=lambda gid: -len(titles[gid]))
    if not titles[most]:
        return []
    words = [f"Line: median over seeds. Band: {_BANDS[most]}"]
    words += [f"in {', '.join(titles[gid])} {_BANDS[gid]}" for gid in fewer if titles[gid]]
    return [f"{'; '.join(words)}."]


def _printable(text: str) -> str:
    """Return the text with what no font can draw (bytes of a path that are no text) escaped."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


@style()
def to_png(figure: Figure) -> bytes:
    """Return the figure as a PNG of 150 dots per inch; equal figures give equal bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return buffer.getvalue()


@style()
def to_svg(figure: Figure) -> bytes:
    """Return the figure as an SVG, letters as shapes; equal figures give equal bytes.

    Its description says where the panels lie: see ``panels``.
    """
    buffer = io.BytesIO()
    told = {"Date": None, "Creator": None, "Description": panels.description(panels.marked(figure))}
    figure.savefig(buffer, format="svg", metadata=told)
    return buffer.getvalue()
