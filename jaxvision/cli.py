"""From the command line to a record: flags, config, run, record, figure, verdicts, exit code.

An experiment is a module with a frozen dataclass ``Config`` of ``flagged`` fields, ``PRESETS``,
``measure(config, progress)``, ``claims(config)`` and ``plot(record, config)``; it ends by calling
``main``. One with long runs has ``measure(config, progress, workdir)`` and gets the flags of
``Workdir``.

Where several processes run it together (``parallel/distributed.py``), all measure; process 0 alone
writes and speaks.
"""

import contextlib
import dataclasses
import datetime
import inspect
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import flags

from jaxvision import runtime
from jaxvision.fields import define
from jaxvision.longrun.stop import Stopped, on_sigterm
from jaxvision.longrun.workdir import Workdir, config_hash
from jaxvision.parallel import distributed, mesh
from jaxvision.progress import ShowProgress, progress, silent
from jaxvision.report import claims as claims_lib
from jaxvision.report import provenance
from jaxvision.report import record as records
from jaxvision.report.table import table
from jaxvision.types import UserError

RESULTS = Path(__file__).resolve().parent.parent / "experiments" / "results"
USAGE, INTERRUPTED = 2, 130


def main(experiment: ModuleType, argv: Sequence[str] | None = None) -> None:
    """Run ``experiment`` with the command line's flags and exit.

    Exit codes: 0 it ran (whatever the verdicts: a contradiction is a result), 2 a mistake of the
    user (one line says which), 130 stopped by Ctrl-C, 75 a long run stopped by SIGTERM: start it
    again, 69 another process of the run is gone: start it again. No record is written unless the
    run finished; what a long run did stays in its workdir.
    """
    argv = sys.argv if argv is None else argv
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored: started with & or nohup
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sigterm = on_sigterm("before its first net" if _is_long(experiment) else None)
        with sigterm, distributed.watched():
            code = _run(experiment, argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = USAGE
    except Stopped as stopped:
        if distributed.is_main():
            how = _command(experiment, argv, again=True)
            print(f"{stopped}\nto go on: {how}", file=sys.stderr)
        code = stopped.exit_code
    except KeyboardInterrupt:
        if distributed.is_main():
            print("stopped; nothing was written", file=sys.stderr)
        code = INTERRUPTED
    distributed.end(code)


def _run(experiment: ModuleType, argv: Sequence[str]) -> int:
    name = Path(experiment.__file__).stem
    values = _parse(experiment, argv)
    if values.help:
        print(f"{experiment.__doc__.strip()}\n\nflags (defaults from --preset):\n")
        print(_flag_values(experiment).get_help().strip())
        return 0
    if values.data_dir:
        os.environ["TFDS_DATA_DIR"] = str(Path(values.data_dir).expanduser().resolve())
    config = make_config(experiment, values.preset, values.flag_values_dict())
    run_name = values.run_name
    if run_name is None:
        run_name = default_run_name(experiment, values.preset, config)
    if not values.results:
        raise UserError("--results must not be empty: name the directory that holds the records")
    directory = records.run_directory(values.results, run_name)
    runtime.configure(cpu_devices=runtime.usable_cores())
    distributed.start_from_flags(values)
    runtime.start()
    mesh.configure(values.data_devices)
    with _workdir(experiment, values, config) as workdir:
        if values.plot_only:
            record = records.load(directory)
            if record.experiment != name:
                raise UserError(
                    f"{directory} is a record of {record.experiment}: redraw it with that"
                )
        else:
            if distributed.is_main():
                _check_writable(directory)
            command = _command(experiment, argv)
            record = run(experiment, config, values.preset, run_name, command, workdir)
        if distributed.is_main():
            _finish(experiment, record, directory)
        distributed.meet()  # nobody leaves before all is written
    return 0


def _finish(experiment: ModuleType, record: records.Record, directory: Path) -> None:
    """Judge the claims, write the record and its figure, print the verdicts."""
    config = make_config_from(experiment, record)
    claims = experiment.claims(config)
    smoke = record.preset == "tiny"
    judge = claims_lib.measure_only if smoke else claims_lib.judge
    judgements = judge(claims, record)
    record = dataclasses.replace(record, claims=[j.to_dict() for j in judgements])
    records.save(record, experiment.plot(record, config), directory)
    print(table(judgements))
    print(f"\n{_relative(directory)}/ holds record.json, arrays.npz and figure.png", flush=True)


def run(
    experiment: ModuleType,
    config: Any,
    preset: str,
    run_name: str,
    command: str,
    workdir: Workdir | None = None,
) -> records.Record:
    """Measure ``experiment`` and return its record, claims not yet judged.

    ``workdir`` goes to an experiment with long runs; None keeps them in memory.
    """
    started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    show: ShowProgress = progress if distributed.is_main() else silent
    arguments = config, show
    arguments += (workdir,) if _is_long(experiment) else ()
    numbers, arrays = experiment.measure(*arguments)
    seconds = time.perf_counter() - clock + (workdir.earlier_seconds if workdir else 0.0)
    record = records.Record(
        experiment=Path(experiment.__file__).stem,
        preset=preset,
        run_name=run_name,
        command=command,
        config=dataclasses.asdict(config),
        numbers=numbers,
        arrays=arrays,
        claims=[],
        provenance=provenance.describe(started, seconds) | _earlier(workdir),
    )
    return records.as_stored(record)  # float32 numbers would be judged otherwise once they are read


def make_config(experiment: ModuleType, preset: str, overrides: dict[str, Any]) -> Any:
    """Return the preset's config with every non-None override of a config field."""
    fields = {field.name for field in dataclasses.fields(experiment.Config)}
    given = {k: v for k, v in overrides.items() if k in fields and v is not None}
    return dataclasses.replace(experiment.PRESETS[preset], **given)


def make_config_from(experiment: ModuleType, record: records.Record) -> Any:
    """Return the config a record was made with.

    Raises:
      UserError: the experiment's fields have changed since.
    """
    tuples = {k: tuple(v) if isinstance(v, list) else v for k, v in record.config.items()}
    try:
        return experiment.Config(**tuples)
    except TypeError as error:
        raise UserError(
            f"record {record.run_name} was made by another version of {record.experiment} "
            f"({error}); run the experiment again"
        ) from error


def default_run_name(experiment: ModuleType, preset: str, config: Any) -> str:
    """Return the directory name of a run that was given none.

    The ``cpu`` preset untouched is the experiment's own record; anything else gets a name of its
    own, so that trying a flag never replaces it.
    """
    name = Path(experiment.__file__).stem
    if config == experiment.PRESETS[preset]:
        return name if preset == "cpu" else f"{name}-{preset}"
    return f"{name}-{preset}-{config_hash(dataclasses.asdict(config))}"


def _is_long(experiment: ModuleType) -> bool:
    measure = experiment.measure
    return callable(measure) and "workdir" in inspect.signature(measure).parameters


def _earlier(workdir: Workdir | None) -> dict[str, Any]:
    """Return what the provenance says of nets that other code, or another machine, began."""
    return {"earlier": workdir.earlier} if workdir and workdir.earlier else {}


def _workdir(
    experiment: ModuleType, values: flags.FlagValues, config: Any
) -> contextlib.AbstractContextManager:
    """Return the run's ``Workdir``, or a context of None where no long run is to be made."""
    if values.plot_only or not _is_long(experiment):
        return contextlib.nullcontext()
    if not values.workdir:
        raise UserError("--workdir must not be empty: name the directory of unfinished runs")
    name, fields = Path(experiment.__file__).stem, dataclasses.asdict(config)
    options = {"resume": values.resume, "tensorboard": values.tensorboard}
    options |= {"source": experiment.__file__}
    return Workdir(values.workdir, name, values.preset, fields, **options)


def _command(experiment: ModuleType, argv: Sequence[str], again: bool = False) -> str:
    """Return what to type for this run; ``again``: to go on with it rather than to begin.

    Without the flags that join several processes: the numbers are those of one.
    """
    given, rest = [], iter(argv[1:])
    for flag in rest:
        name, equals, _ = flag.lstrip("-").partition("=")
        if name in distributed.FLAGS:
            equals or next(rest, None)  # the value comes after it
        elif not (again and name == "noresume"):
            given.append(flag)
    return shlex.join(["python", "-m", "experiments", Path(experiment.__file__).stem, *given])


def _parse(experiment: ModuleType, argv: Sequence[str]) -> flags.FlagValues:
    values = _flag_values(experiment)
    try:
        rest = values(list(argv))
    except flags.Error as error:
        raise UserError(f"{' '.join(str(error).split())}; --help lists the flags") from error
    if rest[1:]:
        raise UserError(f"stray argument {rest[1]!r}: flags look like --name=value")
    return values


def _flag_values(experiment: ModuleType) -> flags.FlagValues:
    """Return the flags common to all experiments and one per config field (None: the preset's)."""
    values = flags.FlagValues()
    common = {"flag_values": values}
    presets = list(experiment.PRESETS)
    flags.DEFINE_boolean("help", False, "Show this help.", short_name="h", **common)
    flags.DEFINE_enum("preset", "cpu", presets, "Scale of the run.", **common)
    flags.DEFINE_string("run_name", None, "Name of the record's directory.", **common)
    flags.DEFINE_string("results", str(RESULTS), "Directory that holds the records.", **common)
    flags.DEFINE_string("data_dir", None, "Where TFDS sets are prepared.", **common)
    flags.DEFINE_boolean("plot_only", False, "Redraw from the record, no training.", **common)
    text = "Devices that share the batch of one run; the rest of the devices takes other runs."
    flags.DEFINE_integer("data_devices", 1, text, lower_bound=1, **common)
    distributed.define_flags(values)
    if _is_long(experiment):
        flags.DEFINE_string("workdir", "workdir", "Directory of unfinished runs.", **common)
        flags.DEFINE_boolean("resume", True, "Go on with an unfinished run.", **common)
        flags.DEFINE_boolean("tensorboard", False, "Write TensorBoard events too.", **common)
    for field in dataclasses.fields(experiment.Config):
        define(field, values)
    return values


def _check_writable(directory: Path) -> None:
    """Fail before the run, not after it, where its record could not be written."""
    parent = directory.parent
    while not parent.exists():
        parent = parent.parent
    try:
        with tempfile.TemporaryDirectory(prefix=".jaxvision-", dir=parent):
            pass
    except OSError as error:
        what = f"cannot write to {parent} ({error.strerror})"
        raise UserError(f"{what}: choose another directory with --results") from error


def _relative(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
