"""The flags of an experiment: the common ones, and one for every field of its config."""

import dataclasses
import inspect
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

from absl import flags

from jaxvision import fields
from jaxvision.arguments import near
from jaxvision.native import switch
from jaxvision.parallel import distributed
from jaxvision.report import provenance
from jaxvision.types import UserError

MOST_DEVICES = 1 << 16
SCALES = {
    "tiny": "a smoke test of seconds that decides nothing",
    "cpu": "minutes on a laptop",
    "gpu": "one accelerator",
    "paper": "the source's own protocol",
}

_CLAIM = "Id of the one claim to judge: what it does not need is not run; 'list' prints them."
_SWEEP = (
    "A run for each value of a flag of the set-up, as in width=8,16,32, then one figure of all."
)
_OUTCOME = (
    "With --sweep: what the figure shows, the id of a claim or the name of an array or number; "
    "'list' prints them. [default: the first claim whose verdicts differ, or its numbers]"
)
_RESULTS = (
    "Directory that holds the records. [default: runs, below the working directory; of an "
    "untouched cpu preset experiments/results]"
)
_NATIVE = (
    "Convolutions by kernels that are compiled at first use, on CPUs. auto: where they can be "
    "had; on: fail where they cannot; off: by JAX alone."
)

_NO_BOOLEAN = re.compile(r"\('Non-boolean argument to boolean flag', (.*)\)")

# absl's own flags: one reads files of any kind, the other hides misspelt flags.
_DROPPED = ("flagfile", "undefok")


def code_of(experiment: ModuleType) -> str:
    """Return the hash of the package, the experiment and what stands beside it for its theme."""
    file = Path(experiment.__file__)
    return provenance.code_hash(file, *sorted(file.parent.glob("_*.py")))


def name_of(experiment: ModuleType) -> str:
    """Return the experiment's name, as in ``python -m experiments he_init``."""
    return Path(experiment.__file__).stem


def is_long(experiment: ModuleType) -> bool:
    """Whether it has long runs: then ``measure`` takes a work directory."""
    measure = experiment.measure
    return callable(measure) and "workdir" in inspect.signature(measure).parameters


def uses_nets(experiment: ModuleType) -> bool:
    """Whether it asks for nets that experiments share: then it says which by ``wanted_nets``."""
    return hasattr(experiment, "wanted_nets")


def is_animated(experiment: ModuleType) -> bool:
    """Whether it has ``animate(record, config)``: a GIF beside the figure, or None."""
    return hasattr(experiment, "animate")


def parse_flags(experiment: ModuleType, argv: Sequence[str]) -> flags.FlagValues:
    """Return the values of the flags; ``argv[0]`` is the program.

    Raises:
      UserError: a flag is unknown or its value not legal.
    """
    values = define_flags(experiment)
    for argument in argv[1:]:
        if _flag_name(argument) in _DROPPED:
            raise _unknown(argument, values)
    try:
        rest = values(list(argv), known_only=True)[1:]
    except (flags.Error, ValueError) as error:  # ValueError: --noresume=1
        raise UserError(f"{_told(error)}; --help lists the flags") from error
    if rest and _flag_name(rest[0]):
        raise _unknown(rest[0], values)
    if rest:
        raise UserError(f"stray argument {rest[0]!r}: flags look like --name=value")
    return values


def _told(error: Exception) -> str:
    """Return why absl refuses a value; of a boolean it shows the tuple that its reason is."""
    return _NO_BOOLEAN.sub(r"\1 is neither true nor false", str(error))


def define_flags(experiment: ModuleType) -> flags.FlagValues:
    """Return the flags common to all experiments and one per config field (None: the preset's)."""
    values = flags.FlagValues()
    _define_common(list(experiment.PRESETS), values)
    common = {"flag_values": values}
    if is_long(experiment):
        text = "Directory of unfinished runs."
        flags.DEFINE_string("workdir", "workdir", text, **common)
        flags.DEFINE_boolean("resume", True, "Go on with an unfinished run.", **common)
        flags.DEFINE_boolean("tensorboard", False, "Write TensorBoard events too.", **common)
    if uses_nets(experiment):
        text = "Directory of nets that experiments share. [default: in the user's cache]"
        flags.DEFINE_string("nets", None, text, **common)
    text = "Devices that share the batch of one run; the rest of the devices takes other runs."
    fields.define_whole("data_devices", 1, text, 1, MOST_DEVICES, values)
    distributed.define_flags(values)
    for field in dataclasses.fields(experiment.Config):
        fields.define(field, values, may_be_empty=_left_out(experiment, field.name))
    return values


def _left_out(experiment: ModuleType, field: str) -> bool:
    """Return whether a preset leaves out a part by an empty field: then a flag may as well."""
    return any(getattr(config, field) == () for config in experiment.PRESETS.values())


def _define_common(presets: Sequence[str], values: flags.FlagValues) -> None:
    """Define the flags that every experiment has."""
    common = {"flag_values": values}
    scales = "; ".join(f"{preset}: {SCALES[preset]}" for preset in presets)
    flags.DEFINE_boolean("help", False, "Show this help.", short_name="h", **common)
    flags.DEFINE_enum("preset", "cpu", presets, f"Scale of the run. {scales}.", **common)
    flags.DEFINE_string("claim", None, _CLAIM, **common)
    flags.DEFINE_string("sweep", None, _SWEEP, **common)
    flags.DEFINE_string("outcome", None, _OUTCOME, **common)
    text = (
        "Name of the record's directory; that of another run is refused. [default: from the flags]"
    )
    flags.DEFINE_string("run_name", None, text, **common)
    flags.DEFINE_string("results", None, _RESULTS, **common)
    flags.DEFINE_string("data_dir", None, "Where TFDS sets are prepared.", **common)
    flags.DEFINE_boolean("plot_only", False, "Redraw from the record, no training.", **common)
    flags.DEFINE_enum("native", "auto", switch.MODES, _NATIVE, **common)
    flags.DEFINE_boolean("quiet", False, "Show no progress and no notes.", **common)


def _flag_name(argument: str) -> str:
    """Return the name where an argument has the form of a flag, else ''."""
    return argument.lstrip("-").partition("=")[0] if argument.startswith("-") else ""


def _unknown(argument: str, known: Iterable[str]) -> UserError:
    name = _flag_name(argument)
    close = " or ".join(f"--{other}" for other in near(name, sorted(known)))
    hint = f"did you mean {close}? " if close else ""
    return UserError(f"unknown flag --{name[:60]}: {hint}--help lists the flags")
