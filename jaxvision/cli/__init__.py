"""From the command line to a record: flags, config, run, record, figure, verdicts, exit code.

An experiment is a module with a frozen dataclass ``Config`` of ``flagged`` fields, ``PRESETS``,
``measure(config, progress)``, ``claims(config)`` and ``plot(record, config)``; it ends by calling
``main``. One with long runs has ``measure(config, progress, workdir)`` and gets the flags of
``Workdir``. Fields that do not fit together are refused by the ``__post_init__`` of ``Config``, by
a UserError: then nothing has been touched. One that takes shared nets from ``jaxvision.nets`` names
them by ``wanted_nets(config)``, a sequence of ``nets.Wanted``, and gets the flag ``--nets``. One
that moves has ``animate(record, config)``: a GIF beside its figure, or None. Where claims name the
rows of its table that they need, ``measure`` has a further argument whose default is that table,
and ``--claim`` hands it a smaller one.

Where several processes run it together (``parallel/distributed.py``), all measure; process 0 alone
writes and speaks.
"""

import contextlib
import os
import shlex
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from types import ModuleType
from typing import Any

import jax
from absl import flags

from jaxvision import interrupts, nets, runtime, terminal
from jaxvision import progress as progress_lib
from jaxvision.cli import one_claim
from jaxvision.cli import sweep as sweep_lib
from jaxvision.cli.configs import check_as_measured, make_config, make_config_from
from jaxvision.cli.help import help_text
from jaxvision.cli.parsing import is_long, name_of, parse_flags, uses_nets
from jaxvision.cli.places import (
    check_free,
    check_writable,
    default_run_name,
    place,
    record_directory,
)
from jaxvision.cli.running import Job, carry_out, finish, load, run
from jaxvision.cli.together import agree_on_kernels, identity_of
from jaxvision.longrun.stop import Stopped, ended_by_sigterm, on_sigterm
from jaxvision.native import switch
from jaxvision.parallel import distributed, mesh
from jaxvision.progress import ShowProgress, progress
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
    user (one line says which), 130 stopped by Ctrl-C, 75 stopped by SIGTERM: start it again, 69
    another process of the run is gone: start it again, 141 nobody reads its output on. No record is
    written unless all was measured; what a long run did stays in its workdir.

    Args:
      experiment: its module.
      argv: the command line, the program's name first; None: this process's.
      minutes: what the ``cpu`` preset takes, told at the start of such a run.
    """
    with terminal.until_unread():
        distributed.end(_exit_code(experiment, sys.argv if argv is None else argv, minutes))


def _exit_code(experiment: ModuleType, argv: Sequence[str], minutes: int | None) -> int:
    try:
        long = is_long(experiment)
        sigterm = on_sigterm("before its first net") if long else ended_by_sigterm()
        with interrupts.heard(), sigterm, distributed.watched(), _out_of_memory_is_told():
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
    except KeyboardInterrupt as interrupt:
        if distributed.is_main():
            print(f"stopped; {str(interrupt) or 'nothing was written'}", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        return terminal.lost_output(error)
    return 0


def _run(experiment: ModuleType, argv: Sequence[str], minutes: int | None) -> None:
    """Check, join the other processes, measure or redraw, finish."""
    values = parse_flags(experiment, argv)
    if values.help:
        print(help_text(experiment))
        return
    _check_together(values)
    if values.data_dir is not None:  # known before the config: a data set may be a path below it
        os.environ["TFDS_DATA_DIR"] = str(place("data_dir", values.data_dir))
    sweep = None if values.sweep is None else sweep_lib.asked(experiment, values)
    jobs = _jobs(experiment, argv, values, sweep)
    if values.claim == one_claim.LIST:
        print(one_claim.listed(experiment, jobs[0].config))
        return
    progress_lib.configure(quiet=values.quiet)
    _start(experiment, values, jobs[0].config)
    if distributed.is_main() and not values.plot_only:
        for job in jobs:
            _check(job, values)
        _say_how_long(jobs[0], values, minutes)
    if uses_nets(experiment):
        nets.configure(None if values.nets is None else place("nets", values.nets))
    if sweep is not None:
        sweep_lib.run(sweep, jobs, values)
    elif values.plot_only:
        record = load(experiment, jobs[0].directory)
        check_as_measured(experiment, values, jobs[0].config, record)
        if distributed.is_main():
            finish(experiment, record, jobs[0].directory)
        distributed.meet()  # nobody leaves before all is written
    else:
        finishing = partial(finish, experiment, directory=jobs[0].directory)
        carry_out(jobs[0], values, finishing)


def _check_together(values: flags.FlagValues) -> None:
    """Refuse flags that do not go together."""
    if values.outcome is not None and values.sweep is None:
        raise UserError("--outcome says what the figure of a --sweep shows: give one, or neither")
    if values.claim is not None and values.plot_only:
        raise UserError("--claim runs, --plot_only does not: leave out one of them")


def _jobs(
    experiment: ModuleType,
    argv: Sequence[str],
    values: flags.FlagValues,
    sweep: sweep_lib.Sweep | None,
) -> list[Job]:
    """Return the runs that are asked for: one, or one for each value of a sweep."""
    given = values.flag_values_dict()
    command = _command(experiment, argv, without=(*distributed.FLAGS, "sweep", "outcome"))
    changes = {"": {}}
    if sweep is not None:
        name = sweep.flag
        changes = {shlex.quote(f"--{name}={t}"): {name: v} for t, v in sweep.values.items()}
    jobs = []
    for flag, change in changes.items():
        config = make_config(experiment, values.preset, given | change)
        directory = record_directory(experiment, values, config)
        jobs.append(Job(experiment, config, directory, f"{command} {flag}".rstrip()))
    return jobs


def _start(experiment: ModuleType, values: flags.FlagValues, config: Any) -> None:
    """Set up JAX, and join the other processes of the run."""
    identity = identity_of(experiment, values, config)
    runtime.configure(cpu_devices=runtime.usable_cores())
    distributed.start_from_flags(values, identity)
    runtime.start()
    switch.configure(values.native)
    mesh.configure(values.data_devices)
    if distributed.joined_by_jax():
        distributed.agree(identity)
    agree_on_kernels()


def _check(job: Job, values: flags.FlagValues) -> None:
    """Refuse what can be known to fail before anything is trained."""
    if values.claim is not None:
        one_claim.find(job.experiment, job.config, values.claim)
    check_free(job.experiment, values, job.config, job.directory, job.command)
    check_writable(job.directory)


def _say_how_long(job: Job, values: flags.FlagValues, minutes: int | None) -> None:
    """Say what the untouched cpu preset takes, and let every bar count down from it."""
    untouched = values.preset == "cpu" and job.config == job.experiment.PRESETS["cpu"]
    whole = values.claim is None and values.sweep is None
    known = minutes if minutes and untouched and whole else 0
    progress_lib.begin(60.0 * known)
    if known:
        unit = "minute" if known == 1 else "minutes"
        name = name_of(job.experiment)
        progress_lib.note(f"{name}: about {known} {unit} on a laptop's two cores")


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


def _command(
    experiment: ModuleType,
    argv: Sequence[str],
    again: bool = False,
    without: Collection[str] = distributed.FLAGS,
) -> str:
    """Return what to type for this run; ``again``: to go on with it rather than to begin.

    Without the flags that join several processes: the numbers are those of one.
    """
    given, rest = [], iter(argv[1:])
    for flag in rest:
        name, equals, _ = flag.lstrip("-").partition("=")
        if name in without:
            if not equals:
                next(rest, None)  # the value comes after it
        elif not (again and name == "noresume"):
            given.append(flag)
    return shlex.join(["python", "-m", "experiments", name_of(experiment), *given])
