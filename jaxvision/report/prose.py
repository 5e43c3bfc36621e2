"""Prose of docstrings as HTML: code, emphasis and arXiv numbers; all else is escaped."""

import re
from collections.abc import Callable

from markupsafe import Markup, escape

_MARKED = re.compile(r"``(?P<double>.+?)``|`(?P<code>.+?)`|\*(?P<stressed>\w[^*]*?)\*")
_ARXIV = re.compile(r"\b\d{4}\.\d{4,5}\b")


def prose(text: str) -> Markup:
    """Return a paragraph with its `code` and *emphasis*."""

    def marked(match: re.Match) -> Markup:
        code = match["double"] or match["code"]
        kind = "code" if code else "em"
        return Markup(f"<{kind}>{{}}</{kind}>").format(code or match["stressed"])

    return _replaced(text, _MARKED, marked)


def papers(text: str) -> Markup:
    """Return a list of sources whose arXiv numbers lead there."""

    def linked(match: re.Match) -> Markup:
        return Markup('<a href="https://arxiv.org/abs/{0}">{0}</a>').format(match[0])

    return _replaced(text, _ARXIV, linked)


def _replaced(text: str, pattern: re.Pattern, shown: Callable[[re.Match], Markup]) -> Markup:
    """Return the text escaped, and every match as ``shown`` has it."""
    found, end = Markup(), 0
    for match in pattern.finditer(text):
        found += escape(text[end : match.start()]) + shown(match)
        end = match.end()
    return found + escape(text[end:])


def sentence(text: str) -> str:
    """Return the text with a capital first."""
    return text[:1].upper() + text[1:]


def kebab(words: str) -> str:
    """Return the name of a class: 'not run' is 'not-run'."""
    return words.replace(" ", "-")
