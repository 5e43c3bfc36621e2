"""``python -m experiments compare A B``: two runs of one experiment, paired by seed."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from jaxvision import terminal
from jaxvision.cli import side_by_side
from jaxvision.cli.places import RUNS, place, shown
from jaxvision.longrun.workdir import config_hash
from jaxvision.report import outcomes, provenance, shelves
from jaxvision.report import record as records
from jaxvision.report.changes import as_flag, run_title
from jaxvision.report.record import Record
from jaxvision.types import UserError


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two runs of one experiment.

    Attributes:
      one, other: the runs, labeled A and B.
      unpaired: why their seeds cannot be paired; "" where they can.
    """

    one: side_by_side.Run
    other: side_by_side.Run
    unpaired: str

    @property
    def runs(self) -> list[side_by_side.Run]:
        """Both."""
        return [self.one, self.other]


def main(arguments: Sequence[str], own: Path, module_of: Callable[[str], ModuleType | None]) -> int:
    """Compare two runs; return the exit code.

    Args:
      arguments: of ``python -m experiments compare``.
      own: the folder of the records that come with the experiments.
      module_of: the module of an experiment by its name; None where there is none.
    """
    parser = shelves.Parser("python -m experiments compare", description=__doc__)
    parser.add_argument("one", metavar="A", help="name of a run, or path of its directory")
    parser.add_argument("other", metavar="B", help="the run that is held against it")
    parser.add_argument("--outcome", default="", help="what the figure shows; 'list' lists them")
    parser.add_argument("--results", help="folder of records [default: runs, experiments/results]")
    try:
        options = parser.parse_args(arguments)
        roots = shelves.roots_of(options.results, own)
        found = [shelves.find(name, roots).record for name in (options.one, options.other)]
        pair = make_pair(*found, module_of)
        if options.outcome == "list":
            print("\n".join(names(pair)))
            return 0
        outcome = side_by_side.chosen_outcome(pair.runs, options.outcome)
        directory = _directory(pair, RUNS if options.results is None else options.results)
        print("\n".join(map(terminal.one_line, [*_heads(pair), "", *_claims(pair)])))
        _write(pair, outcome, directory)
    except UserError as error:
        print(f"error: {terminal.one_line(str(error))}", file=sys.stderr)
        return 2
    where = terminal.one_line(shown(directory))
    print(f"\n{where}/ holds figure.png and figure.svg; they show {outcome}")
    return 0


def make_pair(one: Record, other: Record, module_of: Callable[[str], ModuleType | None]) -> Pair:
    """Return the two runs side by side.

    Raises:
      UserError: they are one, or of two experiments, or of one that there is no more.
    """
    if one.experiment != other.experiment:
        raise UserError(
            f"{one.run_name} is a run of {one.experiment}, {other.run_name} of {other.experiment}:"
            " only runs of one experiment can be compared"
        )
    if one.provenance == other.provenance and one.config == other.config:
        raise UserError(f"{one.run_name} and {other.run_name} are one and the same run")
    module = module_of(one.experiment)
    if module is None:
        raise UserError(f"there is no experiment {one.experiment}: its claims cannot be compared")
    runs = [side_by_side.make_run(module, label, r) for label, r in (("A", one), ("B", other))]
    return Pair(*runs, outcomes.why_unpaired(one, other))


def names(pair: Pair) -> list[str]:
    """Return the outcomes that both runs have, the claims first."""
    has = [run.statistics | outcomes.measured(run.record) for run in pair.runs]
    return [name for name in has[0] if name in has[1]]


def differences(pair: Pair) -> dict[str, outcomes.Difference]:
    """Return B less A by claim, where both measured it by seed; p by Holm over all of them."""
    found = {}
    for name, values in pair.one.statistics.items():
        against = pair.other.statistics.get(name)
        alike = outcomes.by_seed(pair.one.record, values)
        if alike and outcomes.by_seed(pair.other.record, against) and not pair.unpaired:
            found[name] = outcomes.difference(values, against)
    return outcomes.corrected(found)


def _heads(pair: Pair) -> list[str]:
    """Return what the two runs are, and in what they differ."""
    lines = [f"{run.label}  {run_title(run.record)}: {run.record.origin()}" for run in pair.runs]
    one, other = (run.record for run in pair.runs)
    changed = [
        f"--{name}={as_flag(one.config.get(name))} | {as_flag(other.config.get(name))}"
        for name in one.config | other.config
        if one.config.get(name) != other.config.get(name)
    ]
    lines.append(f"set-up, A | B: {', '.join(changed) or 'the same'}")
    data = [provenance.data_line(record.provenance) for record in (one, other)]
    if data[0] != data[1]:
        lines.append(f"data, A | B: {' | '.join(data)}")
    if pair.unpaired:
        lines.append(f"unpaired: {pair.unpaired}; the claims stand side by side")
    else:
        lines.append("B - A is paired by seed, with its 90 % interval; p is two-sided, by Holm")
    return lines


def _claims(pair: Pair) -> list[str]:
    """Return a block for each claim that either run has measured, those that differ first."""
    verdicts = [run.verdicts for run in pair.runs]
    measured = dict.fromkeys([*pair.one.statistics, *pair.other.statistics])
    if not measured:
        return ["neither run has measured a claim"]
    gaps = differences(pair)

    def agree(name: str) -> bool:
        return verdicts[0].get(name) == verdicts[1].get(name)

    lines = []
    for name in sorted(measured, key=agree):
        told = [each.get(name, "not run") for each in verdicts]
        verdict = told[0] if agree(name) else " -> ".join(told)
        numbers = [side_by_side.told(side_by_side.interval(run, name)) for run in pair.runs]
        lines.append(f"{name}: {verdict}")
        lines.append(f"    A {numbers[0]}, B {numbers[1]}{_gap(gaps.get(name))}")
    return lines


def _gap(found: outcomes.Difference | None) -> str:
    if found is None:
        return ""
    return f"; B - A {side_by_side.told(found.interval)}, n={found.n}, p={found.p:.2g}"


def _directory(pair: Pair, results: str) -> Path:
    """Return where the figure goes; creates nothing."""
    runs = [run.record.run_name for run in pair.runs]
    name = f"{pair.one.record.experiment}-compare-{config_hash({'runs': runs})}"
    return records.run_directory(place("results", results), name)


def _write(pair: Pair, outcome: str, directory: Path) -> None:
    titles = [run_title(run.record) for run in pair.runs]
    side_by_side.write_figure(
        directory,
        pair.runs,
        outcome,
        {},
        axis="run",
        title=f"{pair.one.record.experiment}: {outcome} in two runs",
        footer=[
            "Gray: seeds, joined where they are paired. Blue: mean, 90 % interval. Dashes: what"
            " the claim's rule compares with.",
            *(f"{run.label}: {title}" for run, title in zip(pair.runs, titles, strict=True)),
            pair.one.record.origin(),
        ],
    )
