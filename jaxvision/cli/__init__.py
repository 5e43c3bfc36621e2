"""From the command line to a record: flags, config, run, record, figure, verdicts, exit code.

An experiment is a module with a frozen dataclass ``Config`` of ``flagged`` fields, ``PRESETS``,
``measure(config, progress)``, ``claims(config)`` and ``plot(record, config)``; it ends by calling
``main``. One with long runs has ``measure(config, progress, workdir)`` and gets the flags of
``Workdir``. Fields that do not fit together are refused by the ``__post_init__`` of ``Config``, by
a UserError: then nothing has been touched. One that takes shared nets from ``jaxvision.nets`` names
them by ``wanted_nets(config)``, a sequence of ``nets.Wanted``, and gets the flag ``--nets``.

Where several processes run it together (``parallel/distributed.py``), all measure; process 0 alone
writes and speaks.
"""

import contextlib
import dataclasses
import datetime
import functools
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
from absl import flags

from jaxvision import data, fields, nets, runtime, terminal
from jaxvision import progress as progress_lib
from jaxvision.cli.configs import make_config, make_config_from
from jaxvision.cli.help import help_text
from jaxvision.cli.parsing import is_long, name_of, parse_flags, uses_nets
from jaxvision.cli.places import (
    check_writable,
    default_run_name,
    place,
    record_directory,
    shown,
)
from jaxvision.cli.together import data_identity, identity_of, shown_by_one
from jaxvision.longrun.stop import Stopped, on_sigterm
from jaxvision.longrun.workdir import Workdir
from jaxvision.native import switch
from jaxvision.parallel import distributed, mesh
from jaxvision.progress import ShowProgress, progress
from jaxvision.report import claims as claims_lib
from jaxvision.report import provenance
from jaxvision.report import record as records
from jaxvision.report.table import table
from jaxvision.types import UserError

__all__ = [
    "ShowProgress",
    "default_run_name",
    "finish",
    "main",
    "make_config",
    "make_config_from",
    "parse_flags",
    "progress",
    "run",
]

USAGE, INTERRUPTED = 2, 130


def main(
    experiment: ModuleType, argv: Sequence[str] | None = None, minutes: int | None = None
) -> None:
    """Run ``experiment`` with the command line's flags and exit.

    Exit codes: 0 it ran (whatever the verdicts: a contradiction is a result), 2 a mistake of the
    user (one line says which), 130 stopped by Ctrl-C, 75 a long run stopped by SIGTERM: start it
    again, 69 another process of the run is gone: start it again, 141 nobody reads its output on.
    No record is written unless the run finished; what a long run did stays in its workdir.

    Args:
      experiment: its module.
      argv: the command line, the program's name first; None: this process's.
      minutes: what the ``cpu`` preset takes, told at the start of such a run.
    """
    with terminal.until_unread():
        distributed.end(_exit_code(experiment, sys.argv if argv is None else argv, minutes))


def _exit_code(experiment: ModuleType, argv: Sequence[str], minutes: int | None) -> int:
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # ignored: started with & or nohup
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        sigterm = on_sigterm("before its first net" if is_long(experiment) else None)
        with sigterm, distributed.watched(), _out_of_memory_is_told():
            _run(experiment, argv, minutes)
            sys.stdout.flush()
    except UserError as error:
        print(f"error: {terminal.one_line(str(error))}", file=sys.stderr)
        return USAGE
    except Stopped as stopped:
        if distributed.is_main():
            how = _command(experiment, argv, again=True)
            print(f"{stopped}\nto go on: {how}", file=sys.stderr)
        return stopped.exit_code
    except KeyboardInterrupt:
        if distributed.is_main():
            print("stopped; nothing was written", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        terminal.forget_output()
        return terminal.UNREAD
    return 0


def _run(experiment: ModuleType, argv: Sequence[str], minutes: int | None) -> None:
    """Check, join the other processes, measure or redraw, finish."""
    values = parse_flags(experiment, argv)
    if values.help:
        print(help_text(experiment))
        return
    if values.data_dir is not None:  # known before the config: a data set may be a path below it
        os.environ["TFDS_DATA_DIR"] = str(place("data_dir", values.data_dir))
    config = make_config(experiment, values.preset, values.flag_values_dict())
    directory = record_directory(experiment, values, config)
    progress_lib.configure(quiet=values.quiet)
    identity = identity_of(experiment, values, config)
    runtime.configure(cpu_devices=runtime.usable_cores())
    distributed.start_from_flags(values, identity)
    runtime.start()
    switch.configure(values.native)
    mesh.configure(values.data_devices)
    if distributed.joined_by_jax():
        distributed.agree(identity)
    if distributed.is_main() and not values.plot_only:
        check_writable(directory)
        _say_how_long(experiment, values, config, minutes)
    if uses_nets(experiment):
        nets.configure(None if values.nets is None else place("nets", values.nets))
    with _workdir(experiment, values, config) as workdir:
        if values.plot_only:
            record = _load(experiment, directory)
        else:
            command = _command(experiment, argv)
            record = run(experiment, config, values.preset, directory.name, command, workdir)
        if distributed.is_main():
            finish(experiment, record, directory)
        distributed.meet()  # nobody leaves before all is written


def finish(experiment: ModuleType, record: records.Record, directory: Path) -> None:
    """Judge the claims, write the record and its figure, print the verdicts."""
    config = make_config_from(experiment, record)
    judge = claims_lib.measure_only if record.preset == "tiny" else claims_lib.judge
    judgements = judge(experiment.claims(config), record)
    record = dataclasses.replace(record, claims=[j.to_dict() for j in judgements])
    records.save(record, functools.partial(experiment.plot, record, config), directory)
    print(table(judgements))
    where = terminal.one_line(shown(directory))
    print(f"\n{where}/ holds record.json, arrays.npz, figure.png and figure.svg", flush=True)


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

    Raises:
      UserError: a field of the config is out of its bounds, or the experiment refuses.
    """
    fields.check(config)
    started, clock = datetime.datetime.now(datetime.UTC), time.perf_counter()
    known = provenance.describe(started, 0.0)  # before the work, lest it cannot be had after it
    data.forget_identities()
    nets.forget_origins()
    arguments = [config, shown_by_one()]
    if is_long(experiment):
        arguments.append(workdir)
    numbers, arrays = experiment.measure(*arguments)
    distributed.agree(data_identity())  # some load their data late
    known["data"] = [identity.recorded() for identity in data.identities()]
    if origins := nets.origins():
        known["nets"] = origins
    known["wall_time_s"] = time.perf_counter() - clock
    if workdir:
        known |= _earlier(workdir, known["wall_time_s"])
    record = records.Record(
        experiment=name_of(experiment),
        preset=preset,
        run_name=run_name,
        command=command,
        config=dataclasses.asdict(config),
        numbers=numbers,
        arrays=arrays,
        claims=[],
        provenance=known,
    )
    return records.as_stored(record)  # float32 numbers would be judged otherwise once they are read


def _earlier(workdir: Workdir, seconds: float) -> dict[str, Any]:
    """Return the seconds of all processes, and what other code or another machine began."""
    found = {"wall_time_s": seconds + workdir.earlier_seconds}
    if workdir.earlier:
        found["earlier"] = workdir.earlier
    return found


def _load(experiment: ModuleType, directory: Path) -> records.Record:
    record = records.load(directory)
    if record.experiment != name_of(experiment):
        raise UserError(f"{directory} is a record of {record.experiment}: redraw it with that")
    return record


def _workdir(
    experiment: ModuleType, values: flags.FlagValues, config: Any
) -> contextlib.AbstractContextManager:
    """Return the run's ``Workdir``, or a context of None where it has no long runs."""
    if not is_long(experiment):
        return contextlib.nullcontext()
    return Workdir(
        place("workdir", values.workdir),
        name_of(experiment),
        values.preset,
        dataclasses.asdict(config),
        resume=values.resume,
        tensorboard=values.tensorboard,
        source=experiment.__file__,
    )


def _say_how_long(
    experiment: ModuleType, values: flags.FlagValues, config: Any, minutes: int | None
) -> None:
    """Say what the untouched cpu preset takes, and let every bar count down from it."""
    untouched = values.preset == "cpu" and config == experiment.PRESETS["cpu"]
    known = minutes if minutes and untouched else 0
    progress_lib.begin(60.0 * known)
    if known:
        unit = "minute" if known == 1 else "minutes"
        progress_lib.note(f"{name_of(experiment)}: about {known} {unit} on a laptop's two cores")


@contextlib.contextmanager
def _out_of_memory_is_told() -> Iterator[None]:
    """Turn want of memory, on the host or a device, into one line."""
    try:
        yield
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        why = " ".join(str(error).split())[:200] or "no reason given"
        raise UserError(
            f"out of memory ({why}): choose a smaller set-up, such as fewer units, images or seeds"
        ) from error


def _command(experiment: ModuleType, argv: Sequence[str], again: bool = False) -> str:
    """Return what to type for this run; ``again``: to go on with it rather than to begin.

    Without the flags that join several processes: the numbers are those of one.
    """
    given, rest = [], iter(argv[1:])
    for flag in rest:
        name, equals, _ = flag.lstrip("-").partition("=")
        if name in distributed.FLAGS:
            if not equals:
                next(rest, None)  # the value comes after it
        elif not (again and name == "noresume"):
            given.append(flag)
    return shlex.join(["python", "-m", "experiments", name_of(experiment), *given])
