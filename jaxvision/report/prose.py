"""Prose of docstrings as HTML: code, emphasis and arXiv numbers; all else is escaped."""

import re
import urllib.parse

from markupsafe import Markup, escape

_MARKED = re.compile(r"``(?P<double>.+?)``|`(?P<code>.+?)`|\*(?P<stressed>\w[^*]*?)\*")
_ARXIV = re.compile(r"\b\d{4}\.\d{4,5}\b")


def prose(text: str) -> Markup:
    """Return a paragraph with its `code` and *emphasis*."""
    found, end = Markup(), 0
    for match in _MARKED.finditer(text):
        found += escape(text[end : match.start()])
        code = match["double"] or match["code"]
        kind = "code" if code else "em"
        found += Markup(f"<{kind}>{{}}</{kind}>").format(code or match["stressed"])
        end = match.end()
    return found + escape(text[end:])


def papers(text: str) -> Markup:
    """Return a list of sources whose arXiv numbers lead there."""
    found, end = Markup(), 0
    for match in _ARXIV.finditer(text):
        found += escape(text[end : match.start()])
        found += Markup('<a href="https://arxiv.org/abs/{0}">{0}</a>').format(match[0])
        end = match.end()
    return found + escape(text[end:])


def sentence(text: str) -> str:
    """Return the text with a capital first."""
    return text[:1].upper() + text[1:]


def kebab(words: str) -> str:
    """Return the name of a class: 'not run' is 'not-run'."""
    return words.replace(" ", "-")


def quoted(path: str) -> str:
    """Return a relative path as it stands in a link."""
    return urllib.parse.quote(path, errors="surrogateescape")
