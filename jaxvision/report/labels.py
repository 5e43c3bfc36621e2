"""Lines labeled at their end, and log axes that people can read."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes

_MOST_DIRECT_LABELS = 6
_GAP = 1.3  # between two labels, in heights of a letter
_LONG_LEADER = 0.1  # of the panel's width
_FAINT = "#999999"
_LABEL_FROM_AXES = 14  # points: room for a leader between the line's end and its label


def label_lines(ax: Axes) -> None:
    """Write each line's label beside its end, pushed apart where they would touch.

    A thin leader joins a label that was moved by more than half its height to its line. Labels that
    begin with an underscore are not written.
    """
    lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
    if not lines or ax.get_legend() is not None:
        return
    if len(lines) > _MOST_DIRECT_LABELS or not all(len(line.get_xdata()) for line in lines):
        ax.legend()
        return
    ax.autoscale_view()  # the limits are lazy: without this they are those of an empty panel
    to_axes = ax.transScale + ax.transLimits
    ends = [to_axes.transform((line.get_xdata()[-1], line.get_ydata()[-1])) for line in lines]
    font = matplotlib.rcParams["font.size"]
    letter = font / (ax.get_position().height * ax.figure.get_figheight() * 72)
    heights = spread([y for _, y in ends], gap=_GAP * letter)
    for line, (x, y), placed in zip(lines, ends, heights, strict=True):
        ax.annotate(
            line.get_label(),
            (1.0, placed),
            (_LABEL_FROM_AXES, 0),
            xycoords="axes fraction",
            textcoords="offset points",
            color=line.get_color(),
            va="center",
            fontweight="bold",
            annotation_clip=False,
        )
        away = 1 - x > 0.02 or abs(placed - y) > letter / 2
        if away and np.isfinite(y) and 0 <= y <= 1 and 0 <= x <= 1:
            _lead(ax, (x, y), placed, line.get_color())


def _lead(ax: Axes, end: tuple[float, float], height: float, color: str) -> None:
    """Draw the thin line from the end of a line to its label."""
    width = ax.get_position().width * ax.figure.get_figwidth() * 72
    # A long one, across the panel, would look like data.
    inside = end[0] < 1 - _LONG_LEADER
    look = {"color": _FAINT, "linestyle": ":"} if inside else {"color": color}
    ax.annotate(
        "",
        xy=end,
        xytext=(1 + (_LABEL_FROM_AXES - 2) / width, height),
        xycoords="axes fraction",
        textcoords="axes fraction",
        arrowprops={"arrowstyle": "-", "linewidth": 0.8, "shrinkA": 0} | look,
        annotation_clip=False,
    )


def spread(positions: Sequence[float], gap: float) -> list[float]:
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
    found = np.empty_like(placed)
    found[order] = placed
    return found.tolist()


class LogTicks(ticker.LogLocator):
    """Powers of ten; 1-2-5 steps where fewer than two decades are in view."""

    def tick_values(self, vmin: float, vmax: float) -> np.ndarray:
        """Return the ticks between ``vmin`` and ``vmax``."""
        narrow = vmin > 0 and vmax / vmin < 100
        self.set_params(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=9)
        return super().tick_values(vmin, vmax)


class LogLabels(ticker.Formatter):
    """Plain numbers where all in view read well so, powers of ten otherwise."""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return one label for each of ``values``."""
        low, high = self.axis.get_view_interval()
        if all(1e-3 <= value < 1e5 for value in values if low <= value <= high):
            return [f"{value:g}" for value in values]
        return [_power_of_ten(value) for value in values]

    def __call__(self, value: float, pos: int | None = None) -> str:
        """Return the label of one value."""
        return f"{value:g}"


def _power_of_ten(value: float) -> str:
    exponent = int(np.floor(np.log10(value) + 1e-9))
    mantissa = round(value / 10.0**exponent, 3)
    factor = "" if mantissa == 1 else rf"{mantissa:g}\times "
    return rf"${factor}10^{{{exponent}}}$"
