"""The figure of a watched net: signal, delta and dW by layer."""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from jaxvision.report import plots
from jaxvision.types import Axes, Figure, UserError

PANELS = {
    "signal_std": "Signal: std of the\npre-activation",
    "delta_norm": "Delta: gradient at the\npre-activation, norm",
    "dw_norm": "dW: gradient of the\nweights, norm",
}
_STEADY = 0.05  # octaves a layer
_MOST_NETS = 6


class Seen(Protocol):
    """A ``Watched``, unnamed because its module stands above this one."""

    layers: tuple[str, ...]
    signal_std: ArrayLike
    delta_norm: ArrayLike
    dw_norm: ArrayLike

    def octaves_per_layer(self) -> float:
        """Return by how much the gradient changes from layer to layer, downwards."""
        ...


def draw(watched: Seen | Mapping[str, Seen], title: str | None = None) -> Figure:
    """Return the figure of a watched net, or of several by name: a line a net, layers on x.

    The title says by how much the gradient shrinks or grows a layer. Save it by
    ``draw(...).savefig("net.png")``.

    Args:
      watched: from ``watch``, outside compiled functions.
      title: instead of that.

    Raises:
      UserError: there is nothing to draw, or too much.
    """
    nets = watched if isinstance(watched, Mapping) else {"": watched}
    if not 1 <= len(nets) <= _MOST_NETS:
        raise UserError(f"{len(nets)} nets in one figure: draw 1 to {_MOST_NETS}")
    for seen in nets.values():
        if not hasattr(seen, "octaves_per_layer"):
            raise UserError(f"draw takes what watch returns, not {type(seen).__name__}")
    figure, axes = plots.new_figure(1, 3, 4.2)
    colors = _colors(list(nets))
    with plots.style():
        for ax, (name, words) in zip(axes[0], PANELS.items(), strict=True):
            for (label, seen), color in zip(nets.items(), colors, strict=True):
                _line(ax, getattr(seen, name), color, label or "_")
            plots.log_axis(ax, "y")
            ax.xaxis.get_major_locator().set_params(integer=True)
            plots.describe(ax, words, "layer, from the input", "")
        plots.label_lines(axes[0, -1])
        figure.suptitle(title or _headline(nets), x=0.01, ha="left")
    return figure


def _colors(names: list[str]) -> list[str]:
    """Return the house's colors where it has one for every name, else shades of one scale."""
    try:
        return [plots.color_of(name) for name in names]
    except ValueError:
        return plots.shades(len(names))


def _line(ax: Axes, values: ArrayLike, color: str, label: str) -> None:
    values = np.asarray(values, np.float64)
    ax.plot(1 + np.arange(len(values)), values, color=color, label=label, marker="o", markersize=4)


def _headline(nets: Mapping[str, Seen]) -> str:
    return "\n".join(_sentence(name, seen) for name, seen in nets.items())


def _sentence(name: str, seen: Seen) -> str:
    who = f"{name}: the gradient" if name else "The gradient"
    if len(seen.layers) < 2:
        return f"{who} has one layer, and nothing to compare it with"
    octaves = seen.octaves_per_layer()
    if not np.isfinite(octaves):
        return f"{who} is 0 or not finite in some layer"
    if abs(octaves) < _STEADY:
        return f"{who} keeps its size on the way down"
    verb = "vanishes" if octaves < 0 else "grows"
    return f"{who} {verb}: x {2.0**octaves:.2f} a layer on the way down"
