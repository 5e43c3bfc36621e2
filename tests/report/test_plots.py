"""Figures: they repeat to the byte, carry their origin and show what is not finite."""

import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.transforms import Bbox

from jaxvision.report import labels, plots
from jaxvision.report.drawing import MARK_WIDTH
from jaxvision.report.image_grid import image_grid
from jaxvision.report.record import Record


def make(command="python -m experiments he_init --name='$x_$'", **verdicts):
    provenance = {"commit": "0123456789abcdef", "dirty": False, "device": "cpu: Xeon"}
    data = {"name": "digits", "version": "1", "label": "", "digest": "ab", "train": 1437}
    provenance["data"] = [data | {"test": 360}]
    claims = [
        {"id": id, "verdict": verdict, "sentence": f"{id} is so", "source": "He 2015"}
        for id, verdict in verdicts.items()
    ]
    return Record("he_init", "cpu", "he_init", command, {"seeds": 3}, {}, {}, claims, provenance)


SETUP = {"net": "MLP, 64 wide", "optimizer": "SGD, rate .003", "paper": "He et al. 2015"}


def draw(values=None, theory=True):
    x = np.arange(1, 6)
    values = np.outer([1.0, 2.0, 4.0], 10.0**-x) if values is None else np.asarray(values, float)
    figure, axes = plots.new_figure(1, 2)
    for ax in axes[0]:
        plots.seed_band(ax, x, values, plots.color_of("Xavier"), "Xavier")
        plots.seed_band(ax, x, 1.01 * values, plots.color_of("He"), "He")
        plots.describe(ax, "Signal at step 0", "layer", "std of the signal")
    plots.log_axis(axes[0, 1], "y")
    if theory:
        plots.theory_line(axes[0, 1], x, 10.0**-x)
    return plots.finish(figure, make(), "He keeps the signal, Xavier loses it", **SETUP), axes[0]


def texts(ax):
    return [text.get_text() for text in ax.texts if text.get_text()]  # leaders have none


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
    for told in (
        *SETUP.values(),
        "digits 1 (1,437 training and 360 test",
        "n = 3 seeds",
        "commit 0123456789",
        "cpu: Xeon",
        "--name='$x_$'",
        "minimum",
    ):
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
    plots.finish(figure, make(), "x", **SETUP)
    assert "Band: the middle half of the seeds." in figure.get_supxlabel()


def test_the_footer_says_which_panels_have_bands_of_the_other_kind():
    figure, axes = plots.new_figure(2, 2)
    for ax, title in zip(axes.flat, ["a", "b", "c\n(second line)", "d"], strict=True):
        band = plots.quartile_band if title.startswith("c") else plots.seed_band
        if title != "d":
            band(ax, [1, 2], np.ones((5, 2)), "C0", "line")
        plots.describe(ax, title, "x", "y")
    plots.finish(figure, make(), "x", **SETUP)
    told = 'Band: minimum to maximum; in "c" the middle half of the seeds.'
    assert told in " ".join(figure.get_supxlabel().split())


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
    written = [text for text in log.texts if text.get_text()]
    boxes = sorted((text.get_window_extent() for text in written), key=lambda box: box.y0)
    assert all(below.y1 <= above.y0 + 1 for below, above in itertools.pairwise(boxes))
    written = [text for text in ax.texts if text.get_text()]
    for text, line in zip(written, ax.get_lines(), strict=True):
        assert to_hex(text.get_color()) == to_hex(line.get_color())
        end = ax.transData.transform((0, line.get_ydata()[-1]))[1]
        box = text.get_window_extent()
        assert abs((box.y0 + box.y1) / 2 - end) < 2 * box.height


def test_many_lines_get_a_legend():
    figure, axes = plots.new_figure()
    for i in range(7):
        axes[0, 0].plot([0, 1], [i, i], label=f"line {i}")
    plots.finish(figure, make(), "Many", **SETUP)
    assert len(axes[0, 0].get_legend().get_texts()) == 7
    assert "Band" not in figure.get_supxlabel()  # no band, no word about bands


@pytest.mark.parametrize("positions", [[0.5, 0.5, 0.5], [0, 0.01, 1], [1, 1, 1], [0.9, 0, 2, -1]])
def test_spread_keeps_order_and_distance(positions):
    placed = np.array(labels.spread(positions, gap=0.1))
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


def test_a_label_moved_away_from_its_line_is_led_to_it():
    figure, axes = plots.new_figure()
    ax = axes[0, 0]
    for height, name in ((0.0, "low"), (1.0, "one"), (1.001, "two"), (1.002, "three")):
        ax.plot([0, 1], [height, height], label=name)
    plots.finish(figure, make(), "x", **SETUP)
    leaders = [text for text in ax.texts if not text.get_text()]
    assert len(leaders) >= 2
    assert all(leader.xy[1] <= 1 for leader in leaders)


def test_one_color_one_meaning():
    from jaxvision.report import colors

    used = list(colors._MEANINGS.values())
    assert len(set(used)) == len(used)
    with pytest.raises(ValueError, match="no color stands for 'Hee'"):
        plots.color_of("Hee")
    assert len(set(plots.shades(6))) == 6


def test_a_figure_is_as_wide_as_the_house_and_has_six_panels_at_most():
    assert plots.new_figure(3, 2)[0].get_figwidth() == plots.new_figure()[0].get_figwidth()
    with pytest.raises(ValueError, match="at most 6"):
        plots.new_figure(2, 4)


@pytest.mark.parametrize(
    ("rows", "columns"), [(0, slice(None)), (slice(None), 1), (slice(1, 3), slice(None))]
)
def test_one_panel_takes_the_place_of_neighbors(rows, columns):
    figure, axes = plots.new_figure(3, 2)
    neighbors = axes[rows, columns]
    places = [ax.get_subplotspec().get_position(figure) for ax in neighbors.flat]
    one = plots.merged(neighbors)
    assert set(figure.axes) == {*axes.flat, one} - {*neighbors.flat}
    place = one.get_subplotspec().get_position(figure)
    np.testing.assert_allclose(place.extents, Bbox.union(places).extents)


def test_a_title_says_no_more_than_the_verdicts():
    titles = {"stalls": "Xavier stalls", "slower": "Xavier is slower"}
    held = make(stalls="reproduced", slower="reproduced")
    assert plots.headline(held, titles, "He and Xavier") == "Xavier stalls"
    half = make(stalls="contradicted", slower="reproduced")
    assert plots.headline(half, titles, "He and Xavier") == "Xavier is slower"
    nothing = make(stalls="not run", slower="inconclusive")
    assert plots.headline(nothing, titles, "He and Xavier") == "He and Xavier"
    assert plots.headline(make(), titles, "He and Xavier") == "He and Xavier"
    both = {("stalls", "slower"): "Xavier stalls and is slower"}
    assert plots.headline(held, both, "He and Xavier") == "Xavier stalls and is slower"
    assert plots.headline(half, both, "He and Xavier") == "He and Xavier"
    against = {("not stalls", "slower"): "Xavier is slower and gets there"}
    refuted = make(stalls="contradicted", slower="reproduced")
    assert plots.headline(refuted, against, "He and Xavier") == "Xavier is slower and gets there"
    for undecided in (held, make(stalls="inconclusive", slower="reproduced")):
        assert plots.headline(undecided, against, "He and Xavier") == "He and Xavier"


def test_a_title_names_claims_that_there_are():
    """Also behind a title that stands."""
    titles = {"slower": "Xavier is slower", ("slower", "stals"): "Xavier stalls and is slower"}
    with pytest.raises(ValueError, match="'stals'"):
        plots.headline(make(stalls="reproduced", slower="reproduced"), titles, "He and Xavier")


def test_only_contradicted_claims_are_marked_where_they_show():
    figure, axes = plots.new_figure()
    record = make(a="contradicted", b="reproduced", c="inconclusive", d="contradicted")
    plots.mark_contradicted(axes[0, 0], record, "a", "b", "c", "d")
    plots.describe(axes[0, 0], "A panel", "x", "y")
    plots.finish(figure, record, "x", **SETUP)
    (mark,) = axes[0, 0].texts
    assert mark.get_text() == "✗ contradicted: a, d"
    figure.draw_without_rendering()
    title = axes[0, 0].title if axes[0, 0].get_title() else axes[0, 0]._left_title
    assert mark.get_window_extent().y1 <= title.get_window_extent().y0 + 1
    assert axes[0, 0].get_title(loc="left") == "A panel"


def test_a_mark_takes_two_lines_cuts_no_id_and_counts_the_rest():
    names = [f"a-long-id-{i}" for i in range(12)]
    record = make(**dict.fromkeys(names, "contradicted"))
    figure, axes = plots.new_figure(2, 2)
    plots.mark_contradicted(axes[0, 0], record, *names)
    plots.mark_contradicted(axes[0, 1], record, *names[:4])
    plots.describe(axes[0, 0], "A panel", "x", "y")
    plots.finish(figure, record, "x", **SETUP)
    (many,), (few,) = axes[0, 0].texts, axes[0, 1].texts
    assert few.get_text().replace("\n", " ") == f"✗ contradicted: {', '.join(names[:4])}"
    lines = many.get_text().split("\n")
    assert len(lines) == 2
    assert max(map(len, lines)) <= MARK_WIDTH
    told = " ".join(lines).removeprefix("✗ contradicted: ").split(", ")
    assert told[:-1] == names[: len(told) - 1]
    assert told[-1] == f"+{12 - len(told) + 1} more"
    figure.draw_without_rendering()
    assert many.get_window_extent().y1 <= axes[0, 0]._left_title.get_window_extent().y0 + 1


def test_the_footer_counts_verdicts_and_says_what_is_contradicted():
    record = make(a="contradicted", b="reproduced", c="contradicted", d="reproduced", e="not run")
    figure, _ = plots.new_figure(1, 2)
    height = figure.get_figheight()
    plots.finish(figure, record, "x", **SETUP)
    verdicts = "Claims: 2 reproduced, 2 contradicted, 1 not run:\n"
    stated = "✗ a: a is so (He 2015)\n✗ c: c is so (He 2015)\n"
    assert figure.get_supxlabel().startswith(verdicts + stated)
    assert figure.get_figheight() == pytest.approx(height + 3 * 9 * 1.35 / 72)


def test_the_footer_of_a_record_without_contradictions_counts_alone():
    for record, first in ((make(a="reproduced"), "Claims: 1 reproduced.\n"), (make(), "digits")):
        figure, _ = plots.new_figure(1, 2)
        plots.finish(figure, record, "x", **SETUP)
        assert figure.get_supxlabel().startswith(first)


def test_equal_figures_have_equal_vector_bytes():
    assert plots.to_svg(draw()[0]) == plots.to_svg(draw()[0])
    assert b"<dc:date>" not in plots.to_svg(draw()[0])


def test_a_path_that_is_no_text_is_escaped():
    figure, axes = plots.new_figure()
    axes[0, 0].plot([0, 1], [0, 1])
    plots.finish(figure, make(command="python --results=\udcff"), "x", **SETUP)
    assert "--results=\\udcff" in figure.get_supxlabel()
    plots.to_png(figure)


def test_a_grid_of_images_keeps_every_pixel_and_one_scale():
    images = np.arange(2 * 3 * 4 * 4 * 1, dtype=float).reshape(2, 3, 4, 4, 1)
    images[0, 0, 0, 0] = np.nan
    _, axes = plots.new_figure()
    image_grid(axes[0, 0], images, rows=["a", "b"], columns=["x", "y", "z"], high=95.0)
    sheet = axes[0, 0].get_images()[0].get_array()
    assert sheet.shape == (9, 14, 3)
    assert sheet[0, 0].tolist() == [1.0, 0.0, 0.0]
    assert sheet[8, 13].tolist() == [1.0, 1.0, 1.0]  # 95, the last
    np.testing.assert_allclose(sheet[5, 0], 3 * [images[1, 0, 0, 0, 0] / 95])
    names = {"yaxis": (["a", "b"], [1.5, 6.5]), "xaxis": (["x", "y", "z"], [1.5, 6.5, 11.5])}
    for name, (shown, centers) in names.items():
        axis = getattr(axes[0, 0], name)
        assert [text.get_text() for text in axis.get_ticklabels()] == shown
        assert axis.get_ticklocs().tolist() == centers
    with pytest.raises(ValueError, match="names"):
        image_grid(axes[0, 0], images, rows=["a"])
