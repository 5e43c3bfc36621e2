"""Identity layers: the deeper net that can be no worse, and whether training keeps it so.

Source: He, Zhang, Ren & Sun 2016, "Deep Residual Learning" (arXiv 1512.03385), section 1. Claim in
one sentence: a deeper net has "a solution by construction", the layers of a trained shallow net and
identity layers besides, so its training error should be no higher; yet solvers fail to find it.

Command: make exp-identity-construction (under 2 minutes on two cores; embedded digits).

The argument is run. A shallow ReLU net is trained, identity layers are put before its output, and
both are trained on with the same batches. ReLU of ReLU is ReLU, and a sum with one term that is not
zero has no rounding: the logits stay the same to the bit. Then the shallow net, the grown net and
the same deep net from scratch (as many steps in all) are compared over a sweep of rates. The source
gives the argument alone, no run of it. "No worse" is a training loss at most a tenth higher, since
training errors reach zero. Each net has its own best rate, chosen on other seeds; a run that
diverges counts with the loss of chance. Every training starts with velocity zero, the second too.
The nets are dense, of 16 units, so that 220 steps leave a training error to lower.
"""

import dataclasses
import sys
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.depth import _growing as growing
from experiments.depth import _growing_panels as panels
from experiments.depth._growing_claims import SHALLOW, claims_of
from jaxvision import cli
from jaxvision.data import load
from jaxvision.data.augment import standardizer
from jaxvision.fields import check_periods, disjoint_seeds, flagged
from jaxvision.report import plots, words
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.types import Figure, PyTree, UserError


class Arm(NamedTuple):
    """A way to come by a deeper net.

    Attributes:
      label: in the figure, and its color.
      added: kernels drawn by He's initializer [S, k, W, W] -> those of the added layers; None: all
        layers are drawn, and nothing is trained before.
    """

    label: str
    added: growing.Layers | None


ARMS = {
    "identity": Arm("identity layers", growing.identity),
    "random": Arm("random layers", growing.as_drawn),
    "scratch": Arm("from scratch", None),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(20, "Paired seeds of every net.", low=1, high=1000)
    first_seed: int = flagged(700, "First of them.", low=0, high=10**9)
    tuning_seeds: int = flagged(5, "Seeds for choosing rates; none is used again.", low=1, high=100)
    depth: int = flagged(4, "Weight layers of the shallow net.", low=3, high=1000)
    n_added: tuple[int, ...] = flagged((1, 4, 16), "Numbers of layers added.", low=1, high=1000)
    width: int = flagged(16, "Units of the hidden layers.", low=1, high=8192)
    steps_shallow: int = flagged(220, "Steps before layers are added.", low=1, high=10**6)
    steps: int = flagged(660, "Steps after that.", low=1, high=10**6)
    period: int = flagged(44, "Steps between evaluations; divides both.", low=1, high=10**6)
    batch_size: int = flagged(32, "Images in a step.", low=1, high=65_536)
    learning_rates: tuple[float, ...] = flagged(
        (0.001, 0.002, 0.005, 0.01, 0.02, 0.05), "Rates swept, lowest first.", low=0
    )
    images: int = flagged(1000, "Images whose logits are compared.", low=1, high=100_000)


PRESETS = {
    "tiny": Config(
        seeds=2,
        first_seed=0,
        tuning_seeds=1,
        n_added=(2,),
        width=8,
        steps_shallow=4,
        steps=4,
        period=4,
        learning_rates=(0.01, 0.02),
        images=20,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="mnist",
        width=64,
        n_added=(1, 4, 16, 64),
        steps_shallow=2000,
        steps=8000,
        period=500,
        batch_size=64,
        images=10_000,
    ),
    "paper": Config(
        dataset="cifar10",
        width=256,
        n_added=(1, 4, 16, 64),
        steps_shallow=16_000,
        steps=48_000,
        period=2000,
        batch_size=128,
        images=10_000,
    ),
}


def measure(
    config: Config, progress: cli.ShowProgress, arms: Mapping[str, Arm] = ARMS
) -> tuple[dict, dict]:
    """Return best rates and differing logits, and of every net loss and error [G, S, E].

    Nets are named ``shallow`` and ``<arm><layers added>``; G rates, E evaluations. ``before`` is
    the shallow net before layers are added, [S, E] at its best rate.
    """
    seeds, others = _checked(config)
    data = load(config.dataset)
    preprocess = standardizer(data.train)
    lab = growing.Lab(config, data, [*seeds, *others], len(seeds), preprocess)
    total = _steps_of_all(config, arms) * len(lab.seeds) * len(config.learning_rates)
    with progress(total, "growing nets") as bar:
        trainer = lab.trainer(0)
        before = lab.sweep(trainer, lab.drawn(0), config.steps_shallow, bar.advance)
        row = lab.best_rate(before)
        trained = jax.tree.map(lambda leaf: leaf[row], before.variables)
        swept = {SHALLOW: lab.sweep(trainer, trained, config.steps, bar.advance)}
        for added in config.n_added:
            trainer = lab.trainer(added)
            drawn = lab.drawn(added, replicate=1)
            for name, arm in arms.items():
                start = _start(arm, added, trained, drawn)
                steps = _steps(config, arm)
                swept[f"{name}{added}"] = lab.sweep(trainer, start, steps, bar.advance)
    numbers = {
        "grown_at": config.learning_rates[row],
        "chance_error": lab.data.train.chance_error,
        "best_row": {net: lab.best_rate(found) for net, found in swept.items()},
    }
    if "identity" in arms:
        numbers |= _changed_logits(lab, trained, arms["identity"])
    arrays = {
        "before/loss": before.loss[row, : len(seeds)],
        "before/error": before.error[row, : len(seeds)],
    }
    for net, found in swept.items():
        arrays[f"{net}/loss"] = found.loss[:, : len(seeds)]
        arrays[f"{net}/error"] = found.error[:, : len(seeds)]
    return numbers, arrays


def _checked(config: Config) -> tuple[range, range]:
    """Return the seeds that are judged and those that choose rates; refuse what cannot be run."""
    check_periods(config, "steps_shallow", "steps")
    if list(config.learning_rates) != sorted(config.learning_rates):
        raise UserError("--learning_rates must rise: the lowest rate comes first")
    return disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)


def _steps(config: Config, arm: Arm) -> int:
    """Return the steps of a sweep: a net from scratch also has those of the shallow one."""
    return config.steps + (config.steps_shallow if arm.added is None else 0)


def _steps_of_all(config: Config, arms: Mapping[str, Arm]) -> int:
    deeper = sum(_steps(config, arm) for arm in arms.values())
    return config.steps_shallow + config.steps + len(config.n_added) * deeper


def _start(arm: Arm, added: int, trained: PyTree, drawn: PyTree) -> PyTree:
    """Return where the arm's nets start from, leaves [S, ...]."""
    if arm.added is None:
        return drawn
    kernels = drawn["params"]["hidden"]["kernel"][:, -added:]
    return growing.grown(trained, arm.added(kernels))


def _changed_logits(lab: growing.Lab, trained: PyTree, arm: Arm) -> dict[str, dict[str, float]]:
    """Return the share of logits that the layers change in any bit, also in a tanh net."""
    width = lab.config.width
    found = {"changed": {}, "changed_tanh": {}}
    for name, nonlinearity in {"changed": jax.nn.relu, "changed_tanh": jnp.tanh}.items():
        shallow = lab.logits(0, trained, nonlinearity)
        for added in lab.config.n_added:
            drawn = np.zeros((len(lab.seeds), added, width, width), np.float32)
            deeper = lab.logits(added, growing.grown(trained, arm.added(drawn)), nonlinearity)
            found[name][str(added)] = float(np.mean(deeper != shallow))
    return found


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return claims_of(config)


def plot(record: Record, config: Config) -> Figure:
    """Draw the construction, the training after it, and where it ends over rates and layers."""
    figure, axes = plots.new_figure(2, 2, height=8.6)
    middle = sorted(config.n_added)[len(config.n_added) // 2]
    labels = {name: arm.label for name, arm in ARMS.items()}
    panels.draw_construction(axes[0, 0], record, config, labels)
    panels.draw_training(axes[0, 1], record, config, labels, middle)
    panels.draw_rates(axes[1, 0], record, config)
    panels.draw_ends(axes[1, 1], record, config, labels)
    _mark(axes, record, config)
    few, many = min(config.n_added), max(config.n_added)
    titles = {}
    if few < many:
        exact = f"exact-{few}", f"exact-{many}"
        slow = f"slow-{few}", f"slow-{many}"
        titles[(*exact, *slow, f"not best-{many}")] = (
            "Identity layers cost nothing when they are added; "
            f"trained on, {many} of them end worse"
        )
        titles[(*exact, *slow, "limit")] = (
            "Identity layers cost nothing; trained on, a deeper net stays no worse up to a rate "
            "that falls with depth"
        )
        titles[exact] = "Identity layers cost nothing when they are added; and then?"
    title = plots.headline(record, titles, "A deeper net from a trained one and identity layers")
    return plots.finish(
        figure,
        record,
        title,
        net=f"ReLU MLP of {config.depth} layers of {config.width} units, and deeper ones",
        optimizer=f"SGD with momentum .9, {words.rates('net', config.learning_rates)}",
        paper="the argument of He et al. 2016, section 1",
    )


def _mark(axes: np.ndarray, record: Record, config: Config) -> None:
    """Name the contradicted claims above the panels in which they show."""
    shown = {
        axes[0, 0]: ("exact",),
        axes[1, 0]: ("slow", "fast"),
        axes[1, 1]: ("best", "scratch"),
    }
    for ax, names in shown.items():
        ids = [f"{name}-{added}" for name in names for added in config.n_added]
        plots.mark_contradicted(ax, record, *ids)


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
