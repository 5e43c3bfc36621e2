"""Figures: they repeat to the byte, carry their origin and show what is not finite."""

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex

from jaxvision.report import plots
from jaxvision.report.record import Record


def make(command="python -m experiments he_init --name='$x_$'"):
    provenance = {"commit": "0123456789abcdef", "dirty": False, "device": "cpu: Xeon"}
    return Record("he_init", "tiny", "he_init", command, {"seeds": 3}, {}, {}, [], provenance)


def draw(values=None, theory=True):
    x = np.arange(1, 6)
    values = np.outer([1.0, 2.0, 4.0], 10.0**-x) if values is None else np.asarray(values, float)
    figure, axes = plots.new_figure(1, 2)
    colors = plots.arm_colors(["Xavier", "He"])
    for ax in axes[0]:
        plots.seed_band(ax, x, values, colors["Xavier"], "Xavier")
        plots.seed_band(ax, x, 1.01 * values, colors["He"], "He")
        plots.describe(ax, "Signal at step 0", "layer", "std of the signal")
    plots.log_axis(axes[0, 1], "y")
    if theory:
        plots.theory_line(axes[0, 1], x, 10.0**-x)
    return plots.finish(figure, make(), "He keeps the signal, Xavier loses it"), axes[0]


def texts(ax):
    return [text.get_text() for text in ax.texts]


def test_equal_figures_have_equal_bytes():
    first = plots.to_png(draw()[0])
    assert first == plots.to_png(draw()[0])
    assert first.startswith(b"\x89PNG")
    assert b"Software" not in first
    assert b"tEXt" not in first


def test_settings_of_the_user_do_not_matter():
    first = plots.to_png(draw()[0])
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "savefig.dpi": 20}):
        assert plots.to_png(draw()[0]) == first
        assert matplotlib.rcParams["font.size"] == 30


def test_figure_says_where_it_comes_from():
    figure, _ = draw()
    footer = figure.get_supxlabel()
    for told in ("n = 3 seeds", "commit 0123456789", "cpu: Xeon", "--name='$x_$'", "minimum"):
        assert told in footer
    assert figure.get_suptitle() == "He keeps the signal, Xavier loses it"


def test_band_is_median_and_range():
    _, (ax, _) = draw([[1] * 5, [2] * 5, [9] * 5], theory=False)
    (line, _), band = ax.get_lines(), ax.collections[0]
    assert list(line.get_ydata()) == [2] * 5
    assert band.get_datalim(ax.transData).intervaly == pytest.approx([1, 9])


def test_a_quartile_band_leaves_one_strange_seed_out():
    figure, axes = plots.new_figure()
    values = np.append(np.arange(8.0), 1e6)[:, None] * [1, 1]
    plots.quartile_band(axes[0, 0], [1, 2], values, "C0", "many seeds")
    np.testing.assert_array_equal(axes[0, 0].get_lines()[0].get_ydata(), 4)
    (band,) = axes[0, 0].collections
    assert set(band.get_paths()[0].vertices[:, 1]) == {2, 6}
    plots.finish(figure, make(), "x")
    assert "Band: the middle half of the seeds." in figure.get_supxlabel()


def test_a_seed_that_diverges_is_marked_where_it_leaves():
    values = np.ones((3, 5))
    values[1, 2:] = np.nan
    figure, (ax, _) = draw(values, theory=False)
    crosses = [line for line in ax.get_lines() if line.get_marker() == "x"]
    assert [list(cross.get_xdata()) for cross in crosses] == [[2], [2]]  # one for each arm
    assert "Xavier" in texts(ax)
    plots.to_png(figure)


def test_an_arm_without_a_finite_value_is_told():
    figure, (ax, _) = draw(np.full((3, 5), np.nan), theory=False)
    legend = ax.get_legend()
    assert "no finite value" in legend.get_texts()[0].get_text()
    plots.to_png(figure)


def test_labels_stand_beside_their_lines_and_apart():
    figure, (ax, log) = draw()
    assert texts(ax) == ["Xavier", "He"]
    assert texts(log) == ["Xavier", "He", "theory"]
    figure.draw_without_rendering()
    boxes = sorted((text.get_window_extent() for text in log.texts), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    for text, line in zip(ax.texts, ax.get_lines(), strict=True):
        assert to_hex(text.get_color()) == to_hex(line.get_color())
        end = ax.transData.transform((0, line.get_ydata()[-1]))[1]
        box = text.get_window_extent()
        assert abs((box.y0 + box.y1) / 2 - end) < 2 * box.height


def test_many_lines_get_a_legend():
    figure, axes = plots.new_figure()
    for i in range(7):
        axes[0, 0].plot([0, 1], [i, i], label=f"line {i}")
    plots.finish(figure, make(), "Many")
    assert len(axes[0, 0].get_legend().get_texts()) == 7
    assert "Band" not in figure.get_supxlabel()  # no band, no word about bands


@pytest.mark.parametrize("positions", [[0.5, 0.5, 0.5], [0, 0.01, 1], [1, 1, 1], [0.9, 0, 2, -1]])
def test_spread_keeps_order_and_distance(positions):
    placed = np.array(plots._spread(positions, gap=0.1))
    clipped = np.clip(positions, 0, 1)
    assert np.diff(np.sort(placed)).min() >= 0.1 - 1e-12
    assert (placed >= -1e-12).all() and (placed <= 1 + 1e-12).all()
    order = np.argsort(placed)
    assert (np.diff(clipped[order]) >= 0).all()


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.002, 0.5, ["0.01", "0.1"]),
        (1e-6, 1.0, ["$10^{-6}$", "$10^{-4}$", "$10^{0}$"]),
        (0.02, 0.4, ["0.02", "0.05", "0.1", "0.2"]),
        (2e-6, 4e-5, [r"$2\times 10^{-6}$", "$10^{-5}$"]),
    ],
)
def test_log_ticks_are_readable(low, high, expected):
    figure, axes = plots.new_figure()
    ax = axes[0, 0]
    ax.plot([1, 2], [low, high])
    plots.log_axis(ax, "y")
    figure.draw_without_rendering()
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert set(expected) <= set(labels)
    assert len(labels) <= 12


def test_too_many_arms_are_refused():
    assert len(set(plots.arm_colors(list("abcdef")).values())) == 6
    with pytest.raises(ValueError, match="at most 6"):
        plots.arm_colors(list("abcdefg"))
