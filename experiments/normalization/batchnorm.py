"""Batch norm: what it speeds up, whose the speed-up is, and whether it is because nothing shifts.

Sources: Ioffe & Szegedy 2015, "Batch Normalization" (arXiv 1502.03167), figure 1, section 3.3 and
table 3; Santurkar et al. 2018, "How Does Batch Normalization Help Optimization?" (arXiv
1805.11604), section 2. Claim in one sentence: with batch norm a net of sigmoids learns sooner and
better, from any scale of its weights and at far higher rates, because what enters its sigmoids
keeps its distribution; not for that reason, says the second paper, which shakes the distribution
after batch norm and sees the net learn all the same.

Command: make exp-batchnorm (under 4 minutes on two cores; embedded 8x8 digits, no download).

As in figure 1: three hidden layers of 100 sigmoids, batches of 60, plain SGD. Its images are binary
ones of MNIST, ours gray and standardized. The paper names neither its rate nor the size of its
weights: the rate is swept, each net's own chosen on other seeds, the weights' std is .1 unless
said. Table 3 changes batch norm, the rate and the rest at once; here every mixture is trained. The
rest is dropout removed (.2 of the hidden units), weight decay divided by 5 (of 5e-4), the rate
falling six times as fast. Speed is measured as there: steps until a net reaches the accuracy that
the base ends with; one that never does needs more than all of them, which bounds its speed-up and
gives no share. In the paper's own table batch norm alone has 31 % of the logarithm of the speed-up.
Moments are those of what enters the sigmoids of the last hidden layer, after batch norm and its
noise where there are any; they and gradients are taken in train mode, on 256 training images that
stay the same. Distances of gradients are relative to the gradient's norm.
"""

import dataclasses
import sys
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from experiments.normalization import _batchnorm_panels as panels
from experiments.normalization import _factorial as factorial
from experiments.normalization import _shift as shifting
from experiments.normalization._batchnorm_claims import claims_of
from experiments.normalization._invariance import gaps_of_seeds
from experiments.normalization._switched import Lab, Net, Rest
from jaxvision import cli
from jaxvision.data import load
from jaxvision.data.augment import standardizer
from jaxvision.fields import check_periods, disjoint_seeds, flagged
from jaxvision.report import plots, words
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.training.fit import History
from jaxvision.types import Figure, UserError


class Kind(NamedTuple):
    """A net that is looked into: its label, what it has, and whose best rate it takes."""

    label: str
    normalized: bool
    rate_of: str
    noise: float = 0.0
    replicate: int = 0


KINDS = {
    "plain": Kind("plain", normalized=False, rate_of="plain"),
    "bn": Kind("batch norm", normalized=True, rate_of="bn"),
    "noisy": Kind("noisy BN", normalized=True, rate_of="bn", noise=1.0),
    "bn_shared": Kind("batch norm", normalized=True, rate_of="plain"),
    "noisy_shared": Kind("noisy BN", normalized=True, rate_of="plain", noise=1.0),
    "bn_again": Kind("batch norm, other draws", normalized=True, rate_of="bn", replicate=1),
}
OLD = Rest(dropout=0.2, weight_decay=5e-4, decay=0.1)
NEW = Rest(dropout=0.0, weight_decay=1e-4, decay=0.6)
SCALES = (0.1, 10.0)  # of the starting weights, beside 1
# What is measured beside KINDS: the exact invariance, other scales of the weights, other rates,
# the factorial of table 3, nets of more layers.
PARTS = ("invariance", "scales", "sweep", "cells", "deep")


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    seeds: int = flagged(8, "Paired seeds of every net.", low=1, high=1000)
    first_seed: int = flagged(700, "First seed.", low=0, high=10**9)
    width: int = flagged(100, "Units of every hidden layer.", low=2, high=8192)
    deep: int = flagged(9, "Weight layers of the deep sigmoid net; 0 for none.", low=0, high=100)
    steps: int = flagged(1000, "Steps of every run, a multiple of period.", low=2, high=10**6)
    period: int = flagged(25, "Steps between evaluations and looks.", low=1, high=10**6)
    batch_size: int = flagged(60, "Images in a step.", low=2, high=65_536)
    learning_rates: tuple[float, ...] = flagged(
        (0.1, 0.3, 1.0, 3.0, 10.0), "The sweep, from which each net's rate is chosen.", low=0
    )
    times: tuple[int, ...] = flagged((5, 30), "Multiples of the base's rate.", low=2, high=1000)
    tuning_seeds: int = flagged(2, "Seeds for choosing rates; none is used again.", low=1, high=100)
    runs_per_call: int = flagged(24, "Runs that train side by side.", low=1, high=1000)


PRESETS = {
    "tiny": Config(
        seeds=1,
        first_seed=0,
        width=8,
        deep=0,
        steps=4,
        period=2,
        batch_size=8,
        learning_rates=(1.0,),
        times=(5,),
        tuning_seeds=1,
        runs_per_call=4,
    ),
    "cpu": Config(),
    "gpu": Config(dataset="mnist", seeds=20, steps=10_000, period=100, runs_per_call=480),
    "paper": Config(dataset="mnist", seeds=5, steps=50_000, period=500),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    kinds: Mapping[str, Kind] = KINDS,
    rests: tuple[Rest, Rest] = (OLD, NEW),
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Train every net; returns numbers and arrays, errors [S, E] at ``steps`` [E]."""
    check_periods(config, "steps")
    if 0 < config.deep < 4:
        raise UserError(f"--deep must be 0 or at least 4, not {config.deep}")
    seeds, tuning_seeds = disjoint_seeds(config.first_seed, config.seeds, config.tuning_seeds)
    data = load(config.dataset)
    lab = Lab(config, 4, data, standardizer(data.train), seeds, tuning_seeds)
    trainer = lab.trainer()
    nets = _to_tune(rests[0])
    asked = {name: nets[name] for name in _rates_asked(kinds, parts)}
    with progress(len(asked) * lab.tuning_work, "choosing rates") as bar:
        rates = {name: lab.tune(trainer, net, bar.advance) for name, net in asked.items()}
    looked_into = {
        name: Net(kind.normalized, rates[kind.rate_of], kind.noise, replicate=kind.replicate)
        for name, kind in kinds.items()
    }
    others = _beside(config, nets, rates, parts)
    if "cells" in parts:
        others |= _mixtures(config, rests, rates["base"])
    arrays = _gaps(lab) if "invariance" in parts else {}
    with progress((len(looked_into) + len(others)) * lab.work, "training") as bar:
        for name, history in lab.train(trainer, looked_into, bar.advance, inside=True).items():
            arrays |= {f"{name}/{key}": value for key, value in _seen(history).items()}
        for name, history in lab.train(trainer, others, bar.advance).items():
            arrays[f"{name}/error"] = _errors(history)
    arrays["steps"] = np.arange(0, config.steps + 1, config.period)
    numbers = {"rates": rates, "chance_error": data.test.chance_error}
    if config.deep and "deep" in parts:
        deep = dataclasses.replace(lab, depth=config.deep)
        numbers["deep_rates"], errors = _deep(deep, nets, progress)
        arrays |= errors
    return numbers, arrays


def _gaps(lab: Lab) -> dict[str, np.ndarray]:
    """Return what other scales of the weights change in exact arithmetic, which is nothing."""
    config = lab.config
    found = gaps_of_seeds(lab.model, config.seeds, config.first_seed, *lab.batch(), SCALES)
    return {f"gap/{name}": values for name, values in found._asdict().items()}


def _to_tune(rest: Rest) -> dict[str, Net]:
    """Return the nets whose best rates are chosen; the base of the factorial has the old rest."""
    plain = Net(normalized=False)
    return {"plain": plain, "bn": Net(normalized=True), "base": plain._replace(rest=rest)}


def _rates_asked(kinds: Mapping[str, Kind], parts: tuple[str, ...]) -> list[str]:
    """Return the nets, of ``_to_tune``, at whose rates something is trained."""
    asked = {kind.rate_of for kind in kinds.values()}
    if "scales" in parts:
        asked |= {"plain", "bn"}
    if "cells" in parts:
        asked.add("base")
    return [name for name in ("plain", "bn", "base") if name in asked]


def _beside(
    config: Config, nets: Mapping[str, Net], rates: Mapping[str, float], parts: tuple[str, ...]
) -> dict[str, Net]:
    """Return the plain and the normalized net at every rate, and from other scales of weights."""
    swept = config.learning_rates if "sweep" in parts else ()
    scales = SCALES if "scales" in parts else ()
    found = {}
    for name in ("plain", "bn"):
        for i, rate in enumerate(swept):
            found[f"{name}/rate{i}"] = nets[name]._replace(rate=rate)
        for i, scale in enumerate(scales):
            found[f"{name}/scale{i}"] = nets[name]._replace(rate=rates[name], scale=scale)
    return found


def _mixtures(config: Config, rests: tuple[Rest, Rest], rate: float) -> dict[str, Net]:
    """Return the cells of the factorial; ``rate`` is the base's own."""
    return {
        f"cells/{cell.name}": Net(
            cell.normalized, cell.times * rate, rest=rests[1] if cell.changed else rests[0]
        )
        for cell in factorial.cells(config.times)
    }


def _deep(lab: Lab, nets: Mapping[str, Net], progress: cli.ShowProgress) -> tuple[dict, dict]:
    """Return the rates and errors of the deep nets, each at its own best rate."""
    trainer = lab.trainer()
    rates, arrays = {}, {}
    with progress(2 * (lab.tuning_work + lab.work), "deep nets") as bar:
        for name in ("plain", "bn"):
            rates[name] = lab.tune(trainer, nets[name], bar.advance)
        chosen = {f"{name}/deep": nets[name]._replace(rate=rates[name]) for name in rates}
        for name, history in lab.train(trainer, chosen, bar.advance).items():
            arrays[f"{name}/error"] = _errors(history)
    return rates, arrays


def _errors(history: History) -> np.ndarray:
    """Return the test errors [S, E]; 1 where the loss is not finite: nothing was learned."""
    return np.where(np.isfinite(history.test["loss"]), history.test["error"], 1.0).astype("float32")


def _seen(history: History) -> dict[str, np.ndarray]:
    """Return what a record keeps of a net that was looked into."""
    seen: shifting.Inside = history.looks
    return {
        "error": _errors(history),
        "percentiles": seen.percentiles,
        "shift": shifting.shift(seen.mean, seen.std),
        "change": seen.change,
        "below": seen.below,
    }


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims."""
    return claims_of(config, SCALES)


def plot(record: Record, config: Config) -> Figure:
    """Draw figure 1, the sweep, whose the speed-up is, and both sides of the dispute."""
    figure, axes = plots.new_figure(3, 2, height=11.0)
    labels = {name: KINDS[name].label for name in ("plain", "bn", "noisy")}
    panels.draw_errors(axes[0, 0], record, labels)
    panels.draw_percentiles(axes[0, 1], record, {name: labels[name] for name in ("plain", "bn")})
    panels.draw_sweep(axes[1, 0], record, labels, config.learning_rates)
    times = min(config.times)
    panels.draw_speed(axes[1, 1], factorial.speed_up(record, times), times)
    panels.draw_shift(axes[2, 0], record, labels)
    shared = {"plain": "plain", "bn_shared": "batch norm"}
    panels.draw_change(axes[2, 1], record, shared)
    for ax, names in zip(axes.flat, panels.SHOWN, strict=True):
        plots.mark_contradicted(ax, record, *names)
    title = plots.headline(
        record,
        {
            "sooner": "Batch norm speeds a net of sigmoids up",
            "higher": "With batch norm a net of sigmoids ends at a lower error",
            ("steady", "not sooner"): "Batch norm steadies what sigmoids receive, but here does "
            "not halve the steps",
        },
        "A net of sigmoids with and without batch norm",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"Three hidden layers of {config.width} sigmoids",
        optimizer=f"SGD, {words.rates('net', config.learning_rates)}",
        paper="Ioffe & Szegedy 2015, figure 1; Santurkar et al. 2018",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
