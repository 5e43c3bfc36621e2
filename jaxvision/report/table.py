"""The verdicts of a run as lines for a terminal: contradictions first, counts last."""

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence

from jaxvision.report.judgement import ORDER, SMOKE_TEST, Judgement, by_verdict, counted

_MARGIN = max(map(len, ORDER)) + 2
_ANSI = {"contradicted": "31;1", "inconclusive": "33", "reproduced": "32", "not run": "2"}


def table(
    judgements: Sequence[Judgement], width: int | None = None, color: bool | None = None
) -> str:
    """Return the claims with their verdicts, the contradicted first, and the counts at the end.

    What was neither run nor measured takes one line.

    Args:
      judgements: in the experiment's order, which is kept within a verdict.
      width: columns; None asks the terminal.
      color: whether verdicts are colored; None: on a terminal that can, unless NO_COLOR is set.
    """
    width = max(40, width or shutil.get_terminal_size((100, 24)).columns)
    color = _wants_color() if color is None else color
    smoke = any(judgement.note == SMOKE_TEST for judgement in judgements)
    lines = ["This is a smoke test: it decides nothing. Its numbers:", ""] if smoke else []
    for judgement in by_verdict(judgements):
        first, *rest = _told(judgement, width - _MARGIN)
        lines += [_word(judgement, color) + first, *(" " * _MARGIN + line for line in rest)]
        lines += [""] if rest else []
    if lines and lines[-1]:
        lines.append("")
    return "\n".join([*lines, counted(judgements)])


def _told(judgement: Judgement, width: int) -> list[str]:
    """Return the lines of one claim, without its verdict."""
    if judgement.verdict == "not run" and judgement.estimate is None:
        return [textwrap.shorten(f"{judgement.sentence} ({judgement.note})", width)]
    details = " | ".join(filter(None, [judgement.measured(), judgement.rule]))
    note = "" if judgement.note == SMOKE_TEST else judgement.note  # said once, above all
    origin = f"{judgement.source} ({judgement.tier} tier)"
    texts = [judgement.sentence, details, note, origin]
    return [line for text in texts for line in textwrap.wrap(text, width)]


def _word(judgement: Judgement, color: bool) -> str:
    word = judgement.verdict.ljust(_MARGIN)
    return f"\x1b[{_ANSI[judgement.verdict]}m{word}\x1b[0m" if color else word


def _wants_color() -> bool:
    """Return whether stdout shows colors (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return sys.stdout.isatty() and not plain
