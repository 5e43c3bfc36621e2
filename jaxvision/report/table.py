"""The verdicts of a run as lines for a terminal: contradictions first, counts last."""

import collections
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from jaxvision.report.claims import SMOKE_TEST, Judgement, measured
from jaxvision.report.stats import Verdict

ORDER: tuple[Verdict, ...] = ("contradicted", "inconclusive", "reproduced", "not run")
_MARGIN = max(map(len, ORDER)) + 2
_ANSI = {"contradicted": "31;1", "inconclusive": "33", "reproduced": "32", "not run": "2"}


def table(
    judgements: Sequence[Judgement], width: int | None = None, color: bool | None = None
) -> str:
    """Return the claims with their verdicts, the contradicted first, and the counts at the end.

    Args:
      judgements: in the experiment's order, which is kept within a verdict.
      width: columns; None asks the terminal.
      color: whether verdicts are colored; None: on a terminal that can, unless NO_COLOR is set.
    """
    width = max(40, width or shutil.get_terminal_size((100, 24)).columns)
    color = _wants_color() if color is None else color
    smoke = any(judgement.note == SMOKE_TEST for judgement in judgements)
    lines = ["This is a smoke test: it decides nothing. Its numbers:", ""] if smoke else []
    for verdict in ORDER:
        for judgement in judgements:
            if judgement.verdict == verdict:
                lines += _block(judgement, width, color)
    counts = collections.Counter(judgement.verdict for judgement in judgements)
    told = [f"{counts[verdict]} {verdict}" for verdict in ORDER if counts[verdict]]
    return "\n".join([*lines, ", ".join(told)])


def _block(judgement: Judgement, width: int, color: bool) -> list[str]:
    """Return the lines of one claim; one without a number takes a single line, where it fits."""
    details = " | ".join(filter(None, [measured(judgement), judgement.rule]))
    origin = f"{judgement.source} ({judgement.tier} tier)"
    texts = [judgement.sentence, details, judgement.note, origin]
    if judgement.estimate is None and judgement.verdict == "not run":
        texts = [textwrap.shorten(judgement.sentence, width - _MARGIN), judgement.note]
    wrapped = [line for text in texts for line in textwrap.wrap(text, width - _MARGIN)]
    word = judgement.verdict.ljust(_MARGIN)
    if color:
        word = f"\x1b[{_ANSI[judgement.verdict]}m{word}\x1b[0m"
    return [word + wrapped[0], *(" " * _MARGIN + line for line in wrapped[1:]), ""]


def _wants_color() -> bool:
    """Return whether stdout shows colors (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return sys.stdout.isatty() and not plain
