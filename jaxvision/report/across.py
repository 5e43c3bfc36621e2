"""Several runs in one figure: an outcome of each, and how their claims came out."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvision.report import plots, stats
from jaxvision.report.colors import CONTRADICTED_COLOR, THEORY_COLOR
from jaxvision.report.judgement import ORDER
from jaxvision.report.words import MARKS

_RUN, _SEED = "#0072B2", "#9A9A9A"
_MOST_JOINED = 30  # seeds: more lines hide the mean
_VERDICT_COLORS = {
    "contradicted": CONTRADICTED_COLOR,
    "inconclusive": "#8C6D1F",
    "reproduced": "#00694D",
    "not run": "#9A9A9A",
}


@dataclasses.dataclass(frozen=True)
class Column:
    """A run in the figure.

    Attributes:
      label: below it.
      values: of the outcome, [S] by seed or []; None: the run has none.
      verdicts: by the id of the claim.
    """

    label: str
    values: np.ndarray | None
    verdicts: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Words:
    """What is written on the figure.

    Attributes:
      title: above it.
      outcome: what is drawn of each run.
      axis: what tells the runs apart.
      footer: lines below it.
    """

    title: str
    outcome: str
    axis: str
    footer: Sequence[str]


def draw(
    columns: Sequence[Column],
    words: Words,
    *,
    paired: bool,
    places: Sequence[float] | None = None,
    bar: float | None = None,
) -> Figure:
    """Return the figure of runs side by side.

    Args:
      columns: the runs, from left to right.
      words: what is written on it.
      paired: each seed is joined over the runs, where they are not too many.
      places: of the runs on the axis, numbers; None: evenly.
      bar: what the claim's rule compares the outcome with.
    """
    claims = _differing_first(columns)
    table_height = 0.6 + 0.3 * len(claims)
    figure, axes = plots.new_figure(2, 1, 5.0 + table_height)
    above, below = axes[:, 0]
    above.get_gridspec().set_height_ratios([3.3, table_height])
    with plots.style():
        _draw_outcome(above, columns, places, paired)
        _name_places(above, columns, places)
        if bar is not None:
            above.axhline(bar, color=THEORY_COLOR, linestyle="--", linewidth=1.2)
        _draw_verdicts(below, columns, claims)
    plots.describe(above, textwrap.fill(words.outcome, 72), words.axis, "")
    plots.describe(below, "How the claims came out", words.axis, "")
    _frame(figure, words)
    return figure


@plots.style()
def _frame(figure: Figure, words: Words) -> None:
    """Write the title above the figure and the footer below it."""
    figure.suptitle(textwrap.fill(words.title, 62), x=0.01, ha="left")
    footer = "\n".join(textwrap.fill(line, 118) for line in words.footer)
    figure.supxlabel(
        footer,
        x=0.01,
        ha="left",
        fontsize=9,
        color="#555555",
        linespacing=1.35,
        parse_math=False,
    )


def _places(columns: Sequence[Column], places: Sequence[float] | None) -> np.ndarray:
    return np.arange(len(columns)) if places is None else np.asarray(places)


def _draw_outcome(
    ax: Axes, columns: Sequence[Column], places: Sequence[float] | None, paired: bool
) -> None:
    """Draw every seed, and the mean of every run with its interval."""
    at, seeds = [], []
    for x, column in zip(_places(columns, places), columns, strict=True):
        if column.values is not None:
            at.append(x)
            seeds.append(np.atleast_1d(column.values))
    order = np.argsort(at)  # a line goes from left to right, however the runs were named
    at, seeds = [at[i] for i in order], [seeds[i] for i in order]
    common = min(map(len, seeds), default=0)
    if paired and 0 < common <= _MOST_JOINED:
        lines = np.stack([values[:common] for values in seeds])
        ax.plot(at, lines, color=_SEED, linewidth=0.8, alpha=0.7)
    for x, values in zip(at, seeds, strict=True):
        ax.plot([x] * len(values), values, "o", color=_SEED, markersize=4, alpha=0.7)
    _draw_means(ax, at, [stats.t_interval(values) for values in seeds])


def _draw_means(ax: Axes, at: Sequence[float], means: Sequence[stats.Interval]) -> None:
    middle = np.array([mean.estimate for mean in means])
    low = middle - [mean.low for mean in means]
    high = [mean.high for mean in means] - middle
    reach = np.stack([low, high])
    reach[~np.isfinite(reach)] = 0.0  # one seed has no spread
    ax.errorbar(
        at,
        middle,
        reach,
        color=_RUN,
        marker="o",
        markersize=8,
        capsize=4,
        linewidth=2.2,
        zorder=4,
    )


def _name_places(ax: Axes, columns: Sequence[Column], places: Sequence[float] | None) -> None:
    at = _places(columns, places)
    if places is None:
        ax.set_xlim(-0.5, len(columns) - 0.5)
    elif min(at) > 0 and max(at) >= 4 * min(at):
        plots.log_axis(ax, "x")
    ax.set_xticks(at, [column.label for column in columns])
    ax.minorticks_off()


def _differing_first(columns: Sequence[Column]) -> list[str]:
    """Return the claims that some run has judged or measured, those with several verdicts first."""
    names = dict.fromkeys(name for column in columns for name in column.verdicts)

    def agree(name: str) -> bool:
        return len({column.verdicts.get(name, "not run") for column in columns}) == 1

    return sorted(names, key=agree)


def _draw_verdicts(ax: Axes, columns: Sequence[Column], claims: Sequence[str]) -> None:
    """Draw a table: a row a claim, a column a run, a mark and a color a verdict."""
    for row, claim in enumerate(claims):
        for x, column in enumerate(columns):
            verdict = column.verdicts.get(claim, "not run")
            ax.text(
                x,
                row,
                MARKS[verdict],
                color=_VERDICT_COLORS[verdict],
                fontweight="bold",
                ha="center",
                va="center",
            )
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(max(1, len(claims)) - 0.5, -0.5)
    ax.set_xticks(range(len(columns)), [column.label for column in columns])
    ax.set_yticks(range(len(claims)), claims)
    ax.grid(visible=False, axis="x")
    key = "   ".join(f"{MARKS[verdict]} {verdict}" for verdict in ORDER)
    ax.text(1, 1.01, key, transform=ax.transAxes, ha="right", va="bottom", fontsize=10)
