"""Claims as code: a sentence of a paper, the number that speaks to it, a rule fixed before the run.

The verdicts are ``reproduced``, ``contradicted``, ``inconclusive`` and ``not run``. A contradiction
is a result, not an error. What decides is in ``stats.py``: 90 % intervals, one-sided tests at 5 %.
A rule has a ``text``, one line for humans, and a pure ``weigh`` that judges [S] numbers or
booleans, one per seed, or one number [].
"""

import collections
import dataclasses
from collections.abc import Callable, Sequence
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from jaxvision.report import stats
from jaxvision.report.judgement import SMOKE_TEST, Criterion, Judgement, Tier, paper_of, rounded
from jaxvision.report.record import Record
from jaxvision.report.stats import Evidence, Verdict

# Record -> [S] numbers or booleans, one a seed; or one number [].
Statistic = Callable[[Record], ArrayLike]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


@dataclasses.dataclass(frozen=True)
class Within:
    """The value must lie within ``tolerance`` of ``target`` (``relative``: times ``abs(target)``).

    Per-seed values, ``min_seeds`` at least: the interval of their mean inside the band (its ends
    included) is reproduced, wholly outside is contradicted. One number [] is its own interval.
    """

    target: float
    tolerance: float
    relative: bool = False
    min_seeds: int = 5

    def __post_init__(self) -> None:
        if not self.tolerance > 0 or (self.relative and self.target == 0):
            raise ValueError(f"{self}: the band must be wider than nothing")

    @property
    def text(self) -> str:
        """The rule in words."""
        if self.relative:
            return f"within {100 * self.tolerance:.4g}% of {self.target:.4g}"
        return f"within {self.tolerance:.4g} of {self.target:.4g}"

    def weigh(self, values: np.ndarray) -> Evidence:
        """Hold the interval against the band."""
        width = self.tolerance * (abs(self.target) if self.relative else 1.0)
        low, high = self.target - width, self.target + width
        exact = values.ndim == 0
        interval = stats.Interval.point(float(values)) if exact else stats.t_interval(values)
        note = "" if exact else stats.too_few(values.size, self.min_seeds)
        verdict: Verdict = "inconclusive"
        if not note and low <= interval.low and interval.high <= high:
            verdict = "reproduced"
        elif not note and (interval.high < low or high < interval.low):
            verdict = "contradicted"
        effect = None if exact else stats.smallest_effect(values)
        found = Evidence(verdict, interval, values.size, smallest_effect=effect, note=note)
        return found if exact else _not_equal(found, self.target)


@dataclasses.dataclass(frozen=True)
class Greater:
    """The mean over seeds must be above ``than``: one-sided t-tests in both directions.

    ``resolution``: the step of the grid that the values were read off; 0 where there is none.
    """

    than: float = 0.0
    min_seeds: int = 5
    resolution: float = 0.0

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"above {self.than:.4g}, at least {self.min_seeds} seeds" + _known_to(
            self.resolution
        )

    def weigh(self, values: np.ndarray) -> Evidence:
        """Test whether the mean is above, and whether it is below."""
        above = stats.greater_p(values, self.than + self.resolution / 2)
        below = stats.less_p(values, self.than - self.resolution / 2)
        return stats.weigh(values, above, below, self.min_seeds, self.resolution)


@dataclasses.dataclass(frozen=True)
class Less:
    """The mean over seeds must be below ``than``; the rest is as in ``Greater``."""

    than: float = 0.0
    min_seeds: int = 5
    resolution: float = 0.0

    @property
    def text(self) -> str:
        """The rule in words."""
        return f"below {self.than:.4g}, at least {self.min_seeds} seeds" + _known_to(
            self.resolution
        )

    def weigh(self, values: np.ndarray) -> Evidence:
        """Test whether the mean is below, and whether it is above."""
        above = stats.greater_p(values, self.than + self.resolution / 2)
        below = stats.less_p(values, self.than - self.resolution / 2)
        return stats.weigh(values, below, above, self.min_seeds, self.resolution)


@dataclasses.dataclass(frozen=True)
class Equivalent:
    """The mean must lie within ``margin`` of ``target`` (TOST); wholly outside contradicts.

    ``resolution``: as in ``Greater``; half of it must be smaller than the margin.
    """

    margin: float
    target: float = 0.0
    min_seeds: int = 5
    resolution: float = 0.0

    def __post_init__(self) -> None:
        if not self.margin > self.resolution / 2:
            raise ValueError(f"{self}: the margin must be above zero, and above half a grid step")

    @property
    def text(self) -> str:
        """The rule in words."""
        band = f"within {self.margin:.4g} of {self.target:.4g}"
        few = f"at least {self.min_seeds} seeds"
        return f"equivalent: {band}, {few}" + _known_to(self.resolution)

    def weigh(self, values: np.ndarray) -> Evidence:
        """Test whether the mean is inside the margin, and whether it is outside."""
        half = self.resolution / 2
        inside = stats.equivalence_p(values, self.margin - half, self.target)
        outside = stats.difference_p(values, self.margin + half, self.target)
        found = stats.weigh(values, inside, outside, self.min_seeds, self.resolution)
        return _not_equal(found, self.target)


@dataclasses.dataclass(frozen=True)
class Share:
    """A boolean per seed: it must hold on more than the share ``than`` of all seeds there are.

    Judged by the interval of Clopper and Pearson for that share: all of it above is reproduced, all
    of it below is contradicted. Five seeds of five reach above .54, fourteen of fourteen above .8.
    ``stats.where_known`` marks the seeds of which nothing was counted.
    """

    than: float = 0.5
    min_seeds: int = 5

    @property
    def text(self) -> str:
        """The rule in words."""
        most = "most seeds" if self.than == 0.5 else f"more than {100 * self.than:.4g} % of seeds"
        return f"on {most}, at least {self.min_seeds} of them"

    def weigh(self, values: np.ndarray) -> Evidence:
        """Count the seeds on which it holds."""
        if values.dtype != np.bool_:
            raise TypeError(f"Share judges booleans, got {values.dtype}")
        holds, n = int(values.sum()), values.size
        interval = stats.proportion_interval(holds, n)
        few = stats.too_few(n, self.min_seeds)
        verdict: Verdict = "inconclusive"
        if not few and interval.low > self.than:
            verdict = "reproduced"
        elif not few and interval.high < self.than:
            verdict = "contradicted"
        note = "; ".join(filter(None, [f"holds on {holds} of {n} seeds", few]))
        return Evidence(verdict, interval, n, note=note)


def _known_to(resolution: float) -> str:
    return f", known to {resolution:.2g}" if resolution else ""


def _not_equal(found: Evidence, target: float) -> Evidence:
    """Say where numbers that a band has room for differ from its target all the same."""
    equal = found.interval.low <= target <= found.interval.high
    if equal or found.verdict != "reproduced":
        return found
    return dataclasses.replace(found, note="within the band, not equal")


Rule = Within | Greater | Less | Equivalent | Share


def criterion(rule: Rule) -> Criterion:
    """Return the rule as plain values, its kind first: what ``Judgement.criterion`` keeps."""
    return {"kind": type(rule).__name__.lower(), **dataclasses.asdict(rule)}


@dataclasses.dataclass(frozen=True)
class Claim:
    """One sentence of a source, and how a record is held against it.

    Attributes:
      id: a short name, unique within the experiment.
      source: the paper first, then the place: "He et al. 2015, figure 3".
      sentence: what the source says, in words a stranger understands.
      statistic: see ``Statistic``; paired differences where two arms meet.
      rule: what the statistic must satisfy.
      tier: 'theory' (closed form), 'direction' (who wins, at our scale), 'paper' (its own number).
      not_run: when set, the claim is listed but not judged; says which command would run it.
      needs: the rows of the experiment's table, and its parts, that the statistic reads, for
        ``--claim``; () is none of them. None: nothing can be left out.
    """

    id: str
    source: str
    sentence: str
    statistic: Statistic
    rule: Rule
    tier: Tier = "direction"
    not_run: str = ""
    needs: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.tier not in get_args(Tier):
            raise ValueError(f"claim {self.id!r}: the tier must be one of {get_args(Tier)}")

    @property
    def paper(self) -> str:
        """The source up to its first comma: claims of one paper are corrected together."""
        return paper_of(self.source)


def minus(one: Statistic, other: Statistic) -> Statistic:
    """Return the statistic of ``one`` less that of ``other``, seed by seed."""
    return lambda record: one(record) - other(record)


def judge(claims: Sequence[Claim], record: Record) -> list[Judgement]:
    """Hold every claim against the record.

    The direction-tier claims of one paper (``Claim.paper``: the source up to its first comma) are
    one family. Holm's correction runs over the p-values that decide for ``reproduced`` and, apart,
    over those that decide for ``contradicted``; it can only turn a verdict into ``inconclusive``.

    Raises ValueError or TypeError for mistakes of the experiment: one id twice, a wrong shape.
    """
    if len({claim.id for claim in claims}) != len(claims):
        raise ValueError(f"claim ids must be unique: {[claim.id for claim in claims]}")
    pairs = [(claim, None if claim.not_run else _weigh(claim, record)) for claim in claims]
    adjusted = _adjusted(pairs)
    neither = (None, None)
    return [_judgement(claim, found, adjusted.get(claim.id, neither)) for claim, found in pairs]


def judge_one(claims: Sequence[Claim], record: Record, id: str) -> Judgement:
    """Hold one of the claims against a record that may lack what the others need.

    In Holm's correction the others count as if they had failed: the verdict is never stronger than
    the one that the claim gets among all, and it is that one unless p is near the bound.
    """
    pairs = [
        (claim, _weigh(claim, record) if claim.id == id else _unknown(claim)) for claim in claims
    ]
    ((claim, found),) = [pair for pair in pairs if pair[0].id == id]
    return _judgement(claim, found, _adjusted(pairs).get(id, (None, None)))


def _adjusted(
    pairs: Sequence[tuple[Claim, Evidence | None]],
) -> dict[str, tuple[float, float]]:
    """Return Holm's p-values, for and against, of the claims that belong to a family."""
    families = collections.defaultdict(list)
    for claim, found in pairs:
        if claim.tier == "direction" and found is not None and found.p_for is not None:
            families[claim.paper].append((claim.id, found))
    adjusted = {}
    for members in families.values():
        ids = [id for id, _ in members]
        p_for = stats.holm([found.p_for for _, found in members])
        p_against = stats.holm([found.p_against for _, found in members])
        adjusted |= dict(zip(ids, zip(p_for, p_against, strict=True), strict=True))
    return adjusted


def without_verdict(judgement: Judgement) -> Judgement:
    """Return what a smoke test has to say of a claim."""
    note = judgement.note if judgement.estimate is None else SMOKE_TEST
    return dataclasses.replace(judgement, verdict="not run", note=note)


def _weigh(claim: Claim, record: Record) -> Evidence:
    values = np.asarray(claim.statistic(record))
    if values.ndim > 1 or values.dtype.kind not in "biuf":
        wanted = "the statistic must be numbers or booleans of shape [S] or []"
        raise ValueError(f"claim {claim.id!r}: {wanted}, got {values.dtype} {values.shape}")
    bad = int(np.count_nonzero(~np.isfinite(values)))
    if values.size and not bad:
        return claim.rule.weigh(values)
    note = f"{bad} of {values.size} values are not finite" if bad else "there is no value to judge"
    return _undecided(claim, values.size, note)


def _undecided(claim: Claim, n: int, note: str) -> Evidence:
    p = None if isinstance(claim.rule, Within | Share) else float("nan")
    return Evidence("inconclusive", stats.Interval.point(np.nan), n, p, p, note=note)


def _unknown(claim: Claim) -> Evidence | None:
    """Return the evidence on a claim that nobody asked for."""
    return None if claim.not_run else _undecided(claim, 0, "not asked for")


def _judgement(
    claim: Claim, found: Evidence | None, adjusted: tuple[float | None, float | None]
) -> Judgement:
    """Put claim, evidence and the adjusted p-values, for and against, together."""
    stated = (claim.id, claim.source, claim.sentence, claim.tier, claim.rule.text)
    rule = criterion(claim.rule)
    if found is None:
        return Judgement(*stated, "not run", note=claim.not_run, criterion=rule)
    verdict, notes = found.verdict, [found.note]
    p, p_adjusted = found.p_for, adjusted[0]
    if verdict == "contradicted":
        p, p_adjusted = found.p_against, adjusted[1]
    if verdict != "inconclusive" and p_adjusted is not None and p_adjusted > stats.ALPHA:
        notes.append(f"{verdict} alone (p={p:.2g}), not among all claims of {claim.paper}")
        verdict = "inconclusive"
    smallest = None if np.isnan(found.smallest_effect or 0.0) else found.smallest_effect
    if verdict == "inconclusive" and smallest is not None:
        effect = f"{smallest:.2g}" if found.n > 1 else "unknown (one seed)"
        notes.append(f"smallest effect this run could have seen: {effect} (80 % power)")
    return Judgement(
        *stated,
        verdict,
        estimate=rounded(found.interval.estimate),
        low=rounded(found.interval.low),
        high=rounded(found.interval.high),
        n=found.n,
        p=rounded(p),
        p_adjusted=rounded(p_adjusted),
        smallest_effect=rounded(smallest),
        note="; ".join(filter(None, notes)),
        criterion=rule,
    )
