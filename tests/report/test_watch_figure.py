"""The figure of a watched net says in its title what its lines show."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxvision.report.watch_figure import draw
from jaxvision.types import UserError


def seen(factor, layers=8):
    """Return what ``watch`` would of a net whose gradient changes by ``factor`` a layer."""
    delta = factor ** np.arange(layers)[::-1]
    return SimpleNamespace(
        layers=tuple(map(str, range(layers))),
        signal_std=np.ones(layers),
        delta_norm=delta,
        dw_norm=delta,
        octaves_per_layer=lambda: float(np.log2(factor)),
    )


def test_the_title_is_the_finding():
    title = lambda net: draw(net).get_suptitle()  # noqa: E731
    assert title(seen(0.5)) == "The gradient vanishes: x 0.50 a layer on the way down"
    assert title(seen(2.0)) == "The gradient grows: x 2.00 a layer on the way down"
    assert title(seen(1.0)) == "The gradient keeps its size on the way down"
    assert title(seen(np.nan)) == "The gradient is 0 or not finite in some layer"
    alone = "The gradient has one layer, and nothing to compare it with"
    assert title(seen(np.nan, layers=1)) == alone
    both = {"He": seen(1.0), "Flax": seen(0.7)}
    assert (
        title(both).splitlines()[1] == "Flax: the gradient vanishes: x 0.70 a layer on the way down"
    )
    assert draw(both, "Mine").get_suptitle() == "Mine"


def test_there_is_a_line_a_net_in_every_panel():
    figure = draw({"He": seen(1.0), "Flax": seen(0.7, layers=5)})
    assert len(figure.axes) == 3
    for ax in figure.axes:
        lines = ax.get_lines()
        assert [len(line.get_xdata()) for line in lines] == [8, 5]
        assert ax.get_yscale() == "log"
    np.testing.assert_allclose(lines[1].get_ydata(), 0.7 ** np.arange(5)[::-1])
    assert {text.get_text() for text in figure.axes[-1].texts} >= {"He", "Flax"}


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(UserError, match="7 nets in one figure: draw 1 to 6"):
        draw({str(i): seen(1.0) for i in range(7)})
    with pytest.raises(UserError, match="draw takes what watch returns, not float"):
        draw(1.0)
