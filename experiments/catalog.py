"""The experiments, in the order in which the lecture tells them: data, and nothing else.

A line here gives the file ``experiments/<theme>/<name>.py`` its make target, its gallery entry and
its contract test.
"""

import sys
from dataclasses import dataclass

from jaxvision import terminal


@dataclass(frozen=True)
class Entry:
    """One experiment.

    Attributes:
      name: the module's name, as in ``python -m experiments he_init``.
      title: what the gallery calls it.
      sentence: the finding in one sentence.
      minutes: what the ``cpu`` preset takes on a laptop's two cores, rounded up.
    """

    name: str
    theme: str
    title: str
    sentence: str
    minutes: int


CATALOG = (
    Entry(
        name="he_init",
        theme="initialization",
        title="He against Xavier",
        sentence="Xavier stalls at 30 layers, He converges.",
        minutes=3,
    ),
    Entry(
        name="escape_time",
        theme="initialization",
        title="How long the plateau holds",
        sentence="Xavier holds SGD ever longer with depth, Adam walks off at once.",
        minutes=4,
    ),
    Entry(
        name="gradient_flow",
        theme="gradients",
        title="How gradients vanish and explode",
        sentence="Gain, batch norm and skips decide which gradient the first layers see.",
        minutes=3,
    ),
    Entry(
        name="logistic_map",
        theme="gradients",
        title="One exponent, four systems",
        sentence="One number says what vanishes and what explodes, in the logistic map as in nets.",
        minutes=2,
    ),
    Entry(
        name="trainability",
        theme="gradients",
        title="The map of what trains",
        sentence="The depth that trains goes with xi_c, less than in proportion; dropout and batch "
        "norm lower it.",
        minutes=5,
    ),
    Entry(
        name="jacobian_spectrum",
        theme="gradients",
        title="Dynamical isometry",
        sentence="Orthogonal tanh nets keep every direction of their input; others cannot.",
        minutes=3,
    ),
    Entry(
        name="delta_orthogonal",
        theme="gradients",
        title="Ten thousand plain conv layers",
        sentence="A 10,000-layer plain conv net carries its signal, if delta-orthogonal.",
        minutes=2,
    ),
    Entry(
        name="shattered_gradients",
        theme="gradients",
        title="Shattered gradients",
        sentence="Batch norm shatters a plain net's gradients in ten layers; skips resist.",
        minutes=2,
    ),
    Entry(
        name="curvature",
        theme="gradients",
        title="The edge of stability",
        sentence="Gradient descent climbs to the edge of stability and stays there.",
        minutes=2,
    ),
    Entry(
        name="plain_vs_residual",
        theme="depth",
        title="Plain against residual",
        sentence="Depth costs a plain net far more training error than a residual one.",
        minutes=8,
    ),
)
THEMES = tuple(dict.fromkeys(entry.theme for entry in CATALOG))  # in the order of the lecture

_USAGE = "python -m experiments.catalog list|names [THEME]|gallery"


def module_name(name: str) -> str:
    """Return the full name of an experiment's module."""
    theme = next(entry.theme for entry in CATALOG if entry.name == name)
    return f"experiments.{theme}.{name}"


def main(arguments: list[str]) -> int:
    """Answer the command of ``_USAGE``; return the exit code."""
    match arguments:
        case ["list"]:
            for entry in CATALOG:
                target = "make exp-" + entry.name.replace("_", "-")
                print(f"{target:29} {entry.sentence} (about {entry.minutes} min)")
        case ["names"]:
            print("\n".join(entry.name for entry in CATALOG))
        case ["names", theme] if theme in THEMES:
            print("\n".join(entry.name for entry in CATALOG if entry.theme == theme))
        case ["names", theme]:
            print(f"There is no theme '{theme}': {', '.join(THEMES)}", file=sys.stderr)
            return 2
        case ["gallery", *flags]:
            # Imported here because `list` must answer before anything is installed.
            from jaxvision.report import gallery

            return gallery.main(flags, {entry.name: entry.title for entry in CATALOG})
        case _:
            print(f"usage: {_USAGE}", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    with terminal.until_unread():
        sys.exit(main(sys.argv[1:]))
