"""Panels of figures: every one is found, whole, and nothing of it lies outside its box."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from jaxvision.report import panels, plots

SVG = "{http://www.w3.org/2000/svg}"
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


def test_a_box_holds_all_letters_of_its_panel():
    figure, _ = drawn(["one", "a rather long title above it"], 1, 2)
    svg = plots.to_svg(figure).decode()
    for panel in panels.read(svg):
        group = svg[svg.index(f'<g id="{panel.ids[0]}">') :]
        end = re.search(r'<g id="panel_2_1">|<g id="text_\d+">\s*<!-- n', group[20:])
        group = group[: end.start()] if end else group
        texts = re.findall(r"translate\((\S+) (\S+)\) scale\((\S+) \S+\)(.*?)</g>", group, re.S)
        assert texts
        for x, y, scale, glyphs in texts:
            steps = re.findall(r'<use [^>]*transform="translate\((\S+) ', glyphs)
            right = float(x) + max([0.0, *map(float, steps)]) * float(scale)
            assert panel.x <= float(x) and right <= panel.x + panel.width
            assert panel.y <= float(y) <= panel.y + panel.height


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
    told = panels.read(svg)
    first, second = map(ElementTree.fromstring, panels.cut(svg))
    for root, panel in ((first, told[0]), (second, told[1])):
        assert [group.get("id") for group in root.findall(f"{SVG}g")] == panel.ids
        ids = [node.get("id") for node in root.iter() if node.get("id")]
        assert len(ids) == len(set(ids))
        links = [node.get(f"{XLINK}href") for node in root.iter(f"{SVG}use")]
        clips = [node.get("clip-path") for node in root.iter() if node.get("clip-path")]
        assert links and clips
        assert {link[1:] for link in links} | {clip[5:-1] for clip in clips} <= set(ids)
        size = [panel.x, panel.y, panel.width, panel.height]
        assert root.get("viewBox").split() == list(map(str, size))
    assert len(panels.cut(svg)[0]) < len(svg)
    assert panels.cut(svg[:-9]) == []  # truncated


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
