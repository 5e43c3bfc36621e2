"""The experiments, in the order in which the gallery tells them: data, and nothing else.

A line here gives the file ``experiments/<name>.py`` its make target, its gallery entry and its
contract test.
"""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """One experiment.

    Attributes:
      name: the module's name, as in ``python -m experiments.he_init``.
      title: what the gallery calls it.
      sentence: the finding in one sentence.
      minutes: what the ``cpu`` preset takes on a laptop's two cores, rounded up.
    """

    name: str
    title: str
    sentence: str
    minutes: int


CATALOG = (
    Entry(
        name="he_init",
        title="He against Xavier",
        sentence="Xavier stalls at 30 layers, He converges.",
        minutes=3,
    ),
    Entry(
        name="gradient_flow",
        title="How gradients vanish and explode",
        sentence="Gain, batch norm and skips decide which gradient the first layers see.",
        minutes=3,
    ),
    Entry(
        name="logistic_map",
        title="One exponent, four systems",
        sentence="One number says what vanishes and what explodes, in the logistic map as in nets.",
        minutes=1,
    ),
    Entry(
        name="trainability",
        title="The map of what trains",
        sentence="The depth that trains goes with xi_c, less than in proportion; dropout and batch "
        "norm lower it.",
        minutes=5,
    ),
    Entry(
        name="escape_time",
        title="How long the plateau holds",
        sentence="Xavier holds SGD ever longer with depth, Adam walks off at once.",
        minutes=4,
    ),
    Entry(
        name="jacobian_spectrum",
        title="Dynamical isometry",
        sentence="Orthogonal tanh nets keep every direction of their input; others cannot.",
        minutes=2,
    ),
    Entry(
        name="delta_orthogonal",
        title="Ten thousand plain conv layers",
        sentence="A 10,000-layer plain conv net carries its signal, if delta-orthogonal.",
        minutes=1,
    ),
    Entry(
        name="shattered_gradients",
        title="Shattered gradients",
        sentence="Batch norm shatters a plain net's gradients in ten layers; skips resist.",
        minutes=1,
    ),
    Entry(
        name="curvature",
        title="The edge of stability",
        sentence="Gradient descent climbs to the edge of stability and stays there.",
        minutes=2,
    ),
    Entry(
        name="plain_vs_residual",
        title="Plain against residual",
        sentence="Depth costs a plain net far more training error than a residual one.",
        minutes=8,
    ),
)


def main(arguments: list[str]) -> int:
    """Answer ``python -m experiments.catalog list|names|gallery``; return the exit code."""
    match arguments:
        case ["list"]:
            for entry in CATALOG:
                target = "make exp-" + entry.name.replace("_", "-")
                print(f"{target:24} {entry.sentence} (about {entry.minutes} min)")
        case ["names"]:
            print("\n".join(entry.name for entry in CATALOG))
        case ["gallery", *flags]:
            # Imported here because `list` must answer before anything is installed.
            from jaxvision.report import gallery

            return gallery.main(flags, {entry.name: entry.title for entry in CATALOG})
        case _:
            print("usage: python -m experiments.catalog list|names|gallery", file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
