"""Every experiment, on many processes or hosts: ``python -m experiments exps``.

Each is one command, as ``make exps`` runs them one after the other; Dask says where it runs. See
docs/many_hosts.md.
"""

import argparse
import contextlib
import dataclasses
import importlib
import io
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from experiments.catalog import CATALOG, THEMES, Entry, module_name
from jaxvision import cli, fields, interrupts, runtime, terminal
from jaxvision.cli.parsing import parse_flags
from jaxvision.cli.places import check_free, check_writable, place, record_directory
from jaxvision.cluster.runs import (
    Layout,
    Outcome,
    Run,
    SchedulerLost,
    code_here,
    environment_here,
)
from jaxvision.longrun.stop import Stopped, on_sigterm
from jaxvision.longrun.workdir import config_hash
from jaxvision.parallel import distributed
from jaxvision.report import merging, shelves
from jaxvision.report import record as records
from jaxvision.report.judgement import Judgement, counted
from jaxvision.types import UserError

PARTS = ".parts"  # below the folder of the records, where the parts of cut runs lie
MOST_PROCESSES = 256
# Flags that do something else with an experiment than run it.
NOT_HERE = ("help", "plot_only", "claim", "sweep", "outcome", *distributed.FLAGS)
USAGE = """\
python -m experiments exps [NAME ...] [--theme=THEME] [--processes=N] [--cores=N]
         [--scheduler=ADDRESS] [--parts=N] [--again] [--quiet] [-- FLAGS of every experiment]"""


@dataclasses.dataclass(frozen=True)
class Planned:
    """An experiment that is to be run.

    Attributes:
      entry: of the catalog.
      module: the experiment.
      config: of the whole run.
      record: the directory of its record.
      whole: the command that makes it.
      parts: the runs that it is cut into; one: ``whole`` itself.
    """

    entry: Entry
    module: ModuleType
    config: Any
    record: Path
    whole: Run
    parts: tuple[Run, ...]


GOES_ON = "what is done stays, and the same command goes on"


def main(arguments: Sequence[str]) -> int:
    """Run the experiments that ``arguments`` ask for; return the exit code."""
    try:
        with interrupts.heard(), on_sigterm(f"({GOES_ON})"):
            failed = _run(arguments)
    except UserError as error:
        print(f"error: {terminal.one_line(str(error))}", file=sys.stderr)
        return cli.USAGE
    except SchedulerLost as lost:
        print(f"error: {lost}; {GOES_ON}", file=sys.stderr)
        return os.EX_UNAVAILABLE
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        print(f"stopped; {GOES_ON}", file=sys.stderr)
        return cli.INTERRUPTED
    if failed:
        print(f"These did not end well: {' '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _run(arguments: Sequence[str]) -> list[str]:
    """Plan, run and put together; return the names of the runs that failed."""
    options = _options(arguments)
    engine, series = _engine()
    plans = [_planned(entry, options) for entry in _chosen(options)]
    _check(plans)
    runs = [run for plan in plans for run in plan.parts]
    layout = Layout(Path.cwd(), options.cores, code_here(), environment_here(), again=options.again)
    processes = min(options.processes, len(runs))
    with engine.connected(options.scheduler, processes) as client:
        told = _Told(len(runs), options.quiet)
        found = series.outcomes(client, runs, layout, told.line)
        return _gathered(plans, told.each(found))


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse what stands before ``--``; the rest are flags of every experiment."""
    own = list(arguments)
    flags = []
    if "--" in own:
        at = own.index("--")
        own, flags = own[:at], own[at + 1 :]
    cores = runtime.usable_cores()
    text = "Run every experiment, on processes of this machine or on many hosts."
    parser = shelves.Parser("exps", usage=USAGE, description=text)
    parser.add_argument("names", nargs="*", metavar="NAME", help="experiments (all)")
    parser.add_argument("--theme", choices=THEMES, help="those of one theme")
    text = "CPU devices of every run, on any machine (2, or all where there are fewer)"
    parser.add_argument("--cores", type=int, default=min(2, cores), metavar="N", help=text)
    text = "runs at a time on this machine (as many as its cores allow)"
    parser.add_argument("--processes", type=int, metavar="N", help=text)
    text = "a Dask scheduler that runs already, as in tcp://host:8786"
    parser.add_argument("--scheduler", metavar="ADDRESS", help=text)
    text = "runs into which the seeds of an experiment are cut, where that keeps every bit (1)"
    parser.add_argument("--parts", type=int, default=1, metavar="N", help=text)
    parser.add_argument("--again", action="store_true", help="run anew what is done already")
    parser.add_argument("--quiet", action="store_true", help="no lines of the runs themselves")
    options = parser.parse_args(own)
    options.flags = flags
    if options.processes is None:
        options.processes = max(1, cores // max(1, options.cores))
    for name in ("cores", "processes", "parts"):
        if not 1 <= getattr(options, name) <= MOST_PROCESSES:
            raise UserError(f"--{name} must be from 1 to {MOST_PROCESSES}")
    return options


def _engine() -> tuple[ModuleType, ModuleType]:
    """Return the modules that need Dask."""
    try:
        from jaxvision.cluster import engine, series
    except ImportError as error:
        raise UserError(
            f"exps needs Dask ({error}): pip install 'distributed>=2026.8', or uv sync --extra dask"
        ) from error
    return engine, series


def _chosen(options: argparse.Namespace) -> list[Entry]:
    """Return the experiments, those that take longest first: the last one to end is then short."""
    names = [name.replace("-", "_") for name in options.names]
    known = {entry.name for entry in CATALOG}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"there is no experiment {unknown[0]!r}; `make list` shows them all")
    wanted = [
        entry
        for entry in CATALOG
        if (not names or entry.name in names) and options.theme in (None, entry.theme)
    ]
    if not wanted:
        raise UserError(f"theme {options.theme} has none of {', '.join(names)}")
    return sorted(wanted, key=lambda entry: -entry.minutes)


def _planned(entry: Entry, options: argparse.Namespace) -> Planned:
    """Return what is to be run, with the flags checked as the experiment itself checks them."""
    module = importlib.import_module(module_name(entry.name))
    command = ("-m", "experiments", entry.name, *options.flags)
    try:
        values = parse_flags(module, [entry.name, *options.flags])
        if odd := [name for name in NOT_HERE if values[name].present]:
            raise UserError(f"exps runs experiments whole and alone: leave out --{odd[0]}")
        if values.data_dir is not None:  # a data set may be a path below it
            os.environ["TFDS_DATA_DIR"] = str(place("data_dir", values.data_dir))
        config = cli.make_config(module, values.preset, values.flag_values_dict())
        record = record_directory(module, values, config)
        check_free(module, values, config, record, shlex.join(command))
        whole = Run(entry.name, command, record)
        parts = (whole,)
        if options.parts > 1 and entry.by_seed:
            parts = tuple(_part(whole, part) for part in merging.cut(config, options.parts))
    except UserError as error:
        raise UserError(f"{entry.name}: {error}") from error
    return Planned(entry, module, config, record, whole, parts)


def _part(whole: Run, config: Any) -> Run:
    """Return the run of some of the seeds; its record lies apart from the others."""
    folder = whole.record.parent / PARTS
    digits = config_hash(dataclasses.asdict(config))
    name = f"{whole.record.name}-{config.first_seed}-{digits}"
    own = (
        f"--seeds={config.seeds}",
        f"--first_seed={config.first_seed}",
        f"--results={folder}",
        f"--run_name={name}",
    )
    label = f"{whole.name}-{config.first_seed}"
    return Run(label, (*whole.arguments, *own), records.run_directory(folder, name))


def _check(plans: Sequence[Planned]) -> None:
    """Raise UserError where records could not be written, or would replace one another."""
    places = {}
    for plan in plans:
        fields.check(plan.config)
        other = places.setdefault(plan.record, plan.entry.name)
        if other != plan.entry.name:
            raise UserError(
                f"{other} and {plan.entry.name} would both be {plan.record}: leave --run_name out"
            )
        check_writable(plan.record)


class _Told:
    """What the user sees of a series: the runs' own lines under their names, and how each ended."""

    def __init__(self, total: int, quiet: bool) -> None:
        self._total, self._quiet = total, quiet
        self._done = 0

    def line(self, name: str, text: str) -> None:
        """Show a line of a run."""
        if not self._quiet:
            print(f"[{name}] {terminal.one_line(text)}", file=sys.stderr, flush=True)

    def each(self, found: Iterator[tuple[Run, Outcome]]) -> Iterator[tuple[Run, Outcome]]:
        """Pass the outcomes on and show each in a line."""
        for run, outcome in found:
            self._done += 1
            print(f"{self._done} of {self._total}: {_line(run, outcome)}", flush=True)
            yield run, outcome


def _line(run: Run, outcome: Outcome) -> str:
    """Return how a run ended."""
    if outcome.kept:
        return f"{run.name} was done before by the same code, and is kept"
    if outcome.code == 0:
        judged = [Judgement(**claim) for claim in records.load(run.record).claims]
        return f"{run.name}, {outcome.seconds:.0f} s: {counted(judged)}"
    last = outcome.lines[-1] if outcome.lines else "it printed nothing"
    return f"{run.name} FAILED with exit code {outcome.code}: {terminal.one_line(last)}"


def _gathered(plans: Sequence[Planned], found: Iterator[tuple[Run, Outcome]]) -> list[str]:
    """Wait for all runs, put parts together as soon as all are there; return the failed names."""
    codes = {}
    of_run = {run.name: plan for plan in plans for run in plan.parts}
    failed = []
    for run, outcome in found:
        codes[run.name] = outcome.code
        plan = of_run[run.name]
        if outcome.code != 0:
            failed.append(run.name)
        elif len(plan.parts) > 1 and all(codes.get(part.name) == 0 for part in plan.parts):
            try:
                _put_together(plan)
            except UserError as error:
                print(f"{plan.entry.name} FAILED: {terminal.one_line(str(error))}", flush=True)
                failed.append(plan.entry.name)
    return failed


def _put_together(plan: Planned) -> None:
    """Write the record that one run of all seeds would have written."""
    parts = [records.load(run.record) for run in plan.parts]
    numbers, arrays = merging.merged(parts)
    seconds = sum(part.provenance["wall_time_s"] for part in parts)
    record = records.Record(
        experiment=plan.entry.name,
        preset=parts[0].preset,
        run_name=plan.record.name,
        command=f"python {shlex.join(plan.whole.arguments)}",
        config=dataclasses.asdict(plan.config),
        numbers=numbers,
        arrays=arrays,
        claims=[],
        provenance=parts[0].provenance | {"wall_time_s": seconds},
    )
    with contextlib.redirect_stdout(io.StringIO()):  # the table of verdicts
        cli.finish(plan.module, records.as_stored(record), plan.record)
    judged = [Judgement(**claim) for claim in records.load(plan.record).claims]
    print(f"{plan.entry.name}, of {len(parts)} parts: {counted(judged)}", flush=True)
