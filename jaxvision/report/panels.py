"""Where the panels of a figure lie: written into its SVG, read by whoever takes one out."""

import dataclasses
import html
import json
import re
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from jaxvision.report.schema import fits

if TYPE_CHECKING:  # who reads panels does not wait for Matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 72  # an inch: the unit of Matplotlib's SVGs
_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
ElementTree.register_namespace("", _SVG)
ElementTree.register_namespace("xlink", _XLINK)
_PAD = 3.0  # points around a panel
_LONGER = 1.2
_DESCRIPTION = re.compile(r"<dc:description>(.*?)</dc:description>", re.DOTALL)
_HEAD = 20_000  # characters of an SVG that hold its description


@dataclasses.dataclass(frozen=True)
class Panel:
    """A part of a figure that can stand alone.

    Attributes:
      title: what stands above it; TeX marks stay as they are.
      ids: of its axes' groups in the SVG.
      x: left end of its box in the SVG's units, points.
      y: upper end, counted downward.
      width: of the box.
      height: of the box.
    """

    title: str
    ids: list[str]
    x: float
    y: float
    width: float
    height: float


def marked(figure: "Figure") -> list[Panel]:
    """Name the groups of the figure's axes and return its panels, in reading order.

    An axes without a title (a color bar, a second scale) belongs to the nearest one that has one,
    unless it is longer than that: a bar that several share is a panel of its own.
    """
    dpi = figure.dpi
    figure.dpi = POINTS  # as in the SVG: hinted letters are wider than at 100
    figure.draw_without_rendering()  # the layout is made when a figure is drawn
    groups = _grouped(figure.axes)
    found = [_panel(number, axes) for number, axes in enumerate(groups, 1)]
    figure.dpi = dpi
    return found


def description(panels: list[Panel]) -> str:
    """Return the panels as the SVG's description keeps them."""
    return json.dumps({"panels": [dataclasses.asdict(panel) for panel in panels]})


def read(svg: str) -> list[Panel]:
    """Return the panels of an SVG by ``drawing.to_svg``; none where it does not tell them."""
    found = _DESCRIPTION.search(svg, 0, _HEAD)
    try:
        told = json.loads(html.unescape(found[1])) if found else {}
    except ValueError:
        return []
    panels = told.get("panels") if isinstance(told, dict) else None
    return [Panel(**panel) for panel in panels] if fits(panels, list[Panel]) else []


def cut(svg: str) -> list[str]:
    """Return the panels of an SVG as SVGs of their own, white behind; none where it tells none."""
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError:
        return []
    return [_alone(root, panel) for panel in read(svg)]


def _alone(root: ElementTree.Element, panel: Panel) -> str:
    """Return a panel's groups with what they use, of the size of its box."""
    named = {node.get("id"): node for node in root.iter() if node.get("id")}
    groups = [named[name] for name in panel.ids if name in named]
    there = {node.get("id") for group in groups for node in group.iter()}
    wanted = dict.fromkeys(name for group in groups for name in _uses(group))
    place = {"x": panel.x, "y": panel.y, "width": panel.width, "height": panel.height}
    alone = ElementTree.Element(
        f"{{{_SVG}}}svg",
        width=f"{panel.width}pt",
        height=f"{panel.height}pt",
        viewBox=" ".join(map(str, place.values())),
        version="1.1",
    )
    shared = ElementTree.SubElement(alone, f"{{{_SVG}}}defs")
    shared.extend(root.iter(f"{{{_SVG}}}style"))
    shared.extend(named[name] for name in wanted if name in named and name not in there)
    paper = {name: str(number) for name, number in place.items()}
    ElementTree.SubElement(alone, f"{{{_SVG}}}rect", paper, fill="#ffffff")
    alone.extend(groups)
    return ElementTree.tostring(alone, encoding="unicode")


def _uses(group: ElementTree.Element) -> Iterator[str]:
    """Yield the ids of the shapes and clip paths that a group refers to."""
    for node in group.iter():
        if link := node.get(f"{{{_XLINK}}}href"):
            yield link.removeprefix("#")
        if clip := node.get("clip-path"):
            yield clip.removeprefix("url(#").removesuffix(")")


def _grouped(axes: list["Axes"]) -> list[list["Axes"]]:
    titled = sorted(filter(_title, axes), key=_reading_order)
    groups = {ax: [ax] for ax in titled}
    for ax in axes:
        if ax in titled:
            continue
        nearest = min(titled, key=partial(_distance, ax), default=None)
        if nearest is None or _is_longer(ax, nearest):
            groups[ax] = [ax]
        else:
            groups[nearest].append(ax)
    return list(groups.values())


def _title(ax: "Axes") -> str:
    return ax.get_title(loc="left") or ax.get_title()


def _reading_order(ax: "Axes") -> tuple[float, float]:
    place = ax.get_position()
    return -round(place.y1, 1), place.x0


def _distance(ax: "Axes", other: "Axes") -> float:
    """Return how far apart two axes are, edge to edge, in shares of the figure."""
    a = ax.get_position()
    b = other.get_position()
    across = max(a.x0 - b.x1, b.x0 - a.x1, 0.0)
    down = max(a.y0 - b.y1, b.y0 - a.y1, 0.0)
    return across + down


def _is_longer(ax: "Axes", other: "Axes") -> bool:
    a = ax.get_position()
    b = other.get_position()
    return a.width > _LONGER * b.width or a.height > _LONGER * b.height


def _panel(number: int, axes: list["Axes"]) -> Panel:
    from matplotlib.transforms import Bbox

    ids = []
    boxes = []
    for index, ax in enumerate(axes, 1):
        name = f"panel_{number}_{index}"
        ax.set_gid(name)
        ids.append(name)
        boxes.append(ax.get_tightbbox())
    page = axes[0].figure.bbox
    box = Bbox.intersection(Bbox.union(boxes).padded(_PAD), page)
    words = _title(axes[0]) or axes[0].get_xlabel() or axes[0].get_ylabel()
    return Panel(
        title=" ".join(words.split()),
        ids=ids,
        x=round(box.x0, 1),
        y=round(page.height - box.y1, 1),
        width=round(box.width, 1),
        height=round(box.height, 1),
    )
