"""A panel of he_init: what each layer sees at the start."""

from collections.abc import Mapping

import numpy as np

from jaxvision.report import plots
from jaxvision.report.record import Record
from jaxvision.types import Axes


def draw_layers(
    ax: Axes, record: Record, quantity: str, labels: Mapping[str, str], slope: float
) -> None:
    """Draw a quantity by layer at step 0, and theory's ``slope`` in octaves a layer for Xavier.

    ``quantity``: the name of the arrays, '{}' for the arm; ``labels`` of the arms 'he' and
    'xavier'.
    """
    for name in ("he", "xavier"):  # Xavier last: the theory is drawn through it
        values = record.arrays[quantity.format(name)][:, 0]
        layers = np.arange(1, values.shape[1] + 1)
        label = labels[name]
        plots.seed_band(ax, layers, values, plots.color_of(label), label)
    anchor = 1 if slope < 0 else -2  # the theory starts where its signal comes from
    line = np.median(values, 0)[anchor] * 2.0 ** (slope * (layers - layers[anchor]))
    plots.theory_line(ax, layers, line, "theory")
    plots.log_axis(ax, "y")
