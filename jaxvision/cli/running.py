"""One run, from config to record, figure and verdicts."""

import contextlib
import dataclasses
import datetime
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags

from jaxvision import data, fields, nets, terminal
from jaxvision.cli import one_claim
from jaxvision.cli.configs import make_config_from
from jaxvision.cli.parsing import code_of, is_animated, is_long, name_of
from jaxvision.cli.places import place, shown
from jaxvision.cli.together import data_identity, shown_by_one
from jaxvision.longrun.workdir import Workdir
from jaxvision.parallel import distributed
from jaxvision.report import claims as claims_lib
from jaxvision.report import provenance
from jaxvision.report import record as records
from jaxvision.report.changes import run_title
from jaxvision.report.judgement import Judgement
from jaxvision.report.table import table
from jaxvision.types import UserError


@dataclasses.dataclass(frozen=True)
class Job:
    """A run that is asked for.

    Attributes:
      experiment: its module.
      config: its set-up.
      directory: where its record goes.
      command: what to type for it alone.
    """

    experiment: ModuleType
    config: Any
    directory: Path
    command: str


def carry_out(
    job: Job, values: flags.FlagValues, conclude: Callable[[records.Record], None]
) -> None:
    """Measure what ``values`` ask for and hand its record, claims not yet judged, to ``conclude``.

    A long run holds its workdir until ``conclude`` returns, which is called on the main process.

    Raises:
      UserError: as ``run``; or there is no claim of the name that is asked for.
    """
    claim, reduced = "", {}
    if values.claim is not None:
        found = one_claim.find(job.experiment, job.config, values.claim)
        claim, reduced = found.id, one_claim.rows(job.experiment, found)
    named = values.preset, job.directory.name, job.command
    with _workdir(job, values) as workdir:
        record = run(job.experiment, job.config, *named, workdir, reduced)
        if claim:
            record = _of_one_claim(record, claim)
        if distributed.is_main():
            conclude(record)
        distributed.meet()  # nobody leaves before all is written


def run(
    experiment: ModuleType,
    config: Any,
    preset: str,
    run_name: str,
    command: str,
    workdir: Workdir | None = None,
    reduced: Mapping[str, Any] | None = None,
) -> records.Record:
    """Measure ``experiment`` and return its record, claims not yet judged.

    Args:
      experiment: its module.
      config: its set-up.
      preset: what the set-up began from.
      run_name: name of the record's directory.
      command: what made it.
      workdir: for an experiment with long runs; None keeps them in memory.
      reduced: further arguments of ``measure``, as ``one_claim.rows`` has them.

    Raises:
      UserError: a field of the config is out of its bounds, or the experiment refuses.
    """
    fields.check(config)
    started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    known = {"code": code_of(experiment)}
    known |= provenance.describe(started, 0.0)  # before the work, lest it cannot be had after it
    data.forget_identities()
    nets.forget_origins()
    arguments = [config, shown_by_one()]
    if is_long(experiment):
        arguments.append(workdir)
    numbers, arrays = experiment.measure(*arguments, **(reduced or {}))
    distributed.agree(data_identity())  # some load their data late
    seconds = time.perf_counter() - clock
    record = records.Record(
        experiment=name_of(experiment),
        preset=preset,
        run_name=run_name,
        command=command,
        config=dataclasses.asdict(config),
        numbers=numbers,
        arrays=arrays,
        claims=[],
        provenance=known | _used(seconds, workdir),
    )
    return records.as_stored(record)  # float32 numbers would be judged otherwise once they are read


def _used(seconds: float, workdir: Workdir | None) -> dict[str, Any]:
    """Return data, nets and time of a run, with what earlier processes put into its workdir."""
    found = {"data": [identity.recorded() for identity in data.identities()]}
    if origins := nets.origins():
        found["nets"] = origins
    earlier_seconds = workdir.earlier_seconds if workdir else 0.0
    found["wall_time_s"] = seconds + earlier_seconds
    if workdir and workdir.earlier:
        found["earlier"] = workdir.earlier
    return found


def load(experiment: ModuleType, directory: Path) -> records.Record:
    """Return the whole record of an experiment at ``directory``.

    Raises:
      UserError: there is none, or it is of another experiment, or of one claim alone.
    """
    record = records.load(directory)
    if record.experiment != name_of(experiment):
        raise UserError(f"{directory} is a record of {record.experiment}: redraw it with that")
    if claim := record.provenance.get("claim"):
        raise UserError(f"{directory} was run for claim {claim} alone, which no figure is drawn of")
    return record


def judge(experiment: ModuleType, record: records.Record) -> records.Record:
    """Return the record with the verdicts on its claims."""
    judgements = _judgements(experiment, record)
    return dataclasses.replace(record, claims=[each.to_dict() for each in judgements])


def _judgements(experiment: ModuleType, record: records.Record) -> Sequence[Judgement]:
    claims = experiment.claims(make_config_from(experiment, record))
    if claim := record.provenance.get("claim"):
        judgements = [claims_lib.judge_one(claims, record, claim)]
    else:
        judgements = claims_lib.judge(claims, record)
    if record.preset == "tiny":
        return [claims_lib.without_verdict(each) for each in judgements]
    return judgements


def write(experiment: ModuleType, record: records.Record, directory: Path) -> None:
    """Write a judged record and, unless it is of one claim alone, its figure and animation."""
    draw, animate = None, None
    if "claim" not in record.provenance:
        config = make_config_from(experiment, record)
        draw = functools.partial(experiment.plot, record, config)
        if is_animated(experiment):
            animate = functools.partial(experiment.animate, record, config)
    records.save(record, draw, directory, animate)


def finish(experiment: ModuleType, record: records.Record, directory: Path) -> None:
    """Judge the claims, write the record and its figure, print the verdicts."""
    record = judge(experiment, record)
    write(experiment, record, directory)
    print(table([Judgement(**claim) for claim in record.claims]))
    files = "record.json, arrays.npz, figure.png and figure.svg"
    if (directory / "animation.gif").exists():
        files = f"animation.gif, {files}"
    if "claim" in record.provenance:
        files = "record.json and arrays.npz (the figure needs the other claims too)"
    title, where = terminal.one_line(run_title(record)), terminal.one_line(shown(directory))
    print(f"\n{title}\n{where}/ holds {files}", flush=True)


def _workdir(job: Job, values: flags.FlagValues) -> contextlib.AbstractContextManager:
    """Return the run's ``Workdir``, or a context of None where it has no long runs."""
    if not is_long(job.experiment):
        return contextlib.nullcontext()
    return Workdir(
        place("workdir", values.workdir),
        name_of(job.experiment),
        values.preset,
        dataclasses.asdict(job.config),
        resume=values.resume,
        tensorboard=values.tensorboard,
        source=job.experiment.__file__,
    )


def _of_one_claim(record: records.Record, claim: str) -> records.Record:
    return dataclasses.replace(record, provenance=record.provenance | {"claim": claim})
