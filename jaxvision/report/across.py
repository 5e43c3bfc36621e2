"""Several runs in one figure: an outcome of each, and how their claims came out."""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxvision.report import plots, stats, words
from jaxvision.report.colors import CONTRADICTED_COLOR, THEORY_COLOR
from jaxvision.report.judgement import ORDER

_RUN, _SEED = "#0072B2", "#9A9A9A"
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


def draw(
    columns: Sequence[Column],
    outcome: str,
    axis: str,
    title: str,
    footer: Sequence[str],
    *,
    paired: bool,
    places: Sequence[float] | None = None,
    bar: float | None = None,
) -> Figure:
    """Return the figure of runs side by side.

    Args:
      columns: the runs, from left to right.
      outcome: what is drawn of each, in words.
      axis: what tells them apart.
      title: above the figure.
      footer: lines below it.
      paired: each seed is joined over the runs.
      places: of the runs on the axis, numbers; None: evenly.
      bar: what the claim's rule compares the outcome with.
    """
    shown = _differing_first(columns)
    figure, axes = plots.new_figure(2, 1, 5.6 + 0.3 * len(shown))
    axes[0, 0].get_gridspec().set_height_ratios([3.3, 0.6 + 0.3 * len(shown)])
    with plots.style():
        _draw_outcome(axes[0, 0], columns, places, paired, bar)
        _name_places(axes[0, 0], columns, places)
        _draw_verdicts(axes[1, 0], columns, shown)
    plots.describe(axes[0, 0], textwrap.fill(outcome, 88), axis, "")
    plots.describe(axes[1, 0], "How the claims came out", axis, "")
    with plots.style():
        figure.suptitle(textwrap.fill(title, 62), x=0.01, ha="left")
        look = {"fontsize": 9, "color": "#555555", "linespacing": 1.35, "parse_math": False}
        lines = [textwrap.fill(line, 118) for line in footer]
        figure.supxlabel("\n".join(lines), x=0.01, ha="left", **look)
    return figure


def _draw_outcome(
    ax: Axes,
    columns: Sequence[Column],
    places: Sequence[float] | None,
    paired: bool,
    bar: float | None,
) -> None:
    """Draw every seed, and the mean of every run with its interval."""
    at = np.arange(len(columns)) if places is None else np.asarray(places)
    known = [(x, column.values) for x, column in zip(at, columns, strict=True)]
    known = [(x, np.atleast_1d(values)) for x, values in known if values is not None]
    seeds = [values for _, values in known]
    if paired and seeds:
        n = min(map(len, seeds))
        lines = np.stack([values[:n] for values in seeds])
        ax.plot([x for x, _ in known], lines, color=_SEED, linewidth=0.8, alpha=0.7)
    for x, values in known:
        ax.plot(np.full(len(values), x), values, "o", color=_SEED, markersize=4, alpha=0.7)
    means = [stats.t_interval(values) for values in seeds]
    x = [x for x, _ in known]
    ends = [
        [mean.estimate - mean.low for mean in means],
        [mean.high - mean.estimate for mean in means],
    ]
    reach = np.where(np.isfinite(ends), ends, 0.0)  # one seed has no spread
    look = {"color": _RUN, "marker": "o", "markersize": 8, "capsize": 4, "linewidth": 2.2}
    ax.errorbar(x, [mean.estimate for mean in means], reach, **look)
    if bar is not None:
        ax.axhline(bar, color=THEORY_COLOR, linestyle=(0, (4, 3)), linewidth=1.2)


def _name_places(ax: Axes, columns: Sequence[Column], places: Sequence[float] | None) -> None:
    at = np.arange(len(columns)) if places is None else np.asarray(places)
    if places is not None and min(at) > 0 and max(at) >= 4 * min(at):
        plots.log_axis(ax, "x")
    ax.set_xticks(at, [column.label for column in columns])
    ax.minorticks_off()
    if places is None:
        ax.set_xlim(-0.5, len(columns) - 0.5)


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
            look = {"ha": "center", "va": "center", "fontweight": "bold"}
            ax.text(x, row, words.MARKS[verdict], color=_VERDICT_COLORS[verdict], **look)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(len(claims) - 0.5, -0.5)
    ax.set_xticks(range(len(columns)), [column.label for column in columns])
    ax.set_yticks(range(len(claims)), claims)
    ax.grid(visible=False, axis="x")
    key = "   ".join(f"{words.MARKS[verdict]} {verdict}" for verdict in ORDER)
    ax.text(1, 1.01, key, transform=ax.transAxes, ha="right", va="bottom", fontsize=10)
