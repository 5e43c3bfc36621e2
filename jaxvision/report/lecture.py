"""What the gallery is told beside the records: the order, the words between, where it begins."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxvision.report.contested import Dispute
from jaxvision.report.entries import Listed


@dataclasses.dataclass(frozen=True)
class Theme:
    """A part of the lecture; it is shown where one of its experiments has a record.

    Attributes:
      title: of its section.
      text: a few sentences that lead to its experiments.
    """

    title: str
    text: str


@dataclasses.dataclass(frozen=True)
class Opening:
    """What the gallery begins with.

    Attributes:
      experiment: whose figure is shown; without its record the gallery begins with the themes.
      title: above it.
      numbers: a few large ones, each with the words below it.
      paragraphs: the story.
    """

    experiment: str
    title: str
    numbers: Sequence[tuple[str, str]]
    paragraphs: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Lecture:
    """The catalog and what is said around it.

    Attributes:
      catalog: the experiments, in order.
      themes: name -> title and text; a theme that is not there goes by its name.
      opening: None: the gallery begins with the themes.
      bands: folder of the records -> what the page of closed forms shows as measured, JSON values;
        None: there is no such page.
      disputes: title of a part -> its disputes, for the page of contested claims.
    """

    catalog: Sequence[Listed] = ()
    themes: Mapping[str, Theme] = dataclasses.field(default_factory=dict)
    opening: Opening | None = None
    bands: Callable[[pathlib.Path], Any] | None = None
    disputes: Mapping[str, Sequence[Dispute]] = dataclasses.field(default_factory=dict)

    def theme(self, name: str) -> Theme:
        """Return a theme's title and text."""
        return self.themes.get(name) or Theme(name.capitalize() or "Other runs", "")
