"""A claim with its verdict, as records keep it, tables print it and the gallery shows it."""

import collections
import dataclasses
import math
from collections.abc import Iterable
from typing import Literal, Required, TypedDict

from jaxvision.report.stats import Verdict
from jaxvision.report.words import MARKS

Tier = Literal["theory", "direction", "paper"]

# What a reader should see first.
ORDER: tuple[Verdict, ...] = ("contradicted", "inconclusive", "reproduced", "not run")
MARKS_KEY = ", ".join(f"{MARKS[verdict]} {verdict}" for verdict in ORDER)
SMOKE_TEST = "smoke test: decides nothing"
_DIGITS = 12


class Criterion(TypedDict, total=False):
    """A rule of ``claims`` as plain values: its kind and those of the fields that it has."""

    kind: Required[Literal["within", "greater", "less", "equivalent", "share"]]
    min_seeds: Required[int]
    target: float
    tolerance: float
    relative: bool
    than: float
    margin: float
    resolution: float


@dataclasses.dataclass(frozen=True)
class Judgement:
    """A claim with its verdict; None where a field does not apply.

    ``p`` is the p-value that speaks for the claim or, when the verdict is ``contradicted``, the one
    that speaks against it; ``p_adjusted`` is Holm's. ``criterion`` is the rule for programs; older
    records lack it.

    ``Judgement(**it.to_dict())`` equals it.
    """

    id: str
    source: str
    sentence: str
    tier: Tier
    rule: str
    verdict: Verdict
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    p: float | None = None
    p_adjusted: float | None = None
    smallest_effect: float | None = None
    note: str = ""
    criterion: Criterion | None = None

    def to_dict(self) -> dict:
        """Return the fields as a plain dict, for ``Record.claims``."""
        return dataclasses.asdict(self)

    def measured(self) -> str:
        """Return estimate, 90 % interval, n and p in one line; empty where nothing was measured."""
        if self.estimate is None or self.low is None or self.high is None:
            return ""
        if math.isnan(self.estimate):
            return ""
        text = f"{self.estimate:.4g}"
        if self.low != self.high:
            text += f" [{self.low:.4g}, {self.high:.4g}]"
        text += f", n={self.n}"
        p = self.p if self.p_adjusted is None else self.p_adjusted
        return text if p is None else f"{text}, p={p:.2g}"


def paper_of(source: str) -> str:
    """Return the paper of a claim's source: what stands before its first comma."""
    return source.split(",", 1)[0].strip()


def rounded(value: float | None) -> float | None:
    """Return a statistic with the digits that every processor agrees on: the first twelve."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def by_verdict(judgements: Iterable[Judgement]) -> list[Judgement]:
    """Return the contradicted first; within a verdict the order is kept."""
    return sorted(judgements, key=lambda judgement: ORDER.index(judgement.verdict))


def counts(verdicts: Iterable[Verdict]) -> dict[Verdict, int]:
    """Return how often each verdict was reached, the contradicted first; none that was not."""
    found = collections.Counter(verdicts)
    return {verdict: found[verdict] for verdict in ORDER if found[verdict]}


def marked(verdicts: Iterable[Verdict]) -> str:
    """Return how often each verdict was reached, as in '✗1 ✓24'."""
    return " ".join(f"{MARKS[verdict]}{count}" for verdict, count in counts(verdicts).items())


def counted(judgements: Iterable[Judgement]) -> str:
    """Return how often each verdict was reached, as in '1 contradicted, 24 reproduced'."""
    found = counts(judgement.verdict for judgement in judgements)
    return ", ".join(f"{count} {verdict}" for verdict, count in found.items())
