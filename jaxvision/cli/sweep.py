"""``--sweep``: a run for each value of a flag, then one figure and the claims by value."""

import contextlib
import dataclasses
import json
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

from absl import flags

from jaxvision import data, terminal
from jaxvision import progress as progress_lib
from jaxvision.arguments import near
from jaxvision.cli import side_by_side
from jaxvision.cli.configs import make_config_from
from jaxvision.cli.parsing import code_of, name_of
from jaxvision.cli.places import RUNS, own_record, place, shown
from jaxvision.cli.running import Job, carry_out, judge, write
from jaxvision.longrun.stop import Stopped
from jaxvision.longrun.workdir import config_hash
from jaxvision.parallel import distributed
from jaxvision.report import encoding, outcomes
from jaxvision.report import record as records
from jaxvision.report.changes import run_title
from jaxvision.report.judgement import Judgement, counted
from jaxvision.report.record import Record
from jaxvision.types import UserError

_AS_IN = "as in --sweep=width=8,16,32"


@dataclasses.dataclass(frozen=True)
class Sweep:
    """What ``--sweep`` asks for.

    Attributes:
      flag: the field of the config that is varied.
      values: by how they were typed.
    """

    flag: str
    values: Mapping[str, Any]


def asked(experiment: ModuleType, values: flags.FlagValues) -> Sweep:
    """Read and check ``--sweep``.

    Raises:
      UserError: the flag or a value is none, or another flag does not go with a sweep.
    """
    flag, equals, listed = values.sweep.partition("=")
    flag = flag.lstrip("-").strip()
    known = {field.name: field for field in dataclasses.fields(experiment.Config)}
    if flag not in known:
        close = " or ".join(near(flag, sorted(known)))
        hint = f"did you mean {close}?" if close else f"there are {', '.join(known)}"
        raise UserError(f"--sweep: the set-up has no flag {flag!r}: {hint}")
    if not equals:
        raise UserError(f"--sweep={flag} names no values: give some, {_AS_IN}")
    if get_origin(known[flag].type) is tuple:
        raise UserError(f"--sweep={flag}: it holds several values already, in one run")
    if values[flag].present:
        raise UserError(f"--sweep varies --{flag}: leave out --{flag}={values[flag].value}")
    if values.run_name is not None:
        raise UserError("--sweep names its runs itself: leave out --run_name")
    texts = [text.strip() for text in listed.split(",")]
    found = [_read(values[flag], text) for text in texts]
    if len(found) < 2:
        raise UserError(f"--sweep={flag} needs two values at least, {_AS_IN}")
    if len(set(found)) < len(found):
        raise UserError(f"--sweep={flag}: {listed!r} names a value twice")
    return Sweep(flag, dict(zip(texts, found, strict=True)))


def _read(flag: flags.Flag, text: str) -> Any:
    try:
        return flag.parser.parse(text)
    except ValueError as error:
        raise UserError(f"--sweep={flag.name}: {error}") from error


def outcome_of(jobs: Sequence[Job], values: flags.FlagValues) -> str | None:
    """Return the outcome that is asked for, "" where any will do; None: they are listed instead.

    Arrays and numbers are known from the experiment's own record and from runs that are done.

    Raises:
      UserError: there is no such outcome.
    """
    name = values.outcome or values.claim or ""
    experiment, config = jobs[0].experiment, jobs[0].config
    found = [claim.id for claim in experiment.claims(config) if not claim.not_run]
    for record in _known_records(jobs, values.preset):
        found += outcomes.measured(record)
    found = list(dict.fromkeys(found))
    if name == "list":
        print("\n".join(found))
        return None
    if name and name not in found:
        raise UserError(outcomes.missing(name, found))
    return name


def _known_records(jobs: Sequence[Job], preset: str) -> list[Record]:
    known = [record for job in jobs if (record := _done(job, preset)) is not None]
    with contextlib.suppress(UserError):  # it has none
        known.append(records.load(own_record(jobs[0].experiment)))
    return known


def run(sweep: Sweep, jobs: Sequence[Job], values: flags.FlagValues) -> None:
    """Make the runs that are not made yet, then say and draw how they differ.

    Args:
      sweep: what is varied.
      jobs: a run for each of its values.
      values: the flags that they have in common.

    Raises:
      UserError: there is no such outcome; or a run refuses, and those before it are kept.
    """
    if distributed.several():
        raise UserError("--sweep runs in one process: leave out the flags that join several")
    outcome = outcome_of(jobs, values)
    if outcome is None:
        return
    runs = _all_made(sweep, jobs, values)
    try:
        _draw(sweep, jobs, values, runs, outcome)
    except KeyboardInterrupt:
        where = "while their figure was drawn; all runs are kept"
        raise Stopped(signal.SIGINT, where) from None


def _all_made(
    sweep: Sweep, jobs: Sequence[Job], values: flags.FlagValues
) -> list[side_by_side.Run]:
    runs = []
    _check_data(sweep, jobs, values)
    try:
        for text, job in progress_lib.each(zip(sweep.values, jobs, strict=True), "runs"):
            record = _made(job, values)
            runs.append(side_by_side.make_run(job.experiment, text, record))
    except KeyboardInterrupt:
        where = f"in run {len(runs) + 1} of {len(jobs)}; those before it are kept"
        raise Stopped(signal.SIGINT, where) from None
    return runs


def _check_data(sweep: Sweep, jobs: Sequence[Job], values: flags.FlagValues) -> None:
    """Load the sets that are still to be learned: one that is not there stops the first run."""
    if sweep.flag != "dataset" or values.plot_only:
        return
    for job in jobs:
        if _done(job, values.preset) is None:
            size = getattr(job.config, "image_size", 0)
            data.load(job.config.dataset, image_size=size or None)


def _draw(
    sweep: Sweep,
    jobs: Sequence[Job],
    values: flags.FlagValues,
    runs: Sequence[side_by_side.Run],
    outcome: str,
) -> None:
    """Write the figure and its numbers, and print them."""
    name = side_by_side.chosen_outcome(runs, outcome)
    directory = directory_of(jobs, values)
    told = _as_json(sweep, runs, name)
    numeric = all(isinstance(value, int | float) for value in sweep.values.values())
    side_by_side.write_figure(
        directory,
        runs,
        name,
        {"sweep.json": told},
        axis=f"--{sweep.flag}",
        title=f"{name_of(jobs[0].experiment)}: {name} by --{sweep.flag}",
        footer=_footer(sweep, jobs, runs),
        places=[float(value) for value in sweep.values.values()] if numeric else None,
    )
    _say(sweep, runs, name)
    where = terminal.one_line(shown(directory))
    print(f"\n{where}/ holds figure.png, figure.svg and sweep.json", flush=True)


def directory_of(jobs: Sequence[Job], values: flags.FlagValues) -> Path:
    """Return where the figure of the runs goes; creates nothing."""
    root = place("results", RUNS if values.results is None else values.results)
    digits = config_hash({"runs": [job.directory.name for job in jobs]})
    return records.run_directory(root, f"{name_of(jobs[0].experiment)}-sweep-{digits}")


def _made(job: Job, values: flags.FlagValues) -> Record:
    """Return the record of a run: the one that is there, or a new one."""
    record = _done(job, values.preset)
    if record is None and values.plot_only:
        raise UserError(f"there is no run {job.command!r} yet: leave out --plot_only")
    if record is not None:
        progress_lib.note(f"{run_title(record)} was run before: {shown(job.directory)}")
    else:
        carry_out(job, values, lambda found: _keep(job, found))
        record = records.load(job.directory)
    counts = counted(Judgement(**claim) for claim in record.claims)
    print(terminal.one_line(f"{run_title(record)}: {counts or 'no claims'}"), flush=True)
    return record


def _keep(job: Job, record: Record) -> None:
    write(job.experiment, judge(job.experiment, record), job.directory)


def _done(job: Job, preset: str) -> Record | None:
    """Return the record of the same set-up that lies where the run's would; None without one.

    The same code must have made it, and of the same images where they are the user's own.
    """
    try:
        record = records.load(job.directory)
        same = make_config_from(job.experiment, record) == job.config
        same = same and record.preset == preset
        same = same and record.provenance.get("code") == code_of(job.experiment)
        return record if same and _same_images(job.config, record) else None
    except UserError:
        return None


def _same_images(config: Any, record: Record) -> bool:
    """Whether a folder or file of the user's own still holds what the record was made of."""
    name = getattr(config, "dataset", None)
    if name is None or not data.is_path(name):
        return True
    digest = data.load(name).identity.digest
    return digest in [known["digest"] for known in record.provenance.get("data", [])]


def _as_json(sweep: Sweep, runs: Sequence[side_by_side.Run], outcome: str) -> bytes:
    """Return the figure's numbers as strict JSON: a number that is not finite is no number."""
    told = [
        {
            "value": value,
            "run": run.record.run_name,
            "command": run.record.command,
            "outcome": side_by_side.interval(run, outcome)._asdict(),
            "verdicts": run.verdicts,
        }
        for value, run in zip(sweep.values.values(), runs, strict=True)
    ]
    fields = {"flag": sweep.flag, "outcome": outcome, "runs": told}
    return (json.dumps(encoding.encode(fields), indent=1, allow_nan=False) + "\n").encode()


def _footer(sweep: Sweep, jobs: Sequence[Job], runs: Sequence[side_by_side.Run]) -> Sequence[str]:
    listed = ",".join(sweep.values)
    return [
        "Gray: seeds. Blue: mean, 90 % interval. Dashes: what the claim's rule compares with.",
        runs[0].record.origin(),
        f"--sweep={sweep.flag}={listed}; the first: {jobs[0].command}",
    ]


def _say(sweep: Sweep, runs: Sequence[side_by_side.Run], outcome: str) -> None:
    """Print the outcome by value, and where it is lowest and highest."""
    found = {run.label: side_by_side.interval(run, outcome) for run in runs}
    width = max(map(len, found))
    print(f"\n{outcome} by --{sweep.flag} (mean over seeds, 90 % interval):")
    for label, its in found.items():
        print(f"  {label:>{width}}  {side_by_side.told(its)}")
    ends = outcomes.ends({label: its.estimate for label, its in found.items()})
    if ends is not None and found[ends[0]].estimate < found[ends[1]].estimate:
        print(f"lowest at {ends[0]}, highest at {ends[1]}")
    print("--outcome=NAME shows another, --outcome=list says which there are")
