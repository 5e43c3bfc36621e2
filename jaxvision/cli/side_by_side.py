"""What ``--sweep`` and ``compare`` share: runs of one experiment, side by side."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from jaxvision import interrupts
from jaxvision.cli.configs import make_config_from
from jaxvision.report import folders, outcomes, stats
from jaxvision.report.claims import Claim, Equivalent, Greater, Less, Share, Within
from jaxvision.report.record import Record
from jaxvision.types import UserError


@dataclasses.dataclass(frozen=True)
class Run:
    """A run that stands beside others.

    Attributes:
      label: what tells it from the others.
      record: judged.
      claims: what its set-up claims.
      statistics: of those that were measured, by id.
    """

    label: str
    record: Record
    claims: Sequence[Claim]
    statistics: Mapping[str, outcomes.Values]

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdicts by claim."""
        return self.record.verdicts

    def outcome(self, name: str) -> outcomes.Values | None:
        """Return an outcome by its name; None where the run does not have it."""
        return (outcomes.measured(self.record) | dict(self.statistics)).get(name)


def make_run(experiment: ModuleType, label: str, record: Record) -> Run:
    """Return a run of ``experiment``.

    Raises:
      UserError: the experiment's fields have changed since the record was made.
    """
    claims = experiment.claims(make_config_from(experiment, record))
    return Run(label, record, claims, outcomes.of_claims(claims, record))


def chosen_outcome(runs: Sequence[Run], name: str) -> str:
    """Return the outcome to show: ``name``, or the default where that is "".

    Raises:
      UserError: no run has it, or there is nothing to choose from.
    """
    known = {}
    for run in runs:
        known |= run.statistics | outcomes.measured(run.record)
    name = name or outcomes.default([run.record for run in runs]) or next(iter(known), "")
    if not name:
        raise UserError("these records hold no number that could be shown side by side")
    if name not in known:
        raise UserError(outcomes.missing(name, list(known)))
    return name


def paired(runs: Sequence[Run], name: str) -> bool:
    """Whether an outcome has a number for each seed in all runs, and the seeds are the same."""
    first, *others = runs
    same = all(not outcomes.why_unpaired(first.record, other.record) for other in others)
    return same and all(outcomes.by_seed(run.record, run.outcome(name)) for run in runs)


def interval(run: Run, name: str) -> stats.Interval:
    """Return the mean of an outcome over the seeds and its interval; NaN where there is none."""
    values = run.outcome(name)
    if values is None:
        return stats.Interval.point(float("nan"))
    if values.ndim == 0:
        return stats.Interval.point(float(values))
    return stats.t_interval(values)


def told(found: stats.Interval) -> str:
    """Return an interval in words."""
    if not np.isfinite(found.estimate):
        return "not finite"
    if found.low == found.high or not np.isfinite(found.low):
        return f"{found.estimate:.4g}"
    return f"{found.estimate:.4g} [{found.low:.4g}, {found.high:.4g}]"


def write_figure(
    directory: Path,
    runs: Sequence[Run],
    outcome: str,
    further: Mapping[str, bytes],
    *,
    title: str,
    axis: str,
    footer: Sequence[str],
    places: Sequence[float] | None = None,
) -> None:
    """Write the figure of the runs, as PNG and SVG, and ``further`` files beside it.

    Args:
      directory: it is replaced.
      runs: from left to right.
      outcome: what is drawn of each, by its name.
      further: name -> content.
      title: above the figure.
      axis: what tells the runs apart.
      footer: lines below the figure.
      places: of the runs on the axis; None: evenly.

    Raises:
      UserError: the file system refuses.
    """
    with interrupts.held_back():
        from jaxvision.report import across, plots  # matplotlib takes half a second to import

    columns = [across.Column(run.label, run.outcome(outcome), run.verdicts) for run in runs]
    words = across.Words(title, _in_words(runs[0], outcome), axis, footer)
    bar = _bar(runs[0], outcome)
    both = paired(runs, outcome)
    figure = across.draw(columns, words, paired=both, places=places, bar=bar)
    files = {"figure.png": plots.to_png(figure), "figure.svg": plots.to_svg(figure)}
    try:
        folders.replace(directory, files | dict(further))
    except OSError as error:
        raise UserError(f"cannot write {directory}: {error.strerror or error}") from error


def _claim_of(run: Run, outcome: str) -> Claim | None:
    return next((claim for claim in run.claims if claim.id == outcome), None)


def _in_words(run: Run, outcome: str) -> str:
    claim = _claim_of(run, outcome)
    return outcome if claim is None else f"{claim.sentence} ({outcome})"


def _bar(run: Run, outcome: str) -> float | None:
    """Return what a claim's rule compares its statistic with; None where it is no claim's."""
    claim = _claim_of(run, outcome)
    match None if claim is None else claim.rule:
        case Within(target=bar) | Equivalent(target=bar):
            return bar
        case Greater(than=bar) | Less(than=bar) | Share(than=bar):
            return bar
    return None
