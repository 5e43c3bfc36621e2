"""What ``--help`` prints: the experiment's own words, two examples, the flags in three groups."""

import dataclasses
import textwrap
from types import ModuleType

from absl import flags

from jaxvision.cli.parsing import define_flags, is_long, name_of, uses_nets
from jaxvision.parallel import distributed

WIDTH = 96  # columns
COMMON = (
    "preset",
    "claim",
    "sweep",
    "outcome",
    "run_name",
    "results",
    "data_dir",
    "plot_only",
    "native",
    "quiet",
)
LONG = ("workdir", "resume", "tensorboard")
HOSTS = ("data_devices", *distributed.FLAGS)


def help_text(experiment: ModuleType) -> str:
    """Return the whole help of an experiment."""
    values = define_flags(experiment)
    own = [field.name for field in dataclasses.fields(experiment.Config)]
    common = [*COMMON]
    if is_long(experiment):
        common += LONG
    if uses_nets(experiment):
        common.append("nets")
    command = f"python -m experiments {name_of(experiment)}"
    changed = "--seeds=10 --run_name=ten_seeds" if "seeds" in own else "--run_name=mine"
    parts = [
        (experiment.__doc__ or "").strip(),  # none under python -OO
        f"\nusage: {command} [--FLAG=VALUE ...]",
        "\nexamples:",
        f"  {command} --preset=tiny",
        f"  {command} {changed}",
        _group("flags of all experiments:", common, values),
        _group("set-up of this experiment (the preset's, where a flag is not given):", own, values),
        _group("many devices, many hosts (docs/many_hosts.md):", HOSTS, values),
    ]
    return "\n".join(parts).strip()


def _group(title: str, names: list[str], values: flags.FlagValues) -> str:
    lines = [_described(values[name]) for name in names]
    return "\n".join(["", title, *lines])


def _described(flag: flags.Flag) -> str:
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    return textwrap.fill(
        f"{name}: {flag.help}",
        WIDTH,
        initial_indent="  ",
        subsequent_indent="      ",
        break_on_hyphens=False,
        break_long_words=False,
    )
