"""What an experiment's file says of it: question, sources, set-up, and what differs from them.

Read from the source, which is neither imported nor run: its docstring begins with a line, then come
a paragraph "Source: ... Claim in one sentence: ...", one "Command: ...", and the set-up.
"""

import ast
import dataclasses
import pathlib
import re

_CLAIM = "Claim in one sentence:"
_DIFFERS = re.compile(r"\s*(?=\bWhat (?:differs from|`cpu` changes))")


@dataclasses.dataclass(frozen=True)
class About:
    """The parts of an experiment's docstring, each a text without line breaks.

    Attributes:
      question: the first line.
      sources: papers, with their arXiv numbers.
      claim: what they say, in one sentence.
      set_up: paragraphs.
      differs: paragraphs that say what differs from the source; empty where the set-up says it.
    """

    question: str = ""
    sources: str = ""
    claim: str = ""
    set_up: tuple[str, ...] = ()
    differs: tuple[str, ...] = ()


def read(path: pathlib.Path) -> About:
    """Return what the file at ``path`` says; nothing where there is none, or it says nothing."""
    try:
        text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    except (OSError, SyntaxError, ValueError):
        return About()
    return of_docstring(text)


def of_docstring(text: str) -> About:
    """Return the parts of a docstring."""
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
    question, *rest = paragraphs or [""]
    sources, claim, set_up, differs = "", "", [], []
    for paragraph in rest:
        if paragraph.startswith(("Source:", "Sources:")):
            told, _, claim = paragraph.partition(_CLAIM)
            sources = told.partition(":")[2].strip()
        elif not paragraph.startswith("Command:"):
            here, *other = _DIFFERS.split(paragraph, maxsplit=1)
            set_up += [here] if here else []
            differs += other
    return About(question, sources, claim.strip(), tuple(set_up), tuple(differs))
