"""Panels of figures: every one is found, whole, and nothing of it lies outside its box."""

import itertools
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from jaxvision.report import panels, plots

RESULTS = Path(__file__).resolve().parents[2] / "experiments/results"
FIGURES = sorted(RESULTS.glob("*/figure.svg"))
A_LETTER = 14  # points, with the space around both boxes

SVG = "{http://www.w3.org/2000/svg}"
PLACED = re.compile(r"translate\((\S+) (\S+)\) scale\((\S+) \S+\)")
MOVED = re.compile(r"translate\((\S+) ")
XLINK = "{http://www.w3.org/1999/xlink}"


def drawn(titles, rows, cols):
    figure, axes = plots.new_figure(rows, cols)
    for ax, title in zip(axes.ravel(), titles, strict=True):
        plots.describe(ax, title, "steps", "loss")
        ax.plot([0, 1], [0, 1], label="a line of its own")
        ax.annotate("far to the right", (1.02, 0.5), xycoords="axes fraction")
    return figure, axes


def test_panels_are_told_in_reading_order():
    figure, _ = drawn(["a\nb", "c", "d", "e <&>"], 2, 2)
    found = panels.read(plots.to_svg(figure).decode())
    assert [panel.title for panel in found] == ["a b", "c", "d", "e <&>"]
    first, second, third, _ = found
    assert first.x < second.x and abs(first.y - second.y) < 30
    assert third.y > first.y + first.height - 20
    for panel in found:
        assert panel.x >= 0 and panel.y >= 0
        assert panel.x + panel.width <= 648 and panel.y + panel.height <= 72 * 8.1


def letters_of(root):
    """Yield left end, right end and base line of every horizontal text, in the SVG's units."""
    for text in root.iter(f"{SVG}g"):
        found = PLACED.fullmatch(text.get("transform", ""))
        if found is None:
            continue
        x, y, scale = map(float, found.groups())
        end = 0.0
        for use in text.iter(f"{SVG}use"):
            moved = MOVED.match(use.get("transform", ""))
            end = float(moved[1]) if moved else end
        yield x, x + end * scale, y


def test_a_box_holds_all_letters_of_its_panel():
    figure, _ = drawn(["one", "a rather long title above it"], 1, 2)
    svg = plots.to_svg(figure).decode()
    for text, panel in zip(panels.cut(svg), panels.read(svg), strict=True):
        letters = list(letters_of(ElementTree.fromstring(text)))
        assert len(letters) > 10  # ticks, title, two labels
        for left, right, base in letters:
            assert panel.x <= left < right + 1 <= panel.x + panel.width
            assert panel.y <= base <= panel.y + panel.height


def test_a_bar_belongs_to_its_panel_or_stands_alone_where_several_share_it():
    figure, axes = plots.new_figure(1, 2)
    for ax in axes[0]:
        plots.describe(ax, "map", "x", "y")
        image = ax.imshow(np.eye(2), aspect="auto")
    figure.colorbar(image, ax=axes[0, 0])
    shared = figure.colorbar(image, ax=list(axes[0]), orientation="horizontal")
    shared.set_label("loss")
    found = panels.read(plots.to_svg(figure).decode())
    assert [(panel.title, len(panel.ids)) for panel in found] == [
        ("map", 2),
        ("map", 1),
        ("loss", 1),
    ]


def test_ids_are_unique():
    figure, _ = drawn(["a", "b"], 1, 2)
    dpi = figure.dpi
    ids = re.findall(rb' id="([^"]*)"', plots.to_svg(figure))
    assert len(ids) == len(set(ids))
    assert figure.dpi == dpi


def test_a_panel_cut_out_has_all_that_it_uses_and_nothing_of_the_others():
    figure, _ = drawn(["one", "two"], 1, 2)
    svg = plots.to_svg(figure).decode()
    for text, panel in zip(panels.cut(svg), panels.read(svg), strict=True):
        root = ElementTree.fromstring(text)
        assert [group.get("id") for group in root.findall(f"{SVG}g")] == panel.ids
        ids = [node.get("id") for node in root.iter() if node.get("id")]
        assert len(ids) == len(set(ids))
        links = [node.get(f"{XLINK}href")[1:] for node in root.iter(f"{SVG}use")]
        clips = [node.get("clip-path", "")[5:-1] for node in root.iter()]
        assert links
        assert any(clips)
        assert {*links, *filter(None, clips)} <= set(ids)
        size = [panel.x, panel.y, panel.width, panel.height]
        assert root.get("viewBox").split() == list(map(str, size))
        assert len(text) < len(svg)
    assert panels.cut(svg[:-9]) == []  # truncated


@pytest.mark.parametrize("path", FIGURES, ids=lambda path: path.parent.name)
def test_no_letters_of_a_neighbor_lie_in_a_committed_panel(path):
    boxes = panels.read(path.read_text("utf-8"))
    for one, other in itertools.combinations(boxes, 2):
        across = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
        down = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
        assert min(across, down) < A_LETTER, (one.title, other.title)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<svg/>",
        "<dc:description>{</dc:description>",
        "<dc:description>[1]</dc:description>",
        '<dc:description>{"panels": [{"title": 1}]}</dc:description>',
        '<dc:description>{"panels": {}}</dc:description>',
    ],
)
def test_other_svgs_tell_no_panels(text):
    assert panels.read(text) == []
    assert panels.cut(text) == []
