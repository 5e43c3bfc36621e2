"""The figure of several runs: seeds, means, verdicts; what is missing or not finite is left out."""

import numpy as np
import pytest

from jaxvision.report import across, plots
from jaxvision.report.colors import CONTRADICTED_COLOR
from jaxvision.report.judgement import ORDER
from jaxvision.report.words import MARKS

WORDS = across.Words("wider is better", "error", "--width", ["made by a test"])


def column(label, values, **verdicts):
    return across.Column(label, None if values is None else np.float64(values), verdicts)


def test_each_claim_is_a_row_of_marks_those_with_several_verdicts_first():
    columns = [
        column("8", [1, 2], same="reproduced", other="contradicted"),
        column("32", [2, 3], same="reproduced", other="reproduced"),
    ]
    figure = across.draw(columns, WORDS, paired=True)
    table = figure.axes[1]
    assert [label.get_text() for label in table.get_yticklabels()] == ["other", "same"]
    assert [label.get_text() for label in table.get_xticklabels()] == ["8", "32"]
    marks = {text.get_position(): text for text in table.texts if text.get_text() in MARKS.values()}
    shown = {place: text.get_text() for place, text in marks.items()}
    assert shown == {(0, 0): "✗", (1, 0): "✓", (0, 1): "✓", (1, 1): "✓"}
    assert marks[0, 0].get_color() == CONTRADICTED_COLOR
    assert set(across._VERDICT_COLORS) == set(ORDER)


@pytest.mark.parametrize("paired", [True, False])
def test_means_seeds_and_the_rule_s_bar_are_drawn_where_the_numbers_are(paired):
    columns = [column("8", [1, 3]), column("32", [2, 4, 9])]
    figure = across.draw(columns, WORDS, paired=paired, places=[8.0, 32.0], bar=2.5)
    ax = figure.axes[0]
    drawn = [
        (line.get_xdata().tolist(), line.get_ydata().tolist()) for line in map(plain, ax.lines)
    ]
    assert ([8.0, 32.0], [2.0, 5.0]) in drawn  # the means
    assert ([0.0, 1.0], [2.5, 2.5]) in drawn  # the bar
    assert (([8.0, 32.0], [1.0, 2.0]) in drawn) == paired  # a seed
    assert ax.get_xscale() == "log"
    assert [label.get_text() for label in ax.get_xticklabels()] == ["8", "32"]


def test_lines_go_from_left_to_right_however_the_runs_were_named():
    columns = [column("32", [5, 6]), column("8", [1, 2]), column("16", [3, 4])]
    figure = across.draw(columns, WORDS, paired=True, places=[32.0, 8.0, 16.0])
    seeds = [line.get_ydata().tolist() for line in map(plain, figure.axes[0].lines)]
    assert [1.0, 3.0, 5.0] in seeds and [2.0, 4.0, 6.0] in seeds
    assert [1.5, 3.5, 5.5] in seeds  # the means


def plain(line):
    line.set_data(np.asarray(line.get_xdata()), np.asarray(line.get_ydata()))
    return line


def test_one_number_no_number_and_nan_are_no_trouble():
    columns = [
        column("a", 4.0),
        column("b", None, claim="not run"),
        column("c", [np.nan, 1.0]),
        column("d", [2.0]),
    ]
    figure = across.draw(columns, WORDS, paired=False)
    assert plots.to_png(figure)[:4] == b"\x89PNG"
    assert len(figure.axes[0].get_xticks()) == 4
