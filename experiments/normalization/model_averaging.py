"""Train many models: what an average of predictions gains, and what an average of weights does.

Sources: Lakshminarayanan et al. 2017 (arXiv 1612.01474), deep ensembles; Srivastava et al. 2014
(JMLR 15), figure 11, and Gal & Ghahramani 2016 (arXiv 1506.02142), Monte-Carlo dropout; Izmailov et
al. 2018 (arXiv 1803.05407), stochastic weight averaging; Wortsman et al. 2022 (arXiv 2203.05482),
model soups; Dietterich 2000, independent errors. Claim in one sentence: many nets together err less
and know better how sure to be, and averages of weights do as well only from one start.

Command: make exp-model-averaging (under 3 minutes on two cores; embedded 8x8 digits, no download).

What differs from the sources: small dense nets on 500 images, so that there is something to gain;
a seed is a group of nets, its members differ by start, order and nothing else. All rates fall to
zero along a line, but for those of SWA and of the moving average, which stay; these runs have
dropout, for without noise such nets end at a loss of zero, where nothing moves that could be
averaged. Rates are chosen for every way to train by the error on images held out, on other seeds.
Branches of a shared start go on from the first member's weights with a fresh schedule, each in an
order of its own. Wortsman et al. average fine-tunings of one trained net: the branches that part
last are nearest to that, those that share the random start alone are a question of ours. As much
compute means as many times the steps, as many weights means a wider net. No net has batch norm, so
averaged weights need no statistics.
"""

import dataclasses
import sys
from collections.abc import Mapping

from experiments.normalization import _averaging_panels as panels
from experiments.normalization import _groups as groups
from experiments.normalization._averaging_claims import claims_of, sizes_of
from experiments.normalization._noisy import Lab, Way
from experiments.normalization._together import Judge
from jaxvision import cli
from jaxvision.data import load
from jaxvision.fields import disjoint_seeds, flagged
from jaxvision.report import plots, words
from jaxvision.report.claims import Claim
from jaxvision.report.record import Record
from jaxvision.training.averaging import exponential, stochastic
from jaxvision.training.looks import Look, snapshot
from jaxvision.types import Figure

WAYS = {
    "single": Way("one net"),
    "wide": Way("one net, as many weights"),  # the width follows from the config
    "long": Way("one net, as many steps"),
    "dropout": Way("dropout", keep_input=0.8, keep=0.5, keep_last=0.5),
    "constant": Way(
        "dropout, constant rate",
        keep_input=0.8,
        keep=0.5,
        keep_last=0.5,
        constant=True,
        rate_of="dropout",
    ),
}
PARTS = ("soups",)  # of "single" nets and of branches of them


@dataclasses.dataclass(frozen=True)
class Config:
    """Flags of the experiment."""

    dataset: str = flagged("digits", "Data set: digits, shapes, a TFDS name, or a path to yours.")
    images: int = flagged(500, "Training images.", low=30, high=10**6)
    seeds: int = flagged(16, "Groups of nets.", low=1, high=1000)
    first_seed: int = flagged(700, "First; a group has one a member.", low=0, high=10**9)
    members: int = flagged(8, "Nets of a group.", low=2, high=64)
    n_branches: int = flagged(4, "Nets of a soup, at most the members.", low=2, high=64)
    shared_steps: tuple[int, ...] = flagged(
        (0, 5, 20), "Steps before branches part.", low=0, high=10**6
    )
    depth: int = flagged(3, "Weight layers.", low=3, high=30)
    width: int = flagged(128, "Units of a hidden layer.", low=2, high=8192)
    steps: int = flagged(1000, "Steps of a member.", low=2, high=10**6)
    batch_size: int = flagged(50, "Images in a step.", low=2, high=65_536)
    learning_rates: tuple[float, ...] = flagged((0.003, 0.01, 0.03), "To choose from.", low=0)
    tuning_seeds: int = flagged(2, "Seeds for choosing rates; none is used again.", low=1, high=100)
    max_norm: float = flagged(3.0, "Largest norm of a unit's weights, where bounded.", low=0.01)
    samples: int = flagged(100, "Masks of Monte-Carlo dropout.", low=50, high=10_000)
    ema_decay: float = flagged(0.99, "Of the moving average, a step.", low=0, high=0.999999)
    n_snapshots: int = flagged(8, "Snapshots of the second half of a run.", low=2, high=100)


PRESETS = {
    "tiny": Config(
        images=60,
        seeds=2,
        first_seed=0,
        members=2,
        n_branches=2,
        shared_steps=(2,),
        width=8,
        steps=8,
        learning_rates=(0.01,),
        tuning_seeds=1,
        samples=50,
        n_snapshots=2,
    ),
    "cpu": Config(),
    "gpu": Config(
        dataset="mnist",
        images=5000,
        width=1024,
        steps=20_000,
        batch_size=100,
        shared_steps=(0, 20, 200),
    ),
    "paper": Config(
        dataset="mnist",
        images=50_000,
        width=2048,
        steps=200_000,
        batch_size=100,
        members=16,
        n_branches=8,
        shared_steps=(0, 20, 200, 2000),
    ),
}


def measure(
    config: Config,
    progress: cli.ShowProgress,
    ways: Mapping[str, Way] = WAYS,
    parts: tuple[str, ...] = PARTS,
) -> tuple[dict, dict]:
    """Train all nets; returns rates, and scores [S] by what predicts."""
    groups.check(config)
    runs = config.seeds * config.members
    seeds, tuning_seeds = disjoint_seeds(config.first_seed, runs, config.tuning_seeds)
    data, rest = groups.few_images(config.images, load(config.dataset))
    ways = groups.sized(ways, config, data.train.images.shape[1:], data.num_classes)
    times = groups.snapshots_of(config.steps, config.n_snapshots)
    rules = {
        "ema": exponential(config.ema_decay),
        "swa": stochastic(times[0], times[1] - times[0]),
    }
    lab = Lab(config, data, seeds, tuning_seeds, progress, rules)
    firsts = dataclasses.replace(lab, seeds=seeds[:: config.members])
    judge = Judge(firsts, rest)
    lab.prepare({"single": WAYS["single"]})  # its trainer serves others too
    rates, found = lab.compare(_some(ways, "single"), look=Look(snapshot, config.shared_steps))
    rates, histories = firsts.compare(_some(ways, "wide", "long", "dropout"), rates)
    along = Look(groups.with_averages, times)
    rates, constant = firsts.compare(_some(ways, "constant"), rates, along)
    arrays = {}
    if "single" in ways:
        members = groups.grouped(found["single"].variables, config.members)
        arrays = judge.members(ways["single"], members, sizes_of(config))
    for name in _some(ways, "wide", "long"):
        arrays |= judge.alone(name, ways[name], histories[name].variables)
    if "dropout" in ways:
        arrays |= judge.masks(ways["dropout"], histories["dropout"].variables, config.samples)
    if "constant" in ways:
        arrays |= judge.averages(ways["constant"], constant["constant"].looks)
    if "soups" in parts:
        arrays |= judge.soups(lab, ways["single"], rates["single"], found["single"])
    numbers = {"rates": rates}
    if "wide" in ways:
        numbers["width"] = ways["wide"].width
    return numbers, arrays


def _some(ways: Mapping[str, Way], *names: str) -> dict[str, Way]:
    """Return those of the named ways that a run has."""
    return {name: ways[name] for name in names if name in ways}


def claims(config: Config) -> list[Claim]:
    """Return the sources' claims and the questions beside them."""
    return claims_of(config)


def plot(record: Record, config: Config) -> Figure:
    """Draw ensembles by size and their rivals, losses, masks, averages along a run, soups."""
    figure, axes = plots.new_figure(3, 2, 12.0)
    panels.draw_ensembles(axes[0, 0], record, sizes_of(config))
    panels.draw_rivals(axes[0, 1], record, config.members)
    panels.draw_losses(axes[1, 0], record, config.members)
    panels.draw_masks(axes[1, 1], record)
    panels.draw_averages(axes[2, 0], record)
    panels.draw_soups(axes[2, 1], record, config)
    title = plots.headline(
        record,
        {
            ("errs-less", "soup-apart", "soup"): "Averages of predictions help; of weights, only "
            "from one start",
            ("errs-less", "soup-apart", "not soup"): "Averaging the predictions of several nets "
            "helps; averaging their weights harms, even from one start",
            ("errs-less", "soup-apart"): "Averaging the predictions of several nets helps; "
            "averaging weights of different starts harms",
            "errs-less": "Many nets together err less than one",
        },
        otherwise="Averages of predictions and averages of weights",
    )
    return plots.finish(
        figure,
        record,
        title,
        net=f"{config.images} images of them, ReLU MLP of {config.depth} layers, "
        f"{config.width} units",
        optimizer=f"SGD with momentum .95, {words.rates('net', config.learning_rates)}",
        paper="Lakshminarayanan et al. 2017; Srivastava et al. 2014; Izmailov et al. 2018; "
        "Wortsman et al. 2022",
    )


if __name__ == "__main__":
    cli.main(sys.modules[__name__])
