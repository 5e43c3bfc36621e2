"""What ``benchmarks.run`` times: who trains which net, and the processes that do it."""

import sys
from collections.abc import Sequence
from typing import NamedTuple

from benchmarks.team import Team

SEEDS = 8
WITHOUT_KERNELS = {"JAXVISION_DISABLE": "cache,native"}
# Implementations, as tables name them.
OURS, PURE, FLAX = "jaxvision", "pure JAX", "plain Flax"
TORCH, TORCHES = "PyTorch", "PyTorch, a process a core"


class Case(NamedTuple):
    """One cell of the table of steps.

    Attributes:
      net: of ``problems``.
      label: the implementation.
      team: whose process trains it, of ``teams``.
      name: what that process knows it by.
    """

    net: str
    label: str
    team: str
    name: str


def cases(nets: Sequence[str]) -> list[Case]:
    """Return what is timed, neighbours in turn; PyTorch has its faster layout, channels_last.

    ResNet-20 is one run on all cores. The others are 8 runs at once, as experiments train them,
    beside PyTorch and Flax that train one run after the other.
    """
    found = []
    for net in nets:
        torch = net if net == "mlp" else f"{net}:channels_last"
        several = net != "resnet20"
        count, team = (SEEDS, "sweep") if several else (1, "one")
        found += [
            Case(net, TORCH, "torch", torch),
            Case(net, OURS, team, f"{net}:{count}"),
            Case(net, TORCHES, "torches", torch),
            Case(net, FLAX, "flax", f"{net}:flax"),
        ]
        if net != "mlp":  # it has no convolution
            found.append(Case(net, PURE, f"{team} pure", f"{net}:{count}"))
    return found


def ours(nets: Sequence[str]) -> list[Case]:
    """Return the cases in which jaxvision trains these nets."""
    return [case for case in cases(nets) if case.label == OURS]


def teams(
    wanted: set[str], torch_python: str, cores: int, jax_python: str = sys.executable
) -> dict[str, Team]:
    """Start the processes of these names, on this many cores."""
    jax = [jax_python, "-m", "benchmarks.jax_worker"]
    one, sweep = [*jax, "--devices=0"], [*jax, f"--devices={cores}"]
    torch = [torch_python, "-m", "benchmarks.torch_worker"]
    make = {
        "torch": lambda: Team(torch, cores),
        "torches": lambda: Team(torch, cores, a_core=True),
        "flax": lambda: Team(jax, cores),
        "one": lambda: Team(one, cores),
        "one pure": lambda: Team(one, cores, **WITHOUT_KERNELS),
        "sweep": lambda: Team(sweep, cores),
        "sweep pure": lambda: Team(sweep, cores, **WITHOUT_KERNELS),
    }
    return {name: make[name]() for name in make if name in wanted}
